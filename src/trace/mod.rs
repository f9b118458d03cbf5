//! GROUND: what a trace is to us. A span is cheap where nobody records it: whether anybody does is
//! decided once, when the request comes in, and an unrecorded span is no more than its IDs.
//!
//! The span that a piece of work belongs to follows its task: [`Span::scope`] makes it the current
//! one while a future runs, and [`current`] finds it, so that no signature has to name it. How spans
//! leave the process is `telemetry`'s affair; here they end in a bounded [`Queue`].
//!
//! No value that names a user, a file or a secret, and no text of a message, belongs into a span.

mod baggage;
mod current;
mod ids;
mod otlp;
mod queue;
mod span;
mod tracer;

pub use self::{
    current::{Scope, current, event, ids, in_scope, is_recording, link, record},
    ids::Ids,
    otlp::{Attributes, Value},
    queue::{Batch, Fate, Queue},
    span::{Data, Span, SpanKind},
    tracer::{Propagate, Tracer},
};
