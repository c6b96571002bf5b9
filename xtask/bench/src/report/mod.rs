//! From samples to medians and ratios: as a table, as JSON, as charts.

pub(crate) mod charts;
mod dependencies;
mod table;

use serde::Serialize;

use crate::{
    measure::median,
    parent::Samples,
    plan::{Axis, Goal, Unit},
    task::{Contender, Work},
};

/// A control that deviates by more than this says that its group is noisy.
const NOISE: f64 = 0.05;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    rounds: usize,
    machine: String,
    rows: Vec<Row>,
    contenders: Vec<Standing>,
    pub(crate) series: Vec<Series>,
}

/// One row of the table of goals.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    goal: Option<String>,
    value: f64,
    unit: &'static str,
    met: Option<bool>,
    /// What the control of the group reached, where it deviates.
    noisy: Option<f64>,
    /// The value of the one and, for a ratio, of the other; per operation.
    ours: f64,
    theirs: Option<f64>,
    per_second: Option<f64>,
}

/// One contender in one group.
#[derive(Debug, Serialize)]
struct Standing {
    group: String,
    contender: String,
    cpu_ns: f64,
    /// CPU against the first of the group, of the same round.
    ratio: f64,
    per_second: f64,
}

/// How cost grows.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) axis: String,
    pub(crate) contender: String,
    /// What was varied, and the CPU of an operation in nanoseconds.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Report {
    pub(crate) fn new(samples: &[Samples], rounds: usize) -> Self {
        let mut report =
            Self { rounds, machine: machine(), rows: Vec::new(), contenders: Vec::new(), series: Vec::new() };
        for samples in samples {
            report.add_rows(samples);
            if samples.group.axis.is_some() {
                report.add_series(samples);
            } else {
                report.add_standings(samples);
            }
        }
        report
    }

    /// What is counted once, without a sample.
    pub(crate) fn add_dependencies(&mut self) {
        self.rows.push(dependencies::row());
    }

    fn add_rows(&mut self, samples: &Samples) {
        let noisy = control(samples).filter(|ratio| (ratio - 1.0).abs() > NOISE);
        for row in &samples.group.rows {
            let value = match row.against {
                Some(against) => ratio(samples, row.of, against, row.measure),
                None => scaled(value(samples, row.of, row.measure), row.unit),
            };
            let met = match row.goal {
                _ if value.is_nan() => None,
                // What is printed is what is judged.
                Goal::AtMost(most) => Some(rounded(value, row.unit) <= most),
                Goal::AtLeast(least) => Some(rounded(value, row.unit) >= least),
                Goal::None => None,
            };
            let goal = match row.goal {
                Goal::AtMost(most) => Some(format!("≤ {}", table::number(most, row.unit))),
                Goal::AtLeast(least) => Some(format!("≥ {}", table::number(least, row.unit))),
                Goal::None => None,
            };
            let per_second = value_or_none(samples, row.of, "per_s");
            self.rows.push(Row {
                name: row.name.to_owned(),
                goal,
                value,
                unit: table::unit(row.unit),
                met,
                noisy,
                ours: value_or_none(samples, row.of, row.measure).unwrap_or(f64::NAN),
                theirs: row.against.and_then(|against| value_or_none(samples, against, row.measure)),
                per_second,
            });
        }
    }

    fn add_standings(&mut self, samples: &Samples) {
        for (index, entry) in samples.group.entries.iter().enumerate() {
            let Some(cpu_ns) = value_or_none(samples, index, "cpu_ns") else { continue };
            self.contenders.push(Standing {
                group: samples.group.name.to_owned(),
                contender: table::label(entry),
                cpu_ns,
                ratio: ratio(samples, index, 0, "cpu_ns"),
                per_second: value(samples, index, "per_s"),
            });
        }
    }

    fn add_series(&mut self, samples: &Samples) {
        let mut contenders: Vec<Contender> = Vec::new();
        for entry in &samples.group.entries {
            if !contenders.contains(&entry.contender) {
                contenders.push(entry.contender);
            }
        }
        for contender in contenders {
            let entries = samples.group.entries.iter().enumerate();
            let points = entries
                .filter(|(_, entry)| entry.contender == contender)
                .map(|(index, entry)| (place(&entry.work), value(samples, index, "cpu_ns")))
                .filter(|(_, value)| value.is_finite())
                .collect();
            let axis = match samples.group.axis {
                Some(Axis::Connections) => "connections",
                Some(Axis::Size) => "bytes of a message",
                _ => "subscribers",
            };
            self.series.push(Series {
                axis: axis.to_owned(),
                contender: contender.name().to_owned(),
                points,
            });
        }
    }

    /// All tables.
    pub(crate) fn text(&self) -> String {
        [
            table::goals(&self.rows, self.rounds, &self.machine),
            table::contenders(&self.contenders),
            table::series(&self.series),
        ]
        .join("\n")
    }

    /// The same as a page of the documentation.
    pub(crate) fn page(&self) -> String {
        format!(
            "# Figures of one run\n\nWritten by `cargo xtask bench`; [speed.md](speed.md) says how to read them.\n\n\
             ```text\n{}\n```\n",
            self.text().trim()
        )
    }

    pub(crate) fn json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map_err(|error| error.to_string())
    }
}

