//! The report: Markdown, on the terminal and in `target/bench/report.md`, line by line, so that what was
//! measured is there however the run ends; at its end, what was aimed at.

use std::{
    fmt::Display,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Folder of the plots, as it stands in the report: beside it, here and in `docs/`.
pub(crate) const PLOTS: &str = "performance";

/// Folder of the report.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}

/// What was measured so far.
#[derive(Debug)]
pub(crate) struct Report {
    file: File,
    judged: Vec<[String; 4]>,
}

/// Where a figure has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
        }
    }
}

impl Report {
    /// An empty one, in place of the last.
    pub(crate) fn create() -> anyhow::Result<Self> {
        fs::create_dir_all(folder().join(PLOTS))?;
        let file = File::create(folder().join("report.md")).context("no report")?;
        Ok(Self {
            file,
            judged: Vec::new(),
        })
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: impl Display) {
        println!("{text}");
        // What cannot be written has been printed.
        let _ = writeln!(self.file, "{text}");
    }

    /// A heading, and an empty line on each side.
    pub(crate) fn heading(&mut self, text: impl Display) {
        self.line(format!("\n### {text}\n"));
    }

    /// The first row of a table; all columns but the first are numbers.
    pub(crate) fn columns(&mut self, names: &[&str]) {
        self.row(names);
        let rules = (0..names.len()).map(|at| if at == 0 { "---" } else { "---:" });
        self.row(&rules.collect::<Vec<_>>());
    }

    /// A row of a table.
    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: &[T]) {
        let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
        self.line(format!("| {} |", cells.join(" | ")));
    }

    /// Notes whether a figure is where it should be: a miss is told at the end, and ends nothing.
    pub(crate) fn judge(
        &mut self,
        what: impl Display,
        aim: impl Display,
        value: f64,
        bound: Bound,
    ) {
        self.judged.push([
            what.to_string(),
            aim.to_string(),
            format!("{value:.3}"),
            if bound.holds(value) { "met" } else { "not met" }.to_owned(),
        ]);
    }

    /// The table of what was judged.
    pub(crate) fn close(&mut self) {
        let judged = std::mem::take(&mut self.judged);
        if judged.is_empty() {
            return;
        }
        self.heading("Aims");
        self.columns(&["what", "bound (aim)", "measured", ""]);
        for row in judged {
            self.row(&row);
        }
    }
}
