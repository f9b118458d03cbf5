//! Turns: how many calls to Easemob an app has under way at once, and how many may wait for their turn.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much is sent at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most calls to Easemob at once, for each app and shard. More do not go faster: they wait here
    /// instead of there.
    pub calls_in_flight: usize,
    /// Most sends that wait for their turn, for each app and shard. What comes on top is refused at
    /// once, as OVERLOADED: one app's outage must not take the places of the others.
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            calls_in_flight: 32,
            queue: 128,
        }
    }
}

/// The turns of one app.
#[derive(Debug)]
pub(super) struct Turns {
    places: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    queue: usize,
}

/// Leave to make one call. Given back when dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

/// Too many wait already.
#[derive(Debug)]
pub(super) struct QueueFull;

impl Turns {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.calls_in_flight)),
            waiting: Arc::default(),
            queue: config.queue,
        }
    }

    /// Waits for a turn, in the order of asking.
    pub(super) async fn turn(&self) -> Result<Turn, QueueFull> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Turn(place));
        }
        let _waiting = Waiting::enter(&self.waiting, self.queue)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        Ok(Turn(place.expect("the semaphore is never closed")))
    }
}

/// One that waits; leaves the queue when dropped, so that a caller that goes away frees its place.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, queue: usize) -> Result<Self, QueueFull> {
        let entered = Self(waiting);
        if waiting.fetch_add(1, Ordering::AcqRel) >= queue {
            return Err(QueueFull);
        }
        Ok(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beyond_places_and_queue_a_send_is_refused_at_once() {
        let turns = Arc::new(Turns::new(&Config {
            calls_in_flight: 1,
            queue: 1,
        }));
        let first = turns.turn().await.unwrap();
        let second = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.turn().await.map(drop).is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(turns.turn().await.is_err());
        drop(first);
        assert!(second.await.unwrap());
        assert!(turns.turn().await.is_ok());
        assert_eq!(turns.waiting.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_the_queue() {
        let turns = Turns::new(&Config {
            calls_in_flight: 1,
            queue: 1,
        });
        let _first = turns.turn().await.unwrap();
        {
            let mut waiting = Box::pin(turns.turn());
            assert!(futures_poll(&mut waiting).is_none());
        }
        assert_eq!(turns.waiting.load(Ordering::SeqCst), 0);
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
