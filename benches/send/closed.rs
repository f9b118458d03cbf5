//! The figures of the closed loop: servers take turns, round by round, so that what else happens on the
//! machine meets all of them alike.

mod figures;
mod table;

pub(crate) use self::figures::FIGURES;

use anyhow::Context;

use crate::{
    load::Shape,
    report::{Bound, Report},
    sample::{self, Pace, Sample},
    server::Server,
    sink, straight,
};

/// A row of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
}

/// A table of the report.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) shapes: &'static [Shape],
    pub(crate) rows: &'static [Row],
    /// The row that the others are compared with.
    pub(crate) base: &'static str,
    pub(crate) rules: &'static [Rule],
    /// Measured in fewer and shorter rounds.
    pub(crate) brief: bool,
}

/// Where the ratio of one row to another has to be.
#[derive(Debug)]
pub(crate) struct Rule {
    row: &'static str,
    over: &'static str,
    column: &'static str,
    bound: Bound,
    aim: &'static str,
}

/// Samples of all rows under one load: for each row, one a round.
pub(crate) type Samples = Vec<Vec<Sample>>;

impl Figure {
    /// Measures it, and writes its tables.
    pub(crate) async fn measure(&self, report: &mut Report, pace: Pace) -> anyhow::Result<()> {
        report.heading(format!("{}: {}", self.name, self.about));
        let pace = if self.brief { pace.brief() } else { pace };
        for shape in self.shapes {
            let samples = rounds(self.rows, *shape, pace).await?;
            table::write(report, self, *shape, &samples);
        }
        Ok(())
    }
}

/// All rows by turns, before the same sink.
pub(crate) async fn rounds(rows: &[Row], shape: Shape, pace: Pace) -> anyhow::Result<Samples> {
    let sink = sink::start_with(sink::Manner {
        each: rows.iter().any(|row| row.server.options().recipients > 1),
        ..sink::Manner::default()
    })?;
    let mut peers = Vec::new();
    for row in rows {
        peers.push(row.server.start(&sink, None).context(row.name)?);
    }
    let mut samples = vec![Vec::new(); rows.len()];
    for _ in 0..pace.rounds {
        for ((row, peer), samples) in rows.iter().zip(&peers).zip(&mut samples) {
            let sample = match peer {
                Some(peer) => sample::take(row.server, peer, &sink, shape, pace).await,
                None => straight::take(&sink, shape, pace).await,
            };
            samples.push(sample.with_context(|| format!("{}, {shape}", row.name))?);
        }
    }
    Ok(samples)
}
