//! The tests through the front door, in one binary: each further one would link everything again.

#![allow(
    unreachable_pub,
    reason = "nothing is reachable from outside a test binary"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod apps;
mod architecture;
mod bounds;
mod callers;
mod cli;
mod command_line;
mod doctor;
mod errors;
mod faults;
mod grpc_web;
mod media;
mod metrics;
mod redis;
mod repeat;
mod send;
mod server;
mod support;
