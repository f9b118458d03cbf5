//! Turns: how many calls to Easemob an app has under way at once, and how many may wait for their turn.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{Gauge, Gauges};

/// How much is sent at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most calls to Easemob at once, for each app and shard. More do not go faster: they wait here
    /// instead of there.
    pub calls_in_flight: usize,
    /// Most sends that wait for their turn or for a token, for each app and shard. What comes on top
    /// is refused at once, as OVERLOADED: one app's outage must not take the places of the others.
    pub queue: usize,
    /// Most calls at once for one message with many recipients: a long list must not take all places.
    pub parts_in_flight: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            calls_in_flight: 32,
            queue: 128,
            parts_in_flight: 8,
        }
    }
}

/// The turns of one app.
#[derive(Debug)]
pub(super) struct Turns {
    /// For those that have their turn and those that wait for it.
    admissions: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// A message's leave to wait for turns, and then to make its calls. Given back when dropped, so that a
/// caller that goes away leaves the queue.
#[derive(Debug)]
pub(super) struct Admission(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

/// Leave to make one call. Given back when dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

/// Too many wait already.
#[derive(Debug)]
pub(super) struct QueueFull;

impl Turns {
    pub(super) fn new(config: &Config) -> Self {
        let semaphore = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self {
            admissions: semaphore(config.calls_in_flight.saturating_add(config.queue)),
            places: semaphore(config.calls_in_flight),
        }
    }

    /// Has metrics tell how many have their turn and how many wait for it.
    pub(super) fn observe(&self, gauges: &Gauges, app: &str) {
        let app = [opentelemetry::KeyValue::new("app", app.to_owned())];
        // Nothing is taken yet.
        let (calls, all) = (
            self.places.available_permits(),
            self.admissions.available_permits(),
        );
        let places = Arc::clone(&self.places);
        let under_way = move || calls - places.available_permits();
        let admissions = Arc::clone(&self.admissions);
        gauges.observe_places(
            (Gauge::CallsActive, Gauge::CallsLimit),
            &app,
            calls,
            under_way.clone(),
        );
        gauges.observe_places(
            (Gauge::QueueActive, Gauge::QueueLimit),
            &app,
            all - calls,
            // One that comes or goes between the two readings must not show as less than none.
            move || (all - admissions.available_permits()).saturating_sub(under_way()),
        );
    }

    /// Room in the queue, if there is any.
    pub(super) fn admit(&self) -> Result<Admission, QueueFull> {
        let admission = Arc::clone(&self.admissions).try_acquire_owned();
        admission.map(Admission).map_err(|_full| QueueFull)
    }

    /// Waits for a turn, in the order of asking.
    pub(super) async fn turn(&self) -> Turn {
        let place = Arc::clone(&self.places).acquire_owned().await;
        Turn(place.expect("the semaphore is never closed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beyond_places_and_queue_a_send_is_refused_at_once() {
        let turns = Turns::new(&Config {
            calls_in_flight: 1,
            queue: 1,
            parts_in_flight: 1,
        });
        let (first, second) = (turns.admit().unwrap(), turns.admit().unwrap());
        assert!(turns.admit().is_err());
        drop(first);
        let _third = turns.admit().unwrap();
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_comes_when_another_is_given_back() {
        let turns = Turns::new(&Config {
            calls_in_flight: 1,
            queue: 1,
            parts_in_flight: 1,
        });
        let first = turns.turn().await;
        let wait = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(wait, turns.turn()).await.is_err());
        drop(first);
        turns.turn().await;
    }
}
