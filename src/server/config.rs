//! The section `[server]`: where the gateway listens, and how long a request may take.

use std::{net::SocketAddr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the gateway listens, and how long a request may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the gRPC port.
    pub listen: SocketAddr,
    /// Address of the operations port, plain HTTP: `/livez` and `/readyz`.
    pub operations_listen: SocketAddr,
    /// Time for a request whose caller names no deadline.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub default_deadline: Duration,
    /// Longest time for a request: longer deadlines are cut to it.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_deadline: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
            operations_listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            default_deadline: Duration::from_secs(15),
            max_deadline: Duration::from_secs(600),
        }
    }
}
