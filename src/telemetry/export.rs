//! The thread that exports: away from the shards, so that a slow collector costs spans and nothing
//! else.

use std::{sync::Arc, thread, time::Duration};

use anyhow::Context;
use tokio::{
    runtime,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    otlp::span_delay,
    spans::{Failure, SpanExporter},
};
use crate::trace::{Batch, Fate, Queue};

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
    pub(super) fn start(
        spans: Arc<Queue>,
        exporter: SpanExporter,
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
            let reason = "the collector did not take the last ones in time";
            warn!(reason, spans = self.spans.unsettled(), "spans were lost");
        }
    }
}

/// A runtime for [`Exports`].
pub(super) fn runtime() -> anyhow::Result<runtime::Runtime> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime for telemetry")
}

/// Exports what comes until it is to stop, and then what is left.
async fn export(queue: &Queue, exporter: &SpanExporter, stop: &CancellationToken) {
    let delay = span_delay();
    let mut told = 0;
    loop {
        tokio::select! {
            () = queue.batch(delay) => {}
            () = stop.cancelled() => {}
        }
        let stopping = stop.is_cancelled();
        if let Some(batch) = queue.take() {
            export_batch(queue, exporter, &batch).await;
        }
        let dropped = queue.count(Fate::QueueFull);
        if dropped > told {
            let spans = dropped - told;
            warn!(reason = "the queue was full", spans, "spans were lost");
            told = dropped;
        }
        if stopping && queue.is_empty() {
            return;
        }
    }
}

async fn export_batch(queue: &Queue, exporter: &SpanExporter, batch: &Batch) {
    match exporter.export(batch).await {
        Ok(rejected) => {
            let rejected = rejected.min(batch.spans);
            queue.add(Fate::Exported, batch.spans - rejected);
            queue.add(Fate::Rejected, rejected);
            if rejected > 0 {
                let reason = "the collector did not want them";
                warn!(reason, spans = rejected, "spans were lost");
            }
        }
        Err(Failure { fate, cause, .. }) => {
            queue.add(fate, batch.spans);
            let reason = match fate {
                Fate::TimedOut => "the collector did not answer in time",
                Fate::Unreachable => "the collector cannot be reached",
                _ => "the collector refused them",
            };
            warn!(reason, cause, spans = batch.spans, "spans were lost");
        }
    }
}
