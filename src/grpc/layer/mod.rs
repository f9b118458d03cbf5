//! What holds for every RPC, each in a layer of its own. `grpc/mod.rs` has them in order.

mod caller;
mod errors;
mod in_flight;

pub(super) use self::{caller::CallerLayer, errors::ErrorsLayer, in_flight::InFlightLayer};
