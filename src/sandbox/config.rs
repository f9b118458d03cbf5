//! What a sandbox is told before it starts: where it listens, whose app it plays, its limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::pace::Pace;

/// How a sandbox behaves. The defaults are the documented limits.
#[derive(Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Default: 127.0.0.1:8025.
    pub listen: SocketAddr,
    /// First half of the App Key. Default: `sandbox`.
    pub org: String,
    /// Second half of the App Key. Default: `demo`.
    pub app: String,
    /// Name of the same app in paths that begin with `/app-id/`. Default: `sandbox-app-id`.
    pub app_id: String,
    /// Default: `sandbox-client-id`.
    pub client_id: String,
    /// Default: `sandbox-client-secret`. Another one by
    /// [`Sandbox::set_client_secret`](super::Sandbox::set_client_secret).
    pub client_secret: String,
    /// App ID of Agora's credentials for the same app. Default: 32 times `a`.
    pub agora_app_id: String,
    /// App Certificate of the same. Default: 32 times `c`.
    pub app_certificate: String,
    /// Life of a token where the request has no `ttl`. Default: 60 days.
    pub token_ttl: Duration,
    /// Unit of `ttl` and `expires_in`. Default: seconds.
    pub token_unit: TokenUnit,
    /// Whether fields that the reference does not list are refused. Default: true.
    pub strict: bool,
    /// Most bytes of `body` and `ext` together, as written in the request; 0 switches it off.
    /// Default: 3072.
    pub content_bytes: usize,
    /// Most bytes of a whole send request; 0 switches it off. Default: 5120.
    pub request_bytes: usize,
    /// Most bytes of a file; 0 switches it off. Default: 10 MiB.
    pub file_bytes: u64,
    /// How long a file can be downloaded. Default: 7 days.
    pub file_retention: Duration,
    /// How fast uploads are read, until [`Sandbox::set_upload_pace`](super::Sandbox::set_upload_pace).
    /// Default: as fast as they come.
    pub upload_pace: Pace,
    /// Bytes that the system may take in for a connection before we read them; `None` leaves it to
    /// the system, which takes megabytes, so that a client is long ahead of a slow reader. Default:
    /// `None`.
    pub receive_buffer: Option<usize>,
    /// How many calls and messages are let through. Default: the documented rates.
    pub quotas: Quotas,
    /// Names by which browsers may call the inbox page, beside addresses and names that only a private
    /// network can have. Default: none.
    pub hosts: Vec<String>,
    /// A folder that keeps messages and files from one run to the next; made if it is not there. Default:
    /// none, and they end with the sandbox.
    pub data: Option<PathBuf>,
    /// How much is remembered.
    pub keep: Keep,
    /// What time it is for tokens, quotas and files. Default: the system's.
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8025)),
            org: "sandbox".into(),
            app: "demo".into(),
            app_id: "sandbox-app-id".into(),
            client_id: "sandbox-client-id".into(),
            client_secret: "sandbox-client-secret".into(),
            agora_app_id: "a".repeat(32),
            app_certificate: "c".repeat(32),
            token_ttl: Duration::from_secs(60 * 24 * 60 * 60),
            token_unit: TokenUnit::Seconds,
            strict: true,
            content_bytes: 3072,
            request_bytes: 5120,
            file_bytes: 10 << 20,
            file_retention: Duration::from_secs(7 * 24 * 60 * 60),
            upload_pace: Pace::Full,
            receive_buffer: None,
            quotas: Quotas::documented(),
            hosts: Vec::new(),
            data: None,
            keep: Keep::default(),
            clock: Clock::system(),
        }
    }
}

impl Config {
    /// A free port on loopback, no quotas, more calls kept; everything else as documented.
    pub fn for_tests() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            quotas: Quotas::off(),
            keep: Keep {
                calls: 100_000,
                call_bytes: 256 << 20,
                ..Keep::default()
            },
            ..Self::default()
        }
    }
}

/// Unit of `ttl` and `expires_in`: it differs from cluster to cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenUnit {
    /// Most clusters.
    Seconds,
    /// The cluster "VIP 5".
    Milliseconds,
}

/// How much a sandbox remembers; what is oldest goes first.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Most messages. Default: 50,000.
    pub messages: usize,
    /// Most bytes of messages. Default: 64 MiB.
    pub message_bytes: usize,
    /// Most calls of each endpoint, and most uploads. Default: 1,000.
    pub calls: usize,
    /// Most bytes of calls of each endpoint. Default: 16 MiB.
    pub call_bytes: usize,
    /// Most files. Default: 1,000.
    pub files: usize,
    /// Most bytes of files, those on their way included. Default: 256 MiB.
    pub file_bytes: usize,
    /// Most bytes of one file; a larger one is counted and hashed, and its bytes are not kept.
    /// 0 keeps none. Default: 64 MiB.
    pub largest_file: usize,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            messages: 50_000,
            message_bytes: 64 << 20,
            calls: 1_000,
            call_bytes: 16 << 20,
            files: 1_000,
            file_bytes: 256 << 20,
            largest_file: 64 << 20,
        }
    }
}

/// What is let through, by kind; `None` lets everything through.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Calls of `/token`.
    pub token: Option<Rate>,
    /// Sends to users.
    #[serde(default = "Quota::off")]
    pub users: Quota,
    /// Sends to groups.
    #[serde(default = "Quota::off")]
    pub groups: Quota,
    /// Sends to chat rooms.
    #[serde(default = "Quota::off")]
    pub chatrooms: Quota,
    /// Sends to named members of a group or a chat room.
    #[serde(default = "Quota::off")]
    pub directed: Quota,
    /// Uploads of files.
    pub uploads: Option<Rate>,
    /// Downloads of files.
    pub downloads: Option<Rate>,
}

impl Quotas {
    /// The documented rates.
    pub fn documented() -> Self {
        let both = |rate| Quota {
            calls: Some(rate),
            messages: Some(rate),
        };
        Self {
            token: Some(Rate::per_second(300)),
            users: Quota {
                calls: Some(Rate::per_second(100)),
                messages: Some(Rate::per_minute(6000)),
            },
            groups: both(Rate::per_second(20)),
            chatrooms: both(Rate::per_second(100)),
            directed: both(Rate::per_second(100)),
            uploads: Some(Rate::per_second(100)),
            downloads: Some(Rate::per_second(100)),
        }
    }

    /// No quota at all.
    pub fn off() -> Self {
        Self {
            token: None,
            users: Quota::off(),
            groups: Quota::off(),
            chatrooms: Quota::off(),
            directed: Quota::off(),
            uploads: None,
            downloads: None,
        }
    }
}

/// The two rates of one kind of send.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Requests.
    pub calls: Option<Rate>,
    /// Targets: each user, group or room of a request counts one.
    pub messages: Option<Rate>,
}

impl Quota {
    /// Lets everything through.
    pub fn off() -> Self {
        Self {
            calls: None,
            messages: None,
        }
    }
}

/// At most `count` in any span of `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In what time; the window slides.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
}

impl Rate {
    /// At most `count` in any second.
    pub fn per_second(count: u32) -> Self {
        Self {
            count,
            window: Duration::from_secs(1),
        }
    }

    /// At most `count` in any minute.
    pub fn per_minute(count: u32) -> Self {
        Self {
            count,
            window: Duration::from_secs(60),
        }
    }
}
