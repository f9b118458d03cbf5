//! Redis (or Valkey): what several replicas share.

mod link;
mod node;
mod probe;
mod records;
mod wire;

use self::node::Node;
pub use self::{
    link::{Away, Health, Link},
    node::SetupError,
    probe::{Probe, ProbeError, probe},
    records::Redis,
};
use super::Config;

/// Whether there can be a connection with these settings, whatever Redis does.
pub(super) fn check(config: &Config) -> Result<(), SetupError> {
    Node::new(config).map(drop)
}
