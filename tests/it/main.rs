//! Whole gateways and their parts, from the outside.

mod architecture;
mod send;
mod support;
