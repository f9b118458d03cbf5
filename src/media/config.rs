//! The section `[media]`: bounds of uploads and downloads.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds of uploads and downloads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Uploads and downloads at once, over all connections. One more is refused at once, as
    /// OVERLOADED. With the default HTTP/2 windows each may hold about 450 KiB, these included, and up to
    /// 1 MiB more where the caller compresses its messages. Half of them are divided among the apps, so that
    /// no app can take all.
    pub transfers_in_flight: usize,
    /// How long a caller's stream may stand still before its upload is given up.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub upload_idle_timeout: Duration,
    /// Slowest caller that an upload is kept open for, in bytes a second, once it has been waited for
    /// longer than `upload_idle_timeout`. Time that Easemob takes does not count.
    pub upload_min_bytes_per_second: u64,
    /// Time for a whole upload or download, whatever its size.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub transfer_timeout: Duration,
    /// How long Easemob may stand still in the middle of a transfer. It seems to stand still while it is
    /// slow: the kernel tells of room for more only when a good part of its buffer is free.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub stall_timeout: Duration,
    /// How long Easemob may take to answer once it has the last byte. What may still be in the system's
    /// buffers, up to 4 MiB of the file, adds its time at 16 KiB a second.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub answer_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            transfers_in_flight: 128,
            upload_idle_timeout: Duration::from_secs(10),
            upload_min_bytes_per_second: 16 * 1024,
            transfer_timeout: Duration::from_secs(15 * 60),
            stall_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(30),
        }
    }
}
