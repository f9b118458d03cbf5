//! Whole gateways and their parts, from the outside.

#![allow(
    unreachable_pub,
    reason = "nothing is reachable from outside a test binary"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is how a test fails"
)]

mod architecture;
mod faults;
mod support;
