//! Connections before they are served.

use opentelemetry::{KeyValue, metrics::BoundCounter};

use super::instruments::Instruments;

/// How a handshake went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// The connection is served.
    Served,
    /// The peer got it wrong, or went away.
    Failed,
    /// It took too long, or no place came free.
    TimedOut,
    /// It gave way to a newer one.
    GaveWay,
}

/// Handshakes by how they went.
#[derive(Debug, Clone)]
pub struct Handshakes([BoundCounter<u64>; 4]);

impl Handshakes {
    pub(super) fn new(instruments: &Instruments) -> Self {
        // In the order of the enum.
        let outcomes = ["served", "failed", "timed_out", "gave_way"];
        Self(outcomes.map(|outcome| {
            let outcome = KeyValue::new("outcome", outcome);
            let counter = instruments.handshakes.bind(&[outcome]);
            counter.add(0);
            counter
        }))
    }

    /// A handshake has ended.
    pub fn ended(&self, how: Handshake) {
        self.0[how as usize].add(1);
    }
}
