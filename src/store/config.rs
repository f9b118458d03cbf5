//! The section `[store]`: where request IDs are remembered, and for how long; and the Redis that several
//! replicas share.

use std::{fmt, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::redis::{self, SetupError};
use crate::invalid::Field;

/// How long is long enough where records are in memory.
const MEMORY_TTL: Duration = Duration::from_secs(60 * 60);
/// And where they are in Redis: a job queue that repeats does so within hours.
const REDIS_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Where request IDs are remembered, and for how long; and what several replicas share.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where records are kept, and the count of what Easemob's quotas have left.
    pub kind: Kind,
    /// Where Redis is: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, or `rediss://` for TLS. Of a Cluster or
    /// of Sentinels several may be given, with commas between them. Required where `kind` is "redis".
    #[schemars(example = &"rediss://gateway:…@redis.example.com:6379")]
    pub url: Option<RedisUrl>,
    /// The URL names nodes of a Redis Cluster; it tells the others.
    pub cluster: bool,
    /// The URL names Sentinels, and this is the name of the master that they watch. User, password and TLS
    /// of the URL hold for the master as well.
    #[schemars(example = &"mymaster")]
    pub sentinel_master: Option<String>,
    /// File with the certificates, in PEM, that Redis's is checked against; not for Sentinels. Left out: the
    /// system's.
    #[schemars(example = &"/tls/redis-ca.crt")]
    pub ca_file: Option<PathBuf>,
    /// What all keys begin with: gateways that share a Redis and this prefix share request IDs and quotas.
    pub prefix: String,
    /// How long a connection to Redis may take.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// How long an answer of Redis may take. Nobody waits longer for it: a send with a request ID is
    /// refused then, as STORE_UNAVAILABLE.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub answer_timeout: Duration,
    /// The part of each quota that a replica uses while Redis is away. With 1 divided by the most
    /// replicas there may be, all together stay within the quota.
    pub fallback_share: f64,
    /// How long a request ID is remembered, counted from the last thing that happened under it; in memory up to
    /// a second longer. Left out: 1h in memory, 24h in Redis.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "Option<String>", example = &"1h")]
    pub ttl: Option<Duration>,
    /// Most bytes that records in memory may take, over all apps. One takes 116 bytes; with several
    /// recipients 228, and 11.25 for each of them. When all is taken by records that are still to be
    /// remembered, a new request ID is refused, as OVERLOADED: none is forgotten early. The default
    /// holds 578,000 sends to one recipient, 160 a second for an hour.
    pub memory_bytes: usize,
}

/// Where records are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// In the memory of this replica: a repeat has to come to the same replica, and a restart forgets.
    #[default]
    Memory,
    /// In Redis or Valkey, shared by all replicas that use it.
    Redis,
}

/// URL of Redis. It may hold a password, so its `Debug` text is a placeholder.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct RedisUrl(pub String);

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl([REDACTED])")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::Memory,
            url: None,
            cluster: false,
            sentinel_master: None,
            ca_file: None,
            prefix: "easemob-gateway".into(),
            connect_timeout: Duration::from_millis(500),
            answer_timeout: Duration::from_millis(100),
            fallback_share: 0.1,
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
            Kind::Redis => REDIS_TTL,
        })
    }
}

impl Config {
    /// Checks the settings that have to fit together.
    pub fn check(&self, field: Field<'_>) {
        if self.kind == Kind::Redis
            && let Err(error) = redis::check(self)
        {
            let key = match error {
                SetupError::NoUrl | SetupError::Url => "url",
                SetupError::CaFile(_) => "ca_file",
            };
            let _refused: Option<()> = field.child(key).refuse(error.to_string());
        }
        if !(0.0..=1.0).contains(&self.fallback_share) {
            let _refused: Option<()> = field.child("fallback_share").refuse("must be from 0 to 1");
        }
    }
}
