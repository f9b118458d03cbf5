//! `/`: the inbox page, whose files are part of the binary; and the description of the API.

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

use crate::sandbox::State;

pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// What the page may load and do: its own files, and nothing that stands in the document.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'";

const JS: &str = "text/javascript; charset=utf-8";

/// Path, type, text.
const FILES: [(&str, &str, &str); 10] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("../page/index.html"),
    ),
    (
        "/page/style.css",
        "text/css; charset=utf-8",
        include_str!("../page/style.css"),
    ),
    (
        "/page/icon.svg",
        "image/svg+xml",
        include_str!("../page/icon.svg"),
    ),
    ("/page/app.js", JS, include_str!("../page/app.js")),
    ("/page/content.js", JS, include_str!("../page/content.js")),
    ("/page/detail.js", JS, include_str!("../page/detail.js")),
    ("/page/element.js", JS, include_str!("../page/element.js")),
    ("/page/fault.js", JS, include_str!("../page/fault.js")),
    ("/page/store.js", JS, include_str!("../page/store.js")),
    ("/page/words.js", JS, include_str!("../page/words.js")),
];

pub(super) fn router() -> Router<Arc<State>> {
    let mut router = Router::new();
    for (path, kind, text) in FILES {
        let headers = [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, POLICY)];
        router = router.route(path, get(async move || (headers, text)));
    }
    router
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::testing::{get, start};

    #[test]
    fn every_file_of_the_page_is_served_and_runs_nothing_else() {
        let (sandbox, _) = start();
        for (path, kind, text) in FILES {
            let reply = get(&sandbox, path);
            assert_eq!(reply.status, 200, "{path}");
            assert_eq!(reply.header("content-type"), Some(kind));
            assert_eq!(reply.header("content-security-policy"), Some(POLICY));
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(reply.body, text.as_bytes());
        }
    }

    #[test]
    fn the_page_names_no_other_place_and_has_nothing_in_line() {
        for (path, _, text) in FILES {
            for banned in [
                "https://",
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "eval(",
            ] {
                assert!(!text.contains(banned), "{path}: {banned}");
            }
        }
        let page = FILES[0].2;
        for banned in ["<style", " style=", " onclick", "<script>"] {
            assert!(!page.contains(banned), "{banned}");
        }
    }
}
