//! What holds for every RPC, each in a layer of its own. `grpc/mod.rs` has them in order.

mod arrival;
mod caller;
mod errors;
mod in_flight;
mod language;
mod metrics;
mod trace;
mod upload_body;

use http::HeaderName;

pub(super) use self::{
    arrival::ArrivalLayer,
    caller::CallerLayer,
    errors::{ErrorsLayer, of_framework},
    in_flight::{InFlightLayer, is_ours},
    language::LanguageLayer,
    metrics::MetricsLayer,
    trace::TraceLayer,
    upload_body::{UploadBody, UploadBodyLayer},
};

/// Where an answer has its code. Made once: to look a header up by its text costs more than the look-up.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Where it has its details.
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
