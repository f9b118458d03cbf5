//! Draws a curve as SVG, on white, so that it can be read on a dark page too.

use std::ops::Range;

use anyhow::anyhow;
use plotters::{
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::*,
};

use super::{Curve, Growth, Series};
use crate::report;

const SIZE: (u32, u32) = (640, 360);
const COLOURS: [RGBColor; 3] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 96, 20),
    RGBColor(44, 140, 60),
];
const FONT: &str = "sans-serif";

/// Draws it, and gives the name of the file as the report has it.
pub(super) fn draw(curve: &Curve) -> anyhow::Result<String> {
    let name = format!("{}/{}.svg", report::PLOTS, curve.file);
    let points = || curve.series.iter().flat_map(|series| &series.points);
    let (xs, ys) = (
        ends(points().map(|point| point.0)),
        ends(points().map(|point| point.1)),
    );
    let most = xs.end.max(2.0 * xs.start);
    let along = (xs.start..most).log_scale();
    let path = report::folder().join(&name);
    let area = SVGBackend::new(&path, SIZE).into_drawing_area();
    // Room above the lines for what they are called.
    let drawn = match curve.growth {
        Growth::Flat => chart(&area, curve, along, 0.0..1.4 * ys.end),
        Growth::Linear => chart(&area, curve, along, decades(&ys).log_scale()),
    };
    drawn.map_err(|error| anyhow!("{name}: {error}"))?;
    Ok(name)
}

/// The least and the most.
fn ends(values: impl Iterator<Item = f64>) -> Range<f64> {
    values.fold(f64::MAX..f64::MIN, |ends, value| {
        ends.start.min(value)..ends.end.max(value)
    })
}

/// Whole powers of ten around a range, since only they have labels.
fn decades(range: &Range<f64>) -> Range<f64> {
    10_f64.powf(range.start.log10().floor())..10_f64.powf((1.5 * range.end).log10().ceil())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn chart<X, Y>(
    area: &Area<'_>,
    curve: &Curve,
    xs: X,
    ys: Y,
) -> Result<(), Box<dyn std::error::Error>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
    Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .x_desc(curve.x)
        .y_desc(curve.y)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .draw()?;
    for (series, colour) in curve.series.iter().zip(COLOURS) {
        line(&mut chart, series, colour)?;
    }
    if curve.series.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font((FONT, 13))
            .draw()?;
    }
    area.present()?;
    Ok(())
}

type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

fn line<'a, X, Y>(
    chart: &mut Chart<'a, '_, X, Y>,
    series: &Series,
    colour: RGBColor,
) -> Result<(), Box<dyn std::error::Error>>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let points = || series.points.iter().copied();
    chart
        .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
        .label(&series.name)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
    Ok(())
}

/// In as few digits as tell it.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == size.trunc() => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    // 1000000 → 1,000,000
    let (whole, fraction) = text
        .split_once('.')
        .map_or((&*text, ""), |(whole, f)| (whole, f));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out = format!("{out}.{fraction}");
    }
    out
}
