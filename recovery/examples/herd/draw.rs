//! The picture: dials after the return, by hundreds of milliseconds, one line for each library.

use std::{error::Error, path::Path};

use plotters::prelude::*;

/// A named line: the share of the fleet that dials in each 100 ms after the return.
pub(crate) type Line = (&'static str, Vec<f64>);

/// Draws the lines into an SVG, on a logarithmic scale: the worst are a hundred times the best.
pub(crate) fn draw(path: &Path, title: &str, lines: &[Line]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (960, 540)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..30.0, (0.01..120.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("seconds after the server's return")
        .y_desc("% of the fleet dialling, per 100 ms")
        .y_label_formatter(&|share| format!("{share}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, (name, shares)) in lines.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let width = if index == 0 { 3 } else { 1 };
        let points = shares
            .iter()
            .take(300)
            .enumerate()
            .map(|(at, share)| (at as f64 / 10.0, (share * 100.0).max(0.01)));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(width)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(width)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.9)).border_style(BLACK.mix(0.3)).draw()?;
    root.present()?;
    Ok(())
}
