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

/// One panel for each thing that was varied, on two logarithmic scales: there a straight line is linear growth.
fn growth(report: &Report, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut axes: Vec<&str> = report.series.iter().map(|series| series.axis.as_str()).collect();
    axes.dedup();
    let root = SVGBackend::new(path, (960, 320 * axes.len().max(1) as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, axis) in root.split_evenly((axes.len().max(1), 1)).iter().zip(axes) {
        let series: Vec<&Series> = report.series.iter().filter(|series| series.axis == axis).collect();
        draw_panel(panel, axis, &series)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(panel: &Area<'_>, axis: &str, series: &[&Series]) -> Result<(), Box<dyn std::error::Error>> {
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
    for (series, colour) in series.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))?
            .label(series.contender.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
}
