//! What describes this process, in front of all that it exports.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
};
use opentelemetry_semantic_conventions::resource::{
    SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION,
};
use uuid::Uuid;

use super::Config;
use crate::invalid::Field;

const NAME: &str = "OTEL_SERVICE_NAME";

/// The same for all signals, and for no other process.
static INSTANCE: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);

/// The resource of this process: one for all signals. The settings go before `OTEL_SERVICE_NAME`
/// and `OTEL_RESOURCE_ATTRIBUTES`, and those before what we know by ourselves.
pub(super) fn resource(config: &Config) -> Resource {
    let mut builder = Resource::builder_empty()
        .with_attributes([
            KeyValue::new(SERVICE_NAME, env!("CARGO_PKG_NAME")),
            KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
            KeyValue::new(SERVICE_INSTANCE_ID, INSTANCE.to_string()),
        ])
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    if let Some(name) = std::env::var(NAME).ok().filter(|name| !name.is_empty()) {
        builder = builder.with_service_name(name);
    }
    let attributes = config.resource_attributes.iter();
    builder = builder.with_attributes(attributes.filter_map(|attribute| {
        let (name, value) = split(attribute)?;
        Some(KeyValue::new(name.to_owned(), value.to_owned()))
    }));
    if let Some(name) = &config.service_name {
        builder = builder.with_service_name(name.clone());
    }
    builder.build()
}

/// Notes attributes that are none.
pub(super) fn check(attributes: &[String], field: Field<'_>) {
    let field = field.child("resource_attributes");
    for (index, attribute) in attributes.iter().enumerate() {
        if split(attribute).is_none() {
            field
                .index(index)
                .refuse::<()>("is not of the form name=value");
        }
    }
}

fn split(attribute: &str) -> Option<(&str, &str)> {
    let (name, value) = attribute.split_once('=')?;
    Some((name.trim(), value.trim())).filter(|(name, _)| !name.is_empty())
}
