//! Finished spans that wait for their export, and what became of those that did.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// Spans that are exported together.
const BATCH: usize = 512;

/// A bounded queue. Whoever ends a span never waits: a span without room is dropped, and counted.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    capacity: usize,
    /// A batch is there, or the end has come.
    full: Notify,
    counts: [AtomicU64; Fate::ALL.len()],
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    spans: usize,
    /// Size of the last batch that was taken.
    usual_bytes: usize,
}

/// Spans that travel together.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many.
    pub spans: usize,
    /// They themselves, as the fields of OTLP's `ScopeSpans` that they are to be.
    pub bytes: Vec<u8>,
}

impl Batch {
    /// The number of that field.
    const SPANS: u8 = 2;
}

/// What became of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was taken from the queue, to be exported.
    Taken,
    /// There was no room for it in the queue.
    QueueFull,
    /// The collector has it.
    Exported,
    /// The collector did not answer in time.
    TimedOut,
    /// The collector could not be reached, or broke off.
    Unreachable,
    /// The collector did not want it.
    Rejected,
}

impl Fate {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Taken,
        Self::QueueFull,
        Self::Exported,
        Self::TimedOut,
        Self::Unreachable,
        Self::Rejected,
    ];

    /// Why it was lost, as `error.type`; none where it was not.
    pub fn error_type(self) -> Option<&'static str> {
        match self {
            Self::Taken | Self::Exported => None,
            Self::QueueFull => Some("queue_full"),
            Self::TimedOut => Some("timeout"),
            Self::Unreachable => Some("connection"),
            Self::Rejected => Some("rejected"),
        }
    }
}

impl Queue {
    /// Room for so many spans.
    pub fn new(capacity: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            capacity,
            full: Notify::new(),
            counts: Default::default(),
        }
    }

    /// Spans that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Spans that wait.
    pub fn len(&self) -> usize {
        self.lock().spans
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Spans of which it is not known yet what becomes of them: they wait, or are on their way.
    pub fn unsettled(&self) -> u64 {
        let settled = [
            Fate::Exported,
            Fate::TimedOut,
            Fate::Unreachable,
            Fate::Rejected,
        ];
        let settled: u64 = settled.map(|fate| self.count(fate)).iter().sum();
        self.len() as u64 + self.count(Fate::Taken).saturating_sub(settled)
    }

    /// Spans that this has become of so far.
    pub fn count(&self, fate: Fate) -> u64 {
        self.counts[fate as usize].load(Ordering::Relaxed)
    }

    /// Counts spans that this has become of.
    pub fn add(&self, fate: Fate, spans: usize) {
        self.counts[fate as usize].fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Puts a span there that writes itself as a field of the number that it is told.
    pub(super) fn push(&self, write: impl FnOnce(&mut Vec<u8>, u8)) {
        let mut waiting = self.lock();
        if waiting.spans >= self.capacity {
            drop(waiting);
            self.add(Fate::QueueFull, 1);
            return;
        }
        waiting.spans += 1;
        if waiting.batches.back().is_none_or(Batch::is_full) {
            // About as large as the one before it: it need not grow by and by.
            let bytes = Vec::with_capacity(waiting.usual_bytes);
            waiting.batches.push_back(Batch { spans: 0, bytes });
        }
        let Some(batch) = waiting.batches.back_mut() else {
            return;
        };
        write(&mut batch.bytes, Batch::SPANS);
        batch.spans += 1;
        let is_full = batch.is_full();
        drop(waiting);
        // Once a batch: waking a thread costs more than a span.
        if is_full {
            self.full.notify_one();
        }
    }

    /// Waits until a batch is there, at most this long.
    pub async fn batch(&self, at_most: Duration) {
        if !self.lock().batches.front().is_some_and(Batch::is_full) {
            // Either way there may be something.
            let _elapsed = timeout(at_most, self.full.notified()).await;
        }
    }

    /// Takes the oldest spans, a batch at most.
    pub fn take(&self) -> Option<Batch> {
        let batch = {
            let mut waiting = self.lock();
            let batch = waiting.batches.pop_front()?;
            waiting.spans -= batch.spans;
            waiting.usual_bytes = batch.bytes.len();
            batch
        };
        self.add(Fate::Taken, batch.spans);
        Some(batch)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn is_full(&self) -> bool {
        self.spans >= BATCH
    }
}

#[cfg(test)]
impl Queue {
    /// All that waits, as a collector would read it.
    pub(super) fn spans(&self) -> Vec<opentelemetry_proto::tonic::trace::v1::Span> {
        use opentelemetry_proto::tonic::trace::v1::ScopeSpans;
        use prost::Message as _;

        let batches = std::iter::from_fn(|| self.take());
        batches
            .flat_map(|batch| ScopeSpans::decode(&*batch.bytes).unwrap().spans)
            .collect()
    }
}
