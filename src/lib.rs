//! One door between a company's services and Easemob IM.
//!
//! The modules form a house, and imports point down: `cli → config → server → grpc → delivery →
//! easemob, store → message → app, caller, id, invalid, metrics → proto`. Beside it stand `telemetry`, set up by the
//! commands alone, and `sandbox`, a local Easemob that shares no code with the rest.
//! `docs/architecture.md` tells why each floor is where it is.

// ROOF: puts the parts together.
pub mod cli;
pub mod config;
pub mod server;

// FLOOR 4: the one way in.
pub mod grpc;

// FLOOR 3: what the gateway adds.
pub mod delivery;

// FLOOR 2: the one way out.
pub mod easemob;
pub mod quota;
pub mod store;

// FLOOR 1: what we talk about; no I/O.
pub mod app;
pub mod caller;
pub mod id;
pub mod invalid;
pub mod media;
pub mod message;
pub mod metrics;

// GROUND.
pub mod proto;
pub mod trace;

// BESIDE.
pub mod sandbox;
pub mod telemetry;
