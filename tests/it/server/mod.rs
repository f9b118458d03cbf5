//! The server by itself: what any peer can do to it, and how it ends.

mod body;
mod drain;
mod flood;
mod handshake;
mod health;
mod limits;
mod memory;
mod operations;
mod shards;
