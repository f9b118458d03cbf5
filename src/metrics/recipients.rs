//! Recipients by what became of them.

use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, Counter},
};

use super::instruments::Instruments;

/// Reason of those that Easemob accepted.
const NONE: &str = "";

/// Recipients of one app's messages.
#[derive(Debug, Clone)]
pub struct Recipients {
    app: KeyValue,
    counter: Counter<u64>,
    /// For the kinds that were named so far, since nearly all sends end there.
    accepted: Vec<(&'static str, BoundCounter<u64>)>,
}

impl Recipients {
    pub(super) fn new(instruments: &Instruments, app: &str) -> Self {
        Self {
            app: KeyValue::new("app", app.to_owned()),
            counter: instruments.recipients.clone(),
            accepted: Vec::new(),
        }
    }

    /// Counts these kinds of targets from zero, so that the first recipient of each shows as an
    /// increase, and its first doubt too; `in_doubt` is the reason of those.
    pub fn with_kinds<const N: usize>(
        mut self,
        kinds: [&'static str; N],
        in_doubt: &'static str,
    ) -> Self {
        for kind in kinds {
            let accepted = self.counter.bind(&self.attributes(kind, "accepted", NONE));
            accepted.add(0);
            self.accepted.push((kind, accepted));
            self.failed(kind, true, in_doubt, 0);
        }
        self
    }

    /// Easemob gave these a message ID.
    pub fn accepted(&self, kind: &'static str, count: u64) {
        if let Some((_, counter)) = self.accepted.iter().find(|(known, _)| *known == kind) {
            counter.add(count);
        }
    }

    /// These were not sent for this reason, or only maybe.
    pub fn failed(&self, kind: &'static str, maybe_sent: bool, reason: &'static str, count: u64) {
        let state = if maybe_sent { "maybe_sent" } else { "not_sent" };
        self.counter
            .add(count, &self.attributes(kind, state, reason));
    }

    fn attributes(
        &self,
        kind: &'static str,
        state: &'static str,
        reason: &'static str,
    ) -> [KeyValue; 4] {
        [
            self.app.clone(),
            KeyValue::new("kind", kind),
            KeyValue::new("reason", reason),
            KeyValue::new("state", state),
        ]
    }
}
