//! Runs the rows of all tables side by side, since each mostly waits, and prints them in their order.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// A line of a table, and how it comes about.
pub(super) struct Row {
    /// What is printed above the first row of its table; rows with equal heads are one table.
    pub(super) head: &'static str,
    pub(super) name: String,
    /// About how long it takes: the longest begin first.
    pub(super) takes: Duration,
    /// An error is one of the laboratory.
    pub(super) run: Box<dyn Fn() -> Result<Told, String> + Send + Sync>,
}

/// What came of a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Told {
    /// The cells after the name.
    pub(super) cells: String,
    /// What should not be so.
    pub(super) problems: Vec<String>,
}

impl Told {
    pub(super) fn skipped(needs: &str) -> Self {
        Self { cells: format!("skipped: needs {needs}"), problems: Vec::new() }
    }

    fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Runs the rows, `side_by_side` at a time, and prints them through `print`. What fails is tried once more when the
/// others are done, alone: a machine that is too busy for a bound is no fault of what is measured. Returns the
/// names of those that failed twice.
pub(super) fn run(rows: &[Row], side_by_side: usize, mut print: impl FnMut(&str)) -> Vec<String> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(rows[*index].takes));
    let queue = Mutex::new(VecDeque::from(order));
    let mut results: Vec<Option<Told>> = vec![None; rows.len()];
    let (tell, told) = mpsc::channel();
    let mut printer = Printer::default();
    thread::scope(|scope| {
        for _ in 0..side_by_side.min(rows.len()) {
            let (tell, queue) = (tell.clone(), &queue);
            scope.spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(index) = next() {
                    // The receiver goes on until the last of us is done.
                    let _ = tell.send((index, outcome(&rows[index])));
                }
            });
        }
        drop(tell);
        for (index, outcome) in told {
            results[index] = Some(outcome);
            printer.print(rows, &results, &mut print, Told::is_good);
        }
    });
    for (row, result) in rows.iter().zip(&mut results) {
        if let Some(first) = result.as_ref().filter(|told| !told.is_good()) {
            let problems = first.problems.join("; ");
            let mut second = outcome(row);
            second.cells =
                format!("{} <!-- second try; the first, among the others: {problems} -->", second.cells);
            *result = Some(second);
        }
    }
    printer.print(rows, &results, &mut print, |_| true);
    let failed =
        rows.iter().zip(&results).filter(|(_, told)| told.as_ref().is_none_or(|told| !told.is_good()));
    failed.map(|(row, _)| row.name.clone()).collect()
}

fn outcome(row: &Row) -> Told {
    (row.run)().unwrap_or_else(|problem| Told {
        cells: String::new(),
        problems: vec![format!("the laboratory: {problem}")],
    })
}

/// How far the tables are printed.
#[derive(Default)]
struct Printer {
    next: usize,
}

impl Printer {
    /// Prints all that is there, in order, up to the first row that is not there or not `ready`.
    fn print(
        &mut self,
        rows: &[Row],
        results: &[Option<Told>],
        print: &mut impl FnMut(&str),
        ready: impl Fn(&Told) -> bool,
    ) {
        while let Some(Some(told)) = results.get(self.next).filter(|told| told.as_ref().is_some_and(&ready)) {
            let row = &rows[self.next];
            if self.next == 0 || rows[self.next - 1].head != row.head {
                print(&format!("\n{}", row.head));
            }
            print(&format!("| {} | {} |", row.name, told.cells));
            if !told.is_good() {
                print(&format!("| WRONG: {} |", told.problems.join("; ")));
            }
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn row(
        head: &'static str,
        name: &str,
        run: impl Fn() -> Result<Told, String> + Send + Sync + 'static,
    ) -> Row {
        Row { head, name: name.to_owned(), takes: Duration::ZERO, run: Box::new(run) }
    }

    fn told(cells: &str, problem: Option<&str>) -> Told {
        Told { cells: cells.to_owned(), problems: problem.map(str::to_owned).into_iter().collect() }
    }

    /// A row that fails once is tried again and its first failure is not hidden; one that fails twice is told.
    #[test]
    fn rows_come_in_their_order_and_a_failure_is_tried_once_more() {
        let flaky = AtomicUsize::new(0);
        let rows = [
            row("one", "flaky", move || {
                let first = flaky.fetch_add(1, Ordering::Relaxed) == 0;
                Ok(told("3 ms", first.then_some("too late")))
            }),
            row("one", "good", || Ok(told("1 ms", None))),
            row("two", "broken", || Err("no ip".to_owned())),
            row("two", "skipped", || Ok(Told::skipped("luck"))),
        ];
        let mut lines = Vec::new();
        let failed = run(&rows, 3, |line| lines.push(line.to_owned()));
        assert_eq!(failed, ["broken"]);
        assert_eq!(lines[0], "\none");
        assert!(lines[1].starts_with("| flaky | 3 ms") && lines[1].contains("too late"), "{lines:?}");
        assert_eq!(lines[2..4], ["| good | 1 ms |", "\ntwo"]);
        assert!(lines[4].starts_with("| broken |") && lines[5].contains("WRONG: the laboratory: no ip"));
        assert_eq!(lines[6], "| skipped | skipped: needs luck |");
        assert_eq!(lines.len(), 7);
    }
}