/// The median of a measure over all rounds.
fn value(samples: &Samples, entry: usize, measure: &str) -> f64 {
    let rounds = samples.rounds.iter();
    median(rounds.filter_map(|round| round.get(entry)?.as_ref()?.get(measure).copied()))
}

fn value_or_none(samples: &Samples, entry: usize, measure: &str) -> Option<f64> {
    Some(value(samples, entry, measure)).filter(|value| value.is_finite())
}

/// The median of the ratios of each round.
fn ratio(samples: &Samples, of: usize, against: usize, measure: &str) -> f64 {
    let of_round = |round: &Vec<Option<crate::task::Measures>>, entry: usize| {
        round.get(entry)?.as_ref()?.get(measure).copied()
    };
    let rounds = samples.rounds.iter();
    median(rounds.filter_map(|round| Some(of_round(round, of)? / of_round(round, against)?)))
}

/// What the control reached of the bare socket.
fn control(samples: &Samples) -> Option<f64> {
    let control = samples.group.entries.iter().position(|entry| entry.contender == Contender::Control)?;
    let measure = samples.group.rows.first()?.measure;
    Some(ratio(samples, control, 0, measure)).filter(|ratio| ratio.is_finite())
}

const fn scaled(value: f64, unit: Unit) -> f64 {
    match unit {
        Unit::Kilobytes => value / 1024.0,
        Unit::Ratio | Unit::Share | Unit::Count | Unit::Crates => value,
    }
}

fn rounded(value: f64, unit: Unit) -> f64 {
    let digits = match unit {
        Unit::Ratio => 100.0,
        Unit::Kilobytes => 10.0,
        Unit::Share => 10_000.0,
        Unit::Count => 1000.0,
        Unit::Crates => 1.0,
    };
    (value * digits).round() / digits
}

fn place(work: &Work) -> f64 {
    match work {
        Work::Many { connections, .. } => *connections as f64,
        Work::Receive { size, .. } => *size as f64,
        Work::Fan { subscribers, .. } => *subscribers as f64,
        _ => f64::NAN,
    }
}

/// What the figures belong to.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.trim_start_matches([':', ' ', '\t']);
    format!("{} cores, {model}, Linux {}", crate::measure::cores(), release.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Entry, Group, How, Row as Asked};

    fn samples(rounds: &[[f64; 3]]) -> Samples {
        let entry = |contender| Entry { contender, work: Work::Send { size: 1, count: 1 }, how: How::Plain };
        let group = Group {
            name: "a group",
            entries: [Contender::Bare, Contender::Everwire, Contender::Control].map(entry).into(),
            rows: vec![Asked {
                name: "a row",
                measure: "cpu_ns",
                of: 1,
                against: Some(0),
                goal: Goal::AtMost(0.5),
                unit: Unit::Ratio,
            }],
            rounds: 9,
            axis: None,
        };
        let measures = |value: &f64| Some([("cpu_ns".to_owned(), *value)].into());
        Samples { group, rounds: rounds.iter().map(|round| round.iter().map(measures).collect()).collect() }
    }

    #[test]
    fn a_machine_that_is_slow_for_a_round_spoils_no_ratio() {
        let report =
            Report::new(&[samples(&[[100.0, 50.0, 101.0], [900.0, 450.0, 890.0], [100.0, 50.0, 99.0]])], 3);
        assert!((report.rows[0].value - 0.5).abs() < 1e-9);
        assert_eq!((report.rows[0].met, report.rows[0].noisy), (Some(true), None));
    }

    #[test]
    fn a_control_that_deviates_marks_its_rows() {
        let report = Report::new(&[samples(&[[100.0, 60.0, 120.0]])], 1);
        assert_eq!(report.rows[0].met, Some(false));
        assert!(report.rows[0].noisy.is_some());
    }

    #[test]
    fn what_could_not_be_measured_is_neither_met_nor_missed() {
        let mut samples = samples(&[[100.0, 60.0, 100.0]]);
        samples.rounds[0][1] = None;
        assert_eq!(Report::new(&[samples], 1).rows[0].met, None);
    }
}
