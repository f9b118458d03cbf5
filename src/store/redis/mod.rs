//! Redis (or Valkey): what several replicas share.

mod link;
mod node;
mod records;
mod wire;

use self::node::Node;
pub use self::{
    link::{Away, Health, Link},
    node::SetupError,
    records::Redis,
};
use super::Config;

/// Whether there can be a connection with these settings, whatever Redis does.
pub(super) fn check(config: &Config) -> Result<(), SetupError> {
    Node::new(config).map(drop)
}
