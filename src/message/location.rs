//! A point on the map, and the words to show under it.

use serde::Serialize;

use crate::{invalid::Field, proto};

/// Body of a location message.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Location {
    // Degrees travel as text, not as numbers.
    lat: String,
    lng: String,
    addr: String,
}

impl Location {
    pub(super) fn check(location: proto::LocationContent, at: Field<'_>) -> Option<Self> {
        let proto::LocationContent {
            latitude,
            longitude,
            address,
        } = location;
        let lat = degrees(
            latitude,
            90.0,
            "must be -90 to 90 degrees",
            at.child("latitude"),
        );
        let lng = degrees(
            longitude,
            180.0,
            "must be -180 to 180 degrees",
            at.child("longitude"),
        );
        let addr = at.child("address").not_empty(address);
        Some(Self {
            lat: lat?,
            lng: lng?,
            addr: addr?,
        })
    }
}

fn degrees(
    value: Option<f64>,
    bound: f64,
    otherwise: &'static str,
    at: Field<'_>,
) -> Option<String> {
    let value = at.required(value)?;
    // Not a number is in no range.
    if !(-bound..=bound).contains(&value) {
        return at.refuse(otherwise);
    }
    // The shortest text that reads back as the same double, and no "-0".
    Some((value + 0.0).to_string())
}
