//! The section `[store]`: where request IDs are remembered, and for how long.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long is long enough where records are in memory.
const MEMORY_TTL: Duration = Duration::from_secs(60 * 60);

/// Where request IDs are remembered, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where records are kept.
    pub kind: Kind,
    /// How long a request ID is remembered, counted from the last thing that happened under it. Left out:
    /// 1h in memory.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>", example = &"1h")]
    pub ttl: Option<Duration>,
    /// Most bytes that records in memory may take, over all apps. One takes 133 bytes; with several
    /// recipients 245, and 11.25 for each of them. When all is taken by records that are still to be
    /// remembered, a new request ID is refused, as OVERLOADED: none is forgotten early. The default
    /// holds 504,000 sends to one recipient, 140 a second for an hour.
    pub memory_bytes: usize,
}

/// Where records are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// In the memory of this replica: a repeat has to come to the same replica, and a restart forgets.
    #[default]
    Memory,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::Memory,
            ttl: None,
            memory_bytes: 64 << 20,
        }
    }
}

impl Config {
    /// How long a request ID is remembered.
    pub fn ttl(&self) -> Duration {
        self.ttl.unwrap_or(match self.kind {
            Kind::Memory => MEMORY_TTL,
        })
    }
}
