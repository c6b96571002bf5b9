//! `docs/rules.md` names the tests of each rule: every name is that of a test, and no section is left out.

use std::collections::BTreeSet;

use super::Finding;

const PLACE: &str = "docs/rules.md";

/// What `table` says that `tests`, the names of all tests, do not bear out, and the other way round.
pub(super) fn check(table: &str, tests: &BTreeSet<&str>) -> Vec<Finding> {
    let finding = |line: usize, what: String| Finding { place: format!("{PLACE}:{line}"), what };
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for (number, line) in (1..).zip(table.lines()).filter(|(_, line)| line.starts_with('|')) {
        for name in line.split('`').skip(1).step_by(2).filter(|name| is_name(name)) {
            named.insert(name);
            if !tests.contains(name) {
                findings.push(finding(number, format!("no test is named {name}")));
            }
        }
    }
    let sections =
        |names: &BTreeSet<&str>| names.iter().filter_map(|name| section(name)).collect::<BTreeSet<_>>();
    for section in sections(tests).difference(&sections(&named)) {
        findings.push(finding(1, format!("there are tests of {section}, and the table names none of them")));
    }
    findings
}

/// The names of the functions of a file that are marked as tests.
pub(super) fn tests(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().map(str::trim).filter_map(move |line| {
        let head = line.strip_prefix("async ").unwrap_or(line);
        match head.strip_prefix("fn ") {
            Some(rest) if std::mem::take(&mut marked) => rest.split('(').next(),
            Some(_) => None,
            None => {
                marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                None
            }
        }
    })
}

/// A code span that is a name of a test, rather than of a type or a close code.
fn is_name(text: &str) -> bool {
    let lower = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    lower && text.matches('_').count() > 2
}

/// `rule_2a` of `rule_2a_is_off_by_default`, `rule_8_1` of `rule_8_1_a_token`.
fn section(name: &str) -> Option<String> {
    let rest = name.strip_prefix("rule_")?;
    let mut parts = rest.split('_');
    let first = parts.next().filter(|part| part.starts_with(|c: char| c.is_ascii_digit()))?;
    let second = parts.next().filter(|part| first == "8" && part.bytes().all(|byte| byte.is_ascii_digit()));
    Some(second.map_or_else(|| format!("rule_{first}"), |second| format!("rule_{first}_{second}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "#[test]\nfn rule_1_it_holds() {}\nfn helper_of_some_kind() {}\n\
        #[tokio::test(start_paused = true)]\nasync fn rule_8_2_it_holds_too() {}\n";

    fn found(table: &str) -> Vec<String> {
        check(table, &tests(SOURCE).collect()).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_table_that_names_a_test_of_each_section_is_good() {
        assert_eq!(tests(SOURCE).collect::<Vec<_>>(), ["rule_1_it_holds", "rule_8_2_it_holds_too"]);
        assert!(found("| `1000` | `rule_1_it_holds`, `rule_8_2_it_holds_too` |").is_empty());
    }

    #[test]
    fn a_name_that_no_test_has_and_a_section_that_is_left_out_are_findings() {
        assert_eq!(
            found("| x | `rule_8_2_it_holds_too`, `helper_of_some_kind` |"),
            [
                "no test is named helper_of_some_kind",
                "there are tests of rule_1, and the table names none of them"
            ]
        );
    }
}
