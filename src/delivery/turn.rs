//! Places: how many calls to Easemob an app has under way at once on one shard. What a turn waits for is told here as well.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::{
    message,
    metrics::{Gauge, Gauges},
    quota, trace,
};

/// How much is sent at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most calls to Easemob at once, for each app and shard. More do not go faster: they wait here
    /// instead of there.
    pub calls_in_flight: usize,
    /// Most messages of one caller that wait for their turn or for a token while all calls are taken, for each app and kind of
    /// target. What comes on top is refused at once, as OVERLOADED: one caller's burst must not take the room of the
    /// others.
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

impl Config {
    /// Messages of one caller that may be under way or wait, on so many shards.
    pub(super) fn admitted(&self, shards: usize) -> usize {
        let calls = self.calls_in_flight.saturating_mul(shards);
        calls.saturating_add(self.queue)
    }

    /// The places of one app on one shard, told by metrics.
    pub(super) fn places(&self, gauges: &Gauges, app: &str) -> Arc<Semaphore> {
        let count = self.calls_in_flight.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(count));
        let app = [opentelemetry::KeyValue::new("app", app.to_owned())];
        let free = Arc::clone(&places);
        gauges.observe_places(
            (Gauge::CallsActive, Gauge::CallsLimit),
            &app,
            count,
            move || count - free.available_permits(),
        );
        places
    }
}

/// Which quota messages to a kind of target count against.
pub(super) fn quota_kind(kind: message::Kind) -> quota::Kind {
    match kind {
        message::Kind::Users => quota::Kind::Users,
        message::Kind::Groups => quota::Kind::Groups,
        message::Kind::Chatrooms => quota::Kind::Chatrooms,
        message::Kind::GroupMembers | message::Kind::ChatroomMembers => quota::Kind::Directed,
    }
}

/// Tells the current span that what it is of had to wait for its turn, if it had to.
pub(super) fn tell_wait(waited: Duration) {
    if waited >= Duration::from_millis(1) {
        let wait_ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        trace::event("quota.waited", &[("easemob.wait_ms", wait_ms.into())]);
    }
}
