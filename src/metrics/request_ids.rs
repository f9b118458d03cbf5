//! Requests that carry an ID, by what the gateway remembers of it.

use opentelemetry::{KeyValue, metrics::BoundCounter};

use super::instruments::Instruments;

/// What a request with an ID finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing: it is the first.
    First,
    /// Some of it is still to be sent.
    Resumed,
    /// All of it is remembered.
    Replayed,
    /// Another one under way; it is counted once more when that has ended.
    Joined,
    /// Another message under its ID.
    Reused,
    /// No room.
    Refused,
}

/// Requests of one app that carry an ID.
#[derive(Debug, Clone)]
pub struct RequestIds([BoundCounter<u64>; 6]);

impl RequestIds {
    pub(super) fn new(instruments: &Instruments, app: &str) -> Self {
        // In the order of the enum.
        let outcomes = [
            "first", "resumed", "replayed", "joined", "reused", "refused",
        ];
        Self(outcomes.map(|outcome| {
            let counter = instruments.request_ids.bind(&[
                KeyValue::new("app", app.to_owned()),
                KeyValue::new("outcome", outcome),
            ]);
            counter.add(0);
            counter
        }))
    }

    /// A request found this.
    pub fn found(&self, what: Repeat) {
        self.0[what as usize].add(1);
    }
}
