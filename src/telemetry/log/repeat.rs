//! Lines that repeat themselves: the first few of a while are written, the rest are counted.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level,
    callsite::Identifier,
    field::{Field, Visit},
};

/// How long lines of a kind are counted together.
const WHILE: Duration = Duration::from_secs(10);
/// Kinds that are told apart, at most: reasons are few.
const MAX_KINDS: usize = 1_000;

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written, and so many of its kind were not since the last one.
    Write {
        /// How many.
        suppressed: u64,
    },
    /// It is counted.
    Suppress,
}

/// Counts lines by the place in the code that they come from, and by their field `reason`.
pub(super) struct Repeats {
    most: u64,
    kinds: Mutex<HashMap<(Identifier, String), Kind>>,
}

struct Kind {
    since: Instant,
    written: u64,
    suppressed: u64,
}

impl Repeats {
    /// So many lines of a kind in 10 s; 0: all.
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            kinds: Mutex::default(),
        }
    }

    /// What becomes of the line. Whoever logs single calls wants to see them all.
    pub(super) fn verdict(&self, event: &Event<'_>) -> Verdict {
        if self.most == 0 || *event.metadata().level() > Level::INFO {
            return Verdict::Write { suppressed: 0 };
        }
        let mut reason = Reason(String::new());
        event.record(&mut reason);
        let kind = (event.metadata().callsite(), reason.0);
        self.count(kind, Instant::now())
    }

    fn count(&self, kind: (Identifier, String), now: Instant) -> Verdict {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= MAX_KINDS && !kinds.contains_key(&kind) {
            kinds.retain(|_, kind| now < kind.since + WHILE);
        }
        if kinds.len() >= MAX_KINDS && !kinds.contains_key(&kind) {
            return Verdict::Suppress;
        }
        let kind = kinds.entry(kind).or_insert(Kind {
            since: now,
            written: 0,
            suppressed: 0,
        });
        if now >= kind.since + WHILE {
            (kind.since, kind.written) = (now, 0);
        }
        if kind.written >= self.most {
            kind.suppressed += 1;
            return Verdict::Suppress;
        }
        kind.written += 1;
        Verdict::Write {
            suppressed: std::mem::take(&mut kind.suppressed),
        }
    }
}

struct Reason(String);

impl Visit for Reason {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "reason" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use tracing::{Metadata, callsite::Callsite, subscriber::Interest};

    use super::*;

    struct Place;

    impl Callsite for Place {
        fn set_interest(&self, _: Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody asks what it logs")
        }
    }

    #[test]
    fn the_first_few_of_a_while_are_written_and_the_rest_counted() {
        let kind = |reason: &str| (Identifier(&Place), reason.to_owned());
        let repeats = Repeats::new(2);
        let now = Instant::now();
        let write = |suppressed| Verdict::Write { suppressed };
        assert_eq!(repeats.count(kind("a"), now), write(0));
        assert_eq!(repeats.count(kind("a"), now), write(0));
        assert_eq!(repeats.count(kind("a"), now), Verdict::Suppress);
        assert_eq!(repeats.count(kind("b"), now), write(0));
        assert_eq!(repeats.count(kind("a"), now + WHILE / 2), Verdict::Suppress);
        assert_eq!(repeats.count(kind("a"), now + WHILE), write(2));
        assert_eq!(repeats.count(kind("a"), now + WHILE), write(0));
        assert_eq!(repeats.count(kind("a"), now + WHILE), Verdict::Suppress);
    }
}
