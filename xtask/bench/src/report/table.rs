//! What is printed.

use std::fmt::Write;

use super::{Row, Series, Standing};
use crate::{
    plan::{Entry, How, Unit},
    task::{Delivery, Work},
};

pub(super) fn goals(rows: &[Row], rounds: usize, machine: &str) -> String {
    let mut text = format!("\n{machine}; medians of {rounds} rounds, ratios within a round\n\n");
    let _ = writeln!(
        text,
        "{:<52} {:>9} {:>10}  {:<8} {:>12} {:>12} {:>12}",
        "measure", "goal", "reached", "", "ours", "theirs", "per second"
    );
    let (mut met, mut goals) = (0, 0);
    for row in rows {
        let verdict = match row.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None if row.value.is_nan() => "skipped",
            None => "",
        };
        goals += usize::from(row.goal.is_some());
        met += usize::from(row.met == Some(true));
        let noisy = row.noisy.map(|control| format!("  noisy: control {control:.2}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<52} {:>9} {:>10}  {verdict:<8} {:>12} {:>12} {:>12}{noisy}",
            row.name,
            row.goal.as_deref().unwrap_or("-"),
            shown(row.value, row.unit),
            plain(Some(row.ours)),
            plain(row.theirs),
            plain(row.per_second),
        );
    }
    let _ = writeln!(text, "\n{met} of {goals} goals met");
    text
}

pub(super) fn contenders(standings: &[Standing]) -> String {
    let mut text = String::new();
    let mut group = "";
    for standing in standings {
        if standing.group != group {
            group = &standing.group;
            let _ = writeln!(text, "\n{group:<44} {:>12} {:>8} {:>14}", "CPU ns", "ratio", "per second");
        }
        let _ = writeln!(
            text,
            "  {:<42} {:>12.1} {:>8.2} {:>14.0}",
            standing.contender, standing.cpu_ns, standing.ratio, standing.per_second
        );
    }
    text
}

pub(super) fn series(series: &[Series]) -> String {
    let mut text = String::new();
    for series in series {
        let _ = write!(text, "CPU ns by {}, {}:", series.axis, series.contender);
        for (place, value) in &series.points {
            let _ = write!(text, " {place:.0}: {value:.0}");
        }
        text.push('\n');
    }
    text
}

/// Who is measured at what, where a group has a contender twice.
pub(super) fn label(entry: &Entry) -> String {
    let task = match &entry.work {
        Work::Receive { delivery: Delivery::Task, .. } | Work::Echo { delivery: Delivery::Task, .. } => {
            ", other task"
        }
        _ if entry.how == How::Strace => ", traced",
        _ => "",
    };
    format!("{}{task}", entry.contender.name())
}

pub(super) const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Ratio => "",
        Unit::Kilobytes => "KB",
        Unit::Share => "%",
        Unit::Count => "each",
        Unit::Crates => "crates",
    }
}

pub(super) fn number(value: f64, of: Unit) -> String {
    shown(value, unit(of))
}

fn shown(value: f64, unit: &str) -> String {
    match unit {
        _ if value.is_nan() => "-".to_owned(),
        "KB" => format!("{value:.1} KB"),
        "%" => format!("{:.2} %", value * 100.0),
        "crates" => format!("{value:.0}"),
        "each" => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

fn plain(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        None => String::new(),
        Some(value) if value >= 1000.0 => format!("{value:.0}"),
        Some(value) if value >= 1.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.4}"),
    }
}
