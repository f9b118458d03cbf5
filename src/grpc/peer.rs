//! The connection that a request came by.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::caller::{Identity, LastKey};

/// What is known of a connection: each of its requests has it among its extensions.
#[derive(Debug)]
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
    /// Whom its certificate names, where it was verified.
    pub identity: Option<Identity>,
    /// The key that its calls came with last.
    pub last_key: LastKey,
    /// Cancelled when it is to end, so that its streams do.
    pub ending: CancellationToken,
}

impl Peer {
    /// Of a connection that has just been opened.
    pub fn new(address: SocketAddr, identity: Option<Identity>) -> Self {
        Self {
            address,
            identity,
            last_key: LastKey::default(),
            ending: CancellationToken::new(),
        }
    }
}
