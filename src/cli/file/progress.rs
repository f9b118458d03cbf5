//! How far a file has come: bytes, rate, time left. Only on a terminal, and without colours.

use std::{env, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the line is drawn anew, so that it also tells when nothing moves.
const TICK: Duration = Duration::from_millis(250);

const KNOWN: &str = "[{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
const UNKNOWN: &str = "{bytes}  {bytes_per_sec}";

/// A line on standard error, gone when this is dropped.
pub(in crate::cli) struct Progress(ProgressBar);

impl Progress {
    /// `show`: the command's own output allows it. What is no terminal gets none anyway.
    pub(in crate::cli) fn new(total_bytes: Option<u64>, show: bool) -> Self {
        let can_move = env::var_os("TERM").is_none_or(|term| term != "dumb");
        let target = if show && can_move {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total_bytes, target);
        let template = if total_bytes.is_some() {
            KNOWN
        } else {
            UNKNOWN
        };
        let style = ProgressStyle::with_template(template)
            .expect("the templates are sound: a test draws both")
            .progress_chars("=> ");
        bar.set_style(style);
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// So many bytes more.
    pub(in crate::cli) fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    /// The counter alone, for whoever moves the bytes.
    pub(in crate::cli) fn counter(&self) -> impl Fn(usize) + Send + use<> {
        let bar = self.0.clone();
        move |bytes| bar.inc(bytes as u64)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_are_sound() {
        for total in [Some(10), None] {
            let progress = Progress::new(total, false);
            progress.add(3);
            progress.counter()(4);
            assert_eq!(progress.0.position(), 7);
        }
    }
}
