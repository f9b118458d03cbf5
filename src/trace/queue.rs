//! Finished spans that wait for their export.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry_sdk::trace::SpanData;
use tokio::{sync::Notify, time::timeout};

/// Spans that are exported together.
const BATCH: usize = 512;

/// A bounded queue. Whoever ends a span never waits: a span without room is dropped, and counted.
#[derive(Debug)]
pub struct Queue {
    spans: Mutex<VecDeque<SpanData>>,
    capacity: usize,
    /// A batch is there, or the end has come.
    full: Notify,
    dropped: AtomicU64,
}

impl Queue {
    /// Room for so many spans.
    pub fn new(capacity: usize) -> Self {
        Self {
            spans: Mutex::default(),
            capacity,
            full: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Spans that were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts spans that were lost on their way to the collector.
    pub fn lost(&self, spans: usize) {
        self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Spans that wait.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn push(&self, span: SpanData) {
        let length = {
            let mut spans = self.lock();
            if spans.len() >= self.capacity {
                drop(spans);
                self.lost(1);
                return;
            }
            spans.push_back(span);
            spans.len()
        };
        // Once a batch: waking a thread costs more than a span.
        if length.is_multiple_of(BATCH) {
            self.full.notify_one();
        }
    }

    /// Waits until a batch is there, at most this long.
    pub async fn batch(&self, at_most: Duration) {
        if self.lock().len() < BATCH {
            // Either way there may be something.
            let _elapsed = timeout(at_most, self.full.notified()).await;
        }
    }

    /// Takes the oldest spans, a batch at most.
    pub fn take(&self) -> Vec<SpanData> {
        let mut spans = self.lock();
        let count = spans.len().min(BATCH);
        spans.drain(..count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SpanData>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
