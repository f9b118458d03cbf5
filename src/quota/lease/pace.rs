//! How often one replica asks: so that all together do not ask too much of Redis.

use std::time::Duration;

use tokio::time::Instant;

/// Questions that may come sooner.
const BURST: f64 = 8.0;

#[derive(Debug)]
pub(super) struct Pace {
    tokens: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            at: now,
        }
    }

    /// When the next question may go.
    pub(super) fn ready(&mut self, between: Duration, now: Instant) -> Instant {
        let passed = now.duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed / between.as_secs_f64()).min(BURST);
        match self.tokens >= 1.0 {
            true => now,
            false => now + between.mul_f64(1.0 - self.tokens),
        }
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.at = self.at.max(now);
        self.tokens = (self.tokens - 1.0).max(0.0);
    }
}
