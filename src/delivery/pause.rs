//! What Easemob refused by quota: that kind of target waits, on all shards, and the rest goes on.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{easemob, message::Kind};

/// For a refusal that does not say how long.
const PAUSE: Duration = Duration::from_secs(1);

/// The pauses of one app, by kind of target.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    pauses: Mutex<[Option<Pause>; Kind::ALL.len()]>,
    /// Where there are none, and so nearly always, no core has to wait for another.
    any: AtomicBool,
}

/// Nothing of a kind is sent before its end.
#[derive(Debug, Clone)]
pub(super) struct Pause {
    pub(super) until: Instant,
    refusal: easemob::Error,
}

impl Pauses {
    /// Begins with what Easemob refused, or goes on longer. When this refusal's is over.
    pub(super) fn begin(&self, kind: Kind, refusal: &easemob::Error) -> Instant {
        let until = Instant::now() + refusal.retry_after.unwrap_or(PAUSE);
        let pause = &mut self.pauses()[kind as usize];
        self.any.store(true, Ordering::Relaxed);
        if pause.as_ref().is_none_or(|pause| pause.until < until) {
            *pause = Some(Pause {
                until,
                refusal: refusal.clone(),
            });
        }
        until
    }

    /// The pause that a kind has now.
    pub(super) fn of(&self, kind: Kind) -> Option<Pause> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut pauses = self.pauses();
        let pause = &mut pauses[kind as usize];
        if pause.as_ref()?.until <= Instant::now() {
            *pause = None;
            let any = pauses.iter().any(Option::is_some);
            self.any.store(any, Ordering::Relaxed);
            return None;
        }
        pause.clone()
    }

    fn pauses(&self) -> MutexGuard<'_, [Option<Pause>; Kind::ALL.len()]> {
        // Each is replaced as a whole.
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pause {
    /// The refusal that began it, with what is left of the wait.
    pub(super) fn refusal(self) -> easemob::Error {
        let left = self.until.saturating_duration_since(Instant::now());
        self.refusal.with_retry_after(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(seconds: u64) -> easemob::Error {
        easemob::Error::new(easemob::Kind::QuotaExceeded, "as scripted")
            .with_retry_after(Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_pauses_for_itself_until_the_latest_end() {
        let pauses = Pauses::default();
        pauses.begin(Kind::Users, &refusal(10));
        pauses.begin(Kind::Users, &refusal(1));
        assert!(pauses.of(Kind::Groups).is_none());
        tokio::time::sleep(Duration::from_secs(4)).await;
        let left = pauses.of(Kind::Users).unwrap().refusal().retry_after;
        assert_eq!(left, Some(Duration::from_secs(6)));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(pauses.of(Kind::Users).is_none());
    }
}
