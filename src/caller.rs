//! Who asks, and what it may use. Deliveries carry the caller from the door to Easemob.

use std::sync::Arc;

/// A service that calls the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    name: Arc<str>,
}

impl Caller {
    /// The one caller there is where nobody has to prove who they are: it may use every app.
    pub fn anonymous() -> Self {
        Self {
            name: Arc::from("anonymous"),
        }
    }

    /// Name of the caller, as in the settings and in telemetry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the caller may use an app.
    pub fn may_use(&self, _app: &str) -> bool {
        true
    }
}
