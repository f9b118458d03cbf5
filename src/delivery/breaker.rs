//! The breaker: an Easemob that takes no connections is left alone for a while.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Attempts in a row without a connection after which no more are made.
const FAILURES: u32 = 7;
/// First pause; doubles with each attempt after it that fails as well.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause, before its jitter: what is back is used again within five seconds. A connection now and
/// then does no harm to one that is not.
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// The breaker of one app, on all shards.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    /// The last attempt had no connection. Where it had one, and so nearly always, no core has to wait for another.
    fails: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Attempts without a connection since the last that had one.
    failures: u32,
    /// No attempt before this.
    open_until: Option<Instant>,
    /// Pauses since the last connection.
    pauses: u32,
}

impl Breaker {
    /// Leave to make an attempt, or else how long none is made. After a pause one attempt is let
    /// through, and the rest wait for what becomes of it or for the next pause to end.
    pub(super) fn admit(&self) -> Result<(), Duration> {
        if !self.fails.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut state = self.state();
        let Some(open_until) = state.open_until else {
            return Ok(());
        };
        let now = Instant::now();
        if now < open_until {
            return Err(open_until - now);
        }
        state.pause(now);
        Ok(())
    }

    /// An attempt had a connection, whatever came of it.
    pub(super) fn connected(&self) {
        if self.fails.load(Ordering::Relaxed) {
            let mut state = self.state();
            *state = State::default();
            self.fails.store(false, Ordering::Relaxed);
        }
    }

    /// An attempt had none.
    pub(super) fn failed(&self) {
        let mut state = self.state();
        self.fails.store(true, Ordering::Relaxed);
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES && state.open_until.is_none() {
            state.pause(Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No field is wrong without the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause(&mut self, now: Instant) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(8));
        // Up to half as long again, so that replicas do not come back together.
        let jitter = 1.0 + 0.5 * fastrand::f64();
        self.open_until = Some(now + pause.min(MAX_PAUSE).mul_f64(jitter));
        self.pauses = self.pauses.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert_eq!(breaker.admit(), Ok(()));
            breaker.failed();
        }
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn seven_failures_in_a_row_open_it_and_fewer_do_not() {
        let breaker = open();
        let wait = breaker.admit().unwrap_err();
        assert!((FIRST_PAUSE..=FIRST_PAUSE.mul_f64(1.5)).contains(&wait));

        let breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                breaker.failed();
            }
            breaker.connected();
        }
        assert_eq!(breaker.admit(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_goes_first_and_opens_the_way_for_the_rest() {
        let breaker = open();
        tokio::time::sleep(breaker.admit().unwrap_err()).await;
        assert_eq!(breaker.admit(), Ok(()));
        breaker.admit().unwrap_err();
        breaker.connected();
        for _ in 0..FAILURES {
            assert_eq!(breaker.admit(), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_five_seconds_and_failures_under_way_do_not_count() {
        let breaker = open();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            // Those that had begun before it opened.
            for _ in 0..30 {
                breaker.failed();
            }
            let wait = breaker.admit().unwrap_err();
            pauses.push(wait.as_secs_f64());
            tokio::time::sleep(wait).await;
            assert_eq!(breaker.admit(), Ok(()));
        }
        for (pause, expected) in pauses.into_iter().zip([1, 2, 3, 3, 3, 3, 3, 3, 3]) {
            let expected = f64::from(expected);
            assert!(
                (expected..=expected * 1.5).contains(&pause),
                "{pause} for {expected}"
            );
        }
    }
}
