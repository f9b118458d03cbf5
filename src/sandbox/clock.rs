//! The time by which tokens and files age and quotas refill, which a test can hold still and move on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A clock that clones share.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` for a clock that moves only when told to.
    started: Option<Instant>,
    /// What time it was when it began.
    began: SystemTime,
    /// Nanoseconds that the clock was moved on by hand: 584 years fit.
    ahead: AtomicU64,
}

impl Clock {
    /// Runs with the system's monotonic clock.
    pub fn system() -> Self {
        Self::new(Some(Instant::now()))
    }

    /// Stands still but for [`Clock::advance`].
    pub fn frozen() -> Self {
        Self::new(None)
    }

    fn new(started: Option<Instant>) -> Self {
        Self(Arc::new(Inner {
            started,
            began: SystemTime::now(),
            ahead: AtomicU64::new(0),
        }))
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.ahead.fetch_add(by, Ordering::Relaxed);
    }

    /// When the clock was made, by the system's calendar.
    pub(super) fn began(&self) -> SystemTime {
        self.0.began
    }

    /// Time since the clock was made.
    pub(super) fn now(&self) -> Duration {
        let ran = self.0.started.map_or(Duration::ZERO, |at| at.elapsed());
        ran + Duration::from_nanos(self.0.ahead.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_moves_only_when_told_to() {
        let clock = Clock::frozen();
        assert_eq!(clock.now(), Duration::ZERO);
        let other = clock.clone();
        clock.advance(Duration::from_secs(3));
        assert_eq!(
            other.now(),
            Duration::from_secs(3),
            "clones share their time"
        );
    }

    #[test]
    fn the_system_clock_can_be_moved_on_too() {
        let clock = Clock::system();
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now() >= Duration::from_secs(3600));
    }
}
