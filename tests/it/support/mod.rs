//! What the tests start, send and look at.

#![allow(dead_code, reason = "not every subject needs all of it")]
#![allow(unreachable_pub, reason = "a test binary is nobody's library")]

pub mod gateway;
pub mod request;
