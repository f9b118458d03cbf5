//! Who may call the page and its API: not a page of somebody else that runs in the developer's browser.
//!
//! The sandbox asks nobody who they are, and a browser will call any address for any page. So a name
//! that anybody could register is no host of ours (it could be made to point here: DNS rebinding), and
//! what a page of another origin asks for is refused.

use std::net::IpAddr;

use axum::Json;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Mistake;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Endings of names that nobody can register, and so point to no attacker.
const PRIVATE: [&str; 6] = [
    ".localhost",
    ".local",
    ".internal",
    ".test",
    ".example",
    ".invalid",
];

pub(super) async fn guard(hosts: &[String], request: Request, next: Next) -> Response {
    let mut response = match objection(hosts, request.headers()) {
        None => next.run(request).await,
        Some(error) => (StatusCode::FORBIDDEN, Json(Mistake { error })).into_response(),
    };
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (RESOURCE_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why the call is refused, if it is.
fn objection(hosts: &[String], headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(HOST).unwrap_or_default();
    let name = name_of(host);
    if !is_ours(hosts, name) {
        return Some(format!(
            "{name:?} is no name of this sandbox: call it by its address, or allow the name by --allow-host"
        ));
    }
    let origin = text(ORIGIN);
    let foreign = origin.is_some_and(|origin| {
        let authority = origin.strip_prefix("http://");
        let authority = authority.or_else(|| origin.strip_prefix("https://"));
        !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    // What a click on a link brings here has no origin and is `none` or `same-origin`, or comes from
    // another site, and then shows that site nothing.
    if foreign || (text(FETCH_SITE) == Some("cross-site") && origin.is_some()) {
        return Some("pages of other origins may not call the sandbox".to_owned());
    }
    None
}

/// Without the port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_ours(hosts: &[String], name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let lower = name.to_ascii_lowercase();
    bare.parse::<IpAddr>().is_ok()
        // A name of one word is resolved by the machine or its network: `localhost`, a container's.
        || (!lower.is_empty() && !lower.contains('.'))
        || PRIVATE.iter().any(|ending| lower.ends_with(ending))
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::testing::{call, exchange, start};

    fn refused(headers: &[(HeaderName, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            let value = HeaderValue::try_from(*value).unwrap();
            (name.clone(), value)
        });
        objection(&["inbox.acme.com".to_owned()], &headers.collect()).is_some()
    }

    #[test]
    fn a_name_that_anybody_could_register_is_none_of_ours() {
        for ours in [
            "127.0.0.1:8025",
            "127.0.0.1",
            "[::1]:8025",
            "10.1.2.3:80",
            "localhost:8025",
            "LOCALHOST",
            "sandbox:8025",
            "easemob.test",
            "sandbox.default.svc.cluster.local:8025",
            "inbox.acme.com:8025",
        ] {
            assert!(!refused(&[(HOST, ours)]), "{ours}");
        }
        for foreign in [
            "evil.com:8025",
            "evil.com",
            "127.0.0.1.evil.com",
            "localhost.evil.com:8025",
            "test.evil.com",
            "acme.com",
            "",
        ] {
            assert!(refused(&[(HOST, foreign)]), "{foreign}");
        }
        assert!(refused(&[]));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let us = (HOST, "localhost:8025");
        assert!(!refused(&[us.clone(), (ORIGIN, "http://localhost:8025")]));
        for origin in [
            "http://evil.com",
            "http://localhost:9999",
            "null",
            "https://localhost",
        ] {
            assert!(refused(&[us.clone(), (ORIGIN, origin)]), "{origin}");
        }
    }

    #[test]
    fn the_guard_stands_before_the_page_and_its_api_and_not_before_easemobs() {
        let (sandbox, _) = start();
        let evil = [("origin", "http://evil.com")];
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/sandbox/messages"),
            ("DELETE", "/sandbox/messages"),
            ("POST", "/sandbox/faults"),
            ("PATCH", "/sandbox/settings"),
            ("GET", "/sandbox/events"),
        ] {
            assert_eq!(
                call(&sandbox, method, path, &evil, "").status,
                403,
                "{path}"
            );
            let rebound =
                format!("{method} {path} HTTP/1.1\r\nhost: evil.com\r\nconnection: close\r\n\r\n");
            let answer = exchange(&sandbox, rebound.as_bytes()).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 403"), "{path}");
        }
        let path = "/sandbox/demo/token";
        assert_eq!(call(&sandbox, "POST", path, &evil, "").status, 415);
    }
}
