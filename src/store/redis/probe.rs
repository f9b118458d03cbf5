//! Asks Redis what it is, for whoever looks before a start: whether the settings lead to it, and whether it keeps what it
//! is given.

use redis::{ErrorKind, InfoDict, RedisError};
use tokio::time::timeout;

use super::node::{Node, SetupError};
use crate::store::Config;

/// What Redis says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its version.
    pub version: String,
    /// What it does when its memory is full; none where it does not say.
    pub eviction: Option<String>,
    /// Whether a restart finds what was written; none where it does not say.
    pub appends: Option<bool>,
}

/// Why nothing was heard of it. Without its URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The settings lead nowhere.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// It refuses the user or the password.
    #[error("Redis refuses the user or the password")]
    Refused,
    /// There is no connection.
    #[error("there is no connection to Redis")]
    NoConnection,
    /// It does not answer in time.
    #[error("Redis does not answer in time")]
    Late,
}

/// Connects, and asks.
pub async fn probe(config: &Config) -> Result<Probe, ProbeError> {
    let node = Node::new(config)?;
    let asked = async {
        let mut connection = node.connect(config).await?;
        redis::cmd("PING").exec_async(&mut connection).await?;
        redis::cmd("INFO")
            .query_async::<InfoDict>(&mut connection)
            .await
    };
    let longest = config.connect_timeout + config.answer_timeout * 10;
    let info = timeout(longest, asked).await;
    let info = info.map_err(|_elapsed| ProbeError::Late)?;
    let info = info.map_err(|error| cause(&error))?;
    Ok(Probe {
        version: info.get("redis_version").unwrap_or_default(),
        eviction: info.get("maxmemory_policy"),
        appends: info
            .get("aof_enabled")
            .map(|enabled: String| enabled == "1"),
    })
}

fn cause(error: &RedisError) -> ProbeError {
    let refused = ["WRONGPASS", "NOAUTH", "NOPERM"];
    if error.kind() == ErrorKind::AuthenticationFailed
        || error.code().is_some_and(|code| refused.contains(&code))
    {
        ProbeError::Refused
    } else if error.is_timeout() {
        ProbeError::Late
    } else {
        ProbeError::NoConnection
    }
}
