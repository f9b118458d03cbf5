//! ROOF: builds the gateway's parts once, listens, serves, drains.
//!
//! The server is our own down to HTTP/2: an accept loop deals connections to shards, and every
//! bound on what a peer may cost is set here. `docs/architecture.md` tells what the stock server
//! would leave open.

mod config;
mod connection;
mod gateway;
pub mod grpc_web;
mod health;
mod listener;
mod operations;
mod places;
mod preface;
mod reload;
mod request_body;
mod serve;
mod shard;
mod shutdown;
pub mod tls;

pub use config::{Config, Http2};
pub use connection::GrpcService;
pub use gateway::Gateway;
pub use health::{Phase, Readiness};
pub use listener::Listener;
pub use reload::{Watch, on_hangup};
pub use serve::{DrainReport, serve};
pub use shard::Shard;
pub use shutdown::on_signal;
