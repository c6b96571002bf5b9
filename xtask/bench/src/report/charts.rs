//! The charts of the documentation: what it costs beside others, and how that grows.

use std::path::Path;

use plotters::{
    prelude::{
        BLACK, ChartBuilder, Color, DrawingArea, IntoDrawingArea, IntoFont, IntoLogRange, IntoTextStyle,
        LineSeries, PathElement, RGBColor, Rectangle, SVGBackend, Text, WHITE,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Report, Series};

const COLOURS: [RGBColor; 4] =
    [RGBColor(120, 120, 120), RGBColor(31, 119, 180), RGBColor(44, 160, 44), RGBColor(214, 96, 39)];
const OURS: RGBColor = COLOURS[1];
const THEIRS: RGBColor = COLOURS[0];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

pub(crate) fn draw(report: &Report, folder: &Path) -> Result<(), String> {
    costs(report, &folder.join("speed.svg")).map_err(|error| error.to_string())?;
    growth(report, &folder.join("speed-growth.svg")).map_err(|error| error.to_string())
}

/// A bar for each contender: CPU against the bare socket. What is off the scale is cut and has its figure all the same.
fn costs(report: &Report, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    const BAR: i32 = 18;
    const LEFT: i32 = 250;
    const SCALE: f64 = 150.0;
    const MOST: f64 = 4.0;
    let mut groups: Vec<&str> = report.contenders.iter().map(|standing| standing.group.as_str()).collect();
    groups.dedup();
    let height = 60 + report.contenders.len() as i32 * BAR + groups.len() as i32 * 34;
    let root = SVGBackend::new(path, (960, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let small = ("sans-serif", 12).into_font();
    let title = "CPU per operation, bare tokio-tungstenite = 1 (less is better)";
    root.draw(&Text::new(title, (16, 12), ("sans-serif", 16).into_font()))?;
    let mut y = 44;
    let mut group = "";
    for standing in &report.contenders {
        if standing.group != group {
            group = &standing.group;
            y += 12;
            root.draw(&Text::new(group.to_owned(), (16, y), ("sans-serif", 13).into_font()))?;
            y += 22;
        }
        let right = Pos::new(HPos::Right, VPos::Center);
        let style = small.clone().into_text_style(&root).pos(right);
        root.draw(&Text::new(standing.contender.clone(), (LEFT - 8, y + BAR / 2 - 1), style))?;
        let width = (standing.ratio.clamp(0.0, MOST) * SCALE) as i32;
        let colour = if standing.contender.starts_with("everwire") { OURS } else { THEIRS };
        root.draw(&Rectangle::new([(LEFT, y + 2), (LEFT + width, y + BAR - 3)], colour.filled()))?;
        let figure = format!("{:.2} · {:.0} ns", standing.ratio, standing.cpu_ns);
        root.draw(&Text::new(figure, (LEFT + width + 6, y + 2), small.clone()))?;
        y += BAR;
    }
    let one = LEFT + SCALE as i32;
    root.draw(&PathElement::new(vec![(one, 44), (one, y)], BLACK.mix(0.4)))?;
    root.present()?;
    Ok(())
}

/// One panel for each thing that was varied, on two logarithmic scales: there a straight line is linear growth. Above them
/// is what the colours mean, the same in all of them.
fn growth(report: &Report, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    const LEGEND: u32 = 40;
    let mut axes: Vec<&str> = report.series.iter().map(|series| series.axis.as_str()).collect();
    axes.dedup();
    let mut contenders: Vec<&str> = Vec::new();
    for series in &report.series {
        if !contenders.contains(&series.contender.as_str()) {
            contenders.push(&series.contender);
        }
    }
    let panels = axes.len().max(1);
    let root = SVGBackend::new(path, (960, LEGEND + 320 * panels as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let (legend, root) = root.split_vertically(LEGEND);
    draw_legend(&legend, &contenders)?;
    for (panel, axis) in root.split_evenly((panels, 1)).iter().zip(axes) {
        let series: Vec<&Series> = report.series.iter().filter(|series| series.axis == axis).collect();
        draw_panel(panel, axis, &series, &contenders)?;
    }
    root.present()?;
    Ok(())
}

/// The colour of a contender, by its place among all.
fn colour(contenders: &[&str], contender: &str) -> RGBColor {
    let place = contenders.iter().position(|other| *other == contender).unwrap_or_default();
    COLOURS[place % COLOURS.len()]
}

fn draw_legend(area: &Area<'_>, contenders: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    const LINE: i32 = 24;
    let font = ("sans-serif", 13).into_font();
    let mut x = 92;
    for contender in contenders {
        let line = vec![(x, 24), (x + LINE, 24)];
        area.draw(&PathElement::new(line, colour(contenders, contender).stroke_width(3)))?;
        let style = font.clone().into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new((*contender).to_owned(), (x + LINE + 8, 23), style))?;
        // No backend knows how wide a text will be; no letter of these is wider on average.
        x += LINE + 8 + 7 * contender.len() as i32 + 24;
    }
    Ok(())
}

fn draw_panel(
    panel: &Area<'_>,
    axis: &str,
    series: &[&Series],
    contenders: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || series.iter().flat_map(|series| series.points.iter().copied());
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (left, right) = range(&mut points().map(|(x, _)| x));
    let (low, high) = range(&mut points().map(|(_, y)| y));
    if left > right {
        return Ok(());
    }
    let caption = format!("CPU ns of a message by {axis}");
    let mut chart = ChartBuilder::on(panel)
        .caption(caption, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(80)
        .build_cartesian_2d((left..right * 1.2).log_scale(), (low * 0.8..high * 1.3).log_scale())?;
    let number = |value: &f64| format!("{value:.0}");
    chart.configure_mesh().x_label_formatter(&number).y_label_formatter(&number).draw()?;
    for series in series {
        let colour = colour(contenders, &series.contender);
        chart.draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the lines are is known after a run only, so no panel is a place for the legend.
    #[test]
    fn the_legend_is_above_all_panels_and_a_contender_has_one_colour_in_all() {
        let series = |axis: &str, contender: &str| Series {
            axis: axis.to_owned(),
            contender: contender.to_owned(),
            points: vec![(1.0, 100.0), (10.0, 200.0), (1000.0, 900.0)],
        };
        let report = Report {
            series: vec![
                series("connections", "bare"),
                series("connections", "ours"),
                series("bytes", "bare"),
                series("bytes", "others"),
                series("subscribers", "ours"),
            ],
            ..Report::new(&[], 1)
        };
        let path = std::env::temp_dir().join(format!("everwire-growth-{}.svg", std::process::id()));
        growth(&report, &path).unwrap();
        let drawn = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let first_caption = drawn.find("by connections").unwrap();
        for contender in ["bare", "ours", "others"] {
            let places: Vec<usize> =
                drawn.match_indices(&format!("\n{contender}\n")).map(|(at, _)| at).collect();
            assert!(matches!(places[..], [at] if at < first_caption), "{contender}: {places:?}");
        }
        // In the legend once, then once in each of its panels.
        let strokes = |colour: RGBColor| {
            drawn.matches(&format!("stroke=\"#{:02X}{:02X}{:02X}\"", colour.0, colour.1, colour.2)).count()
        };
        assert_eq!(COLOURS.map(strokes)[..3], [3, 3, 2]);
    }
}
