//! What the API has not: the inbox page at `/`, and `/sandbox/…` to see what arrived, to forget it, to set
//! limits and to break things. `openapi.json` tells of all but the page.

mod content;
mod events;
mod faults;
mod files;
mod guard;
mod messages;
mod page;
mod range;
mod settings;

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, delete, get, patch, post};
use axum::{Json, Router, middleware};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use super::State;

pub(super) use events::WATCHERS;

/// What programs may call: method, path, and who answers.
fn api() -> Vec<(&'static str, &'static str, MethodRouter<Arc<State>>)> {
    vec![
        ("GET", "/sandbox/messages", get(messages::list)),
        ("DELETE", "/sandbox/messages", delete(messages::clear)),
        ("GET", "/sandbox/events", get(events::events)),
        ("GET", "/sandbox/files", get(files::list)),
        ("DELETE", "/sandbox/files", delete(files::clear)),
        (
            "GET",
            "/sandbox/files/{uuid}/content",
            get(content::content),
        ),
        (
            "GET",
            "/sandbox/files/{uuid}/thumbnail",
            get(content::thumbnail),
        ),
        ("GET", "/sandbox/tokens", get(settings::tokens)),
        ("DELETE", "/sandbox/tokens", delete(settings::revoke)),
        ("GET", "/sandbox/settings", get(settings::show)),
        ("PATCH", "/sandbox/settings", patch(settings::change)),
        ("DELETE", "/sandbox/settings", delete(settings::reset)),
        ("GET", "/sandbox/faults", get(faults::list)),
        ("POST", "/sandbox/faults", post(faults::add)),
        ("DELETE", "/sandbox/faults", delete(faults::clear)),
        ("GET", "/sandbox/faults/errors", get(faults::errors)),
        ("DELETE", "/sandbox/faults/{id}", delete(faults::remove)),
        ("GET", "/sandbox/openapi.json", get(page::openapi)),
    ]
}

pub(super) fn router(sandbox: &Arc<State>) -> Router<Arc<State>> {
    let mut router = page::router();
    for (_, path, answer) in api() {
        router = router.route(path, answer);
    }
    router.layer(middleware::from_fn_with_state(
        Arc::clone(sandbox),
        |sandbox: Shared<Arc<State>>, request, next| async move {
            guard::guard(&sandbox.config.hosts, request, next).await
        },
    ))
}

fn each<T: Serialize, S: Serializer>(items: &[Arc<T>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(Arc::as_ref))
}

#[derive(Serialize)]
struct Mistake {
    error: String,
}

type Mistaken = (StatusCode, Json<Mistake>);

fn mistake(error: String) -> Mistaken {
    (StatusCode::BAD_REQUEST, Json(Mistake { error }))
}

/// A request's body; the error names the field that is wrong.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Mistaken> {
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| mistake(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::sandbox::testing::{get, start};

    #[test]
    fn the_openapi_document_has_each_route_and_no_other() {
        let (sandbox, _) = start();
        let reply = get(&sandbox, "/sandbox/openapi.json");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let document = reply.json();
        let mut documented = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{method} {path}");
                assert!(operation["responses"].is_object(), "{method} {path}");
                documented.insert((method.to_uppercase(), path.clone()));
            }
        }
        let routed: BTreeSet<_> = api()
            .into_iter()
            .map(|(method, path, _)| (method.to_owned(), path.to_owned()))
            .collect();
        assert_eq!(documented, routed);
    }

    #[test]
    fn the_openapi_document_refers_to_what_it_has() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        match value.as_str().filter(|_| name == "$ref") {
                            Some(reference) => found.push(reference.to_owned()),
                            None => references(value, found),
                        }
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_str(page::OPENAPI).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_openapi_document_shows_messages_as_they_are() {
        use crate::sandbox::Endpoint::SendToUsers;
        use crate::sandbox::testing::{send, text_to};

        let (sandbox, token) = start();
        send(
            &sandbox,
            SendToUsers,
            &token,
            &text_to(SendToUsers, &["bob"]),
        );
        let fields = |value: &Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let document: Value = serde_json::from_str(page::OPENAPI).unwrap();
        for (path, list, schema) in [
            ("/sandbox/messages", "messages", "Message"),
            ("/sandbox/tokens", "tokens", "Token"),
        ] {
            let shown = get(&sandbox, path).json();
            let properties = &document["components"]["schemas"][schema]["properties"];
            assert_eq!(fields(&shown[list][0]), fields(properties), "{path}");
        }
        let shown = get(&sandbox, "/sandbox/settings").json();
        let properties = &document["components"]["schemas"]["Settings"]["properties"];
        assert_eq!(fields(&shown), fields(properties));
    }
}
