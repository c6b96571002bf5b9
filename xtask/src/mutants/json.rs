//! As much of JSON as a list of changes needs.

/// A value. Numbers are the only ones that count lines and columns.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(usize),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// `None` for what is no JSON, or has numbers that are not whole.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim_start();
        let value = value(&mut rest)?;
        rest.trim().is_empty().then_some(value)
    }

    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) const fn number(&self) -> Option<usize> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }
}

fn value(rest: &mut &str) -> Option<Json> {
    match rest.chars().next()? {
        '{' => {
            let field = |rest: &mut &str| {
                let name = string(rest)?;
                token(rest, ":")?;
                Some((name, value(rest)?))
            };
            series(rest, '{', '}', field).map(Json::Object)
        }
        '[' => series(rest, '[', ']', value).map(Json::List),
        '"' => string(rest).map(Json::Text),
        'n' => token(rest, "null").map(|()| Json::Null),
        't' => token(rest, "true").map(|()| Json::Bool(true)),
        'f' => token(rest, "false").map(|()| Json::Bool(false)),
        _ => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let number = rest[..end].parse().ok()?;
            *rest = rest[end..].trim_start();
            Some(Json::Number(number))
        }
    }
}

fn token(rest: &mut &str, token: &str) -> Option<()> {
    *rest = rest.strip_prefix(token)?.trim_start();
    Some(())
}

fn series<T>(
    rest: &mut &str,
    open: char,
    close: char,
    mut item: impl FnMut(&mut &str) -> Option<T>,
) -> Option<Vec<T>> {
    *rest = rest.strip_prefix(open)?.trim_start();
    let mut items = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(close) {
            *rest = after.trim_start();
            return Some(items);
        }
        if !items.is_empty() {
            token(rest, ",")?;
        }
        items.push(item(rest)?);
    }
}

fn string(rest: &mut &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest.strip_prefix('"')?.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'b' => text.push('\u{8}'),
                'f' => text.push('\u{c}'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    // Half of a pair alone is no character; nothing here is beyond the first plane.
                    text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    *rest = chars.as_str().trim_start();
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_list_of_changes_contains_is_read() {
        let json =
            Json::parse(r#" [ {"a": {"line": 12}, "b": "x\n\"\u003e\"", "c": null, "d": [true, false]} ] "#);
        let json = json.unwrap();
        let [one] = json.list().unwrap() else { panic!("{json:?}") };
        assert_eq!(one.field("a").and_then(|a| a.field("line")).and_then(Json::number), Some(12));
        assert_eq!(one.field("b").and_then(Json::text), Some("x\n\">\""));
        assert_eq!(one.field("c"), Some(&Json::Null));
        assert_eq!(one.field("d"), Some(&Json::List(vec![Json::Bool(true), Json::Bool(false)])));
        assert_eq!(one.field("e"), None);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "[1", "[1 2]", "{\"a\"}", "\"x", "1.5", "[] []", "nul"] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
    }
}
