//! The thread that exports: away from the shards, so that a slow collector costs spans and nothing
//! else.

use std::{sync::Arc, thread, time::Duration};

use anyhow::Context;
use opentelemetry_sdk::{error::OTelSdkError, trace::SpanExporter};
use tokio::{
    runtime,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::otlp::span_delay;
use crate::trace::Queue;

/// A thread with a runtime of its own, on which exporters have their connections.
#[derive(Debug)]
pub(super) struct Exports {
    spans: Arc<Queue>,
    flush_timeout: Duration,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Exports {
    /// Starts the thread with this runtime, on which the exporters were built. Spans go from the queue to
    /// their exporter.
    pub(super) fn start<E: SpanExporter + 'static>(
        spans: Arc<Queue>,
        exporter: E,
        runtime: runtime::Runtime,
        flush_timeout: Duration,
    ) -> anyhow::Result<Self> {
        let exports = Self {
            spans: Arc::clone(&spans),
            flush_timeout,
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let (stop, ended) = (exports.stop.clone(), exports.ended.clone());
        thread::Builder::new()
            .name("telemetry".to_owned())
            .spawn(move || {
                runtime.block_on(export(&spans, &exporter, &stop));
                ended.cancel();
                runtime.shutdown_background();
            })
            .context("cannot start a thread")?;
        Ok(exports)
    }

    /// Exports what waits, within the time for it, and ends.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        let until = Instant::now() + self.flush_timeout;
        if timeout_at(until, self.ended.cancelled()).await.is_err() {
            let (waiting, dropped) = (self.spans.len(), self.spans.dropped());
            let reason = "the collector did not take the last ones in time";
            warn!(reason, waiting, dropped, "spans were lost");
        }
    }
}

/// A runtime for [`Exports`].
pub(super) fn runtime() -> anyhow::Result<runtime::Runtime> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime for telemetry")
}

/// Exports what comes until it is to stop, and then what is left.
async fn export<E: SpanExporter>(queue: &Queue, exporter: &E, stop: &CancellationToken) {
    let delay = span_delay();
    let mut told = 0;
    loop {
        tokio::select! {
            () = queue.batch(delay) => {}
            () = stop.cancelled() => {}
        }
        let stopping = stop.is_cancelled();
        let batch = queue.take();
        let count = batch.len();
        let mut reason = "the queue was full";
        if count > 0
            && let Err(error) = exporter.export(batch).await
        {
            queue.lost(count);
            reason = why(&error);
        }
        let dropped = queue.dropped();
        if dropped > told {
            let spans = dropped - told;
            warn!(reason, spans, "spans were lost");
            told = dropped;
        }
        if stopping && queue.is_empty() {
            return;
        }
    }
}

/// Why, without the text of the collector: it may quote what it was sent.
fn why(error: &OTelSdkError) -> &'static str {
    match error {
        OTelSdkError::Timeout(_) => "the collector did not answer in time",
        _ => "the collector refused them, or was not there",
    }
}
