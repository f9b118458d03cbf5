//! One line of the log: what the event says, the trace and span it happened in, and how many of its
//! kind were left out before it.

use std::fmt::{self, Write as _};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::repeat::{Repeats, Verdict};
use crate::trace;

/// Adds to the lines of another format.
pub(super) struct Line<F> {
    format: F,
    repeats: Repeats,
    json: bool,
}

impl<F> Line<F> {
    /// Lines that are JSON objects.
    pub(super) fn json(format: F, repeats: Repeats) -> Self {
        Self {
            format,
            repeats,
            json: true,
        }
    }

    /// Lines of text.
    pub(super) fn text(format: F, repeats: Repeats) -> Self {
        Self {
            format,
            repeats,
            json: false,
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Line<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let suppressed = match self.repeats.verdict(event) {
            Verdict::Write { suppressed } => suppressed,
            Verdict::Suppress => return Ok(()),
        };
        let mut line = String::with_capacity(256);
        self.format
            .format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&self.complete(&line, suppressed)?)
    }
}

impl<F> Line<F> {
    fn complete(&self, line: &str, suppressed: u64) -> Result<String, fmt::Error> {
        let mut line = line.trim_end().to_owned();
        if self.json {
            // Its closing brace comes again.
            line.pop();
        }
        if suppressed > 0 {
            match self.json {
                true => write!(line, ",\"suppressed\":{suppressed}")?,
                false => write!(line, " suppressed={suppressed}")?,
            }
        }
        if let Some(ids) = trace::ids() {
            let (trace, span) = (ids.trace, ids.span);
            match self.json {
                true => write!(
                    line,
                    ",\"trace_id\":\"{trace:032x}\",\"span_id\":\"{span:016x}\""
                )?,
                false => write!(line, " trace_id={trace:032x} span_id={span:016x}")?,
            }
        }
        line.push_str(if self.json { "}\n" } else { "\n" });
        Ok(line)
    }
}
