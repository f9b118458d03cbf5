//! `/sandbox/files/{uuid}/content` and `…/thumbnail`: files for the page to show and play.
//!
//! Who uploads a file chooses its type, and the page's origin must not run what it holds: only images,
//! sound and films are shown, as what they are; everything else is bytes to be saved.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State as Shared};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;

use super::range::{Asked, asked};
use crate::sandbox::State;
use crate::sandbox::answer::Answer;
use crate::sandbox::file::{self, File};
use crate::sandbox::refusal::Refusal;

#[derive(Deserialize)]
pub(super) struct Shown {
    /// What the message says, which is all that its recipient has.
    #[serde(rename = "share-secret")]
    secret: Option<String>,
}

pub(super) async fn content(
    sandbox: Shared<Arc<State>>,
    uuid: Path<String>,
    shown: Query<Shown>,
    headers: HeaderMap,
) -> Response {
    let opened = file::open(&sandbox, &uuid, shown.secret.as_deref());
    match opened {
        Ok((file, content)) => answer(&file, &content, shown_type(&file, &content), &headers),
        Err(refusal) => Answer::from(refusal).into_response(),
    }
}

pub(super) async fn thumbnail(
    sandbox: Shared<Arc<State>>,
    uuid: Path<String>,
    shown: Query<Shown>,
    headers: HeaderMap,
) -> Response {
    let made = async {
        let (file, content) = file::open(&sandbox, &uuid, shown.secret.as_deref())?;
        let (content, _) = file::thumbnail_of(&file, content).await?;
        Ok::<_, Refusal>((file, content))
    };
    match made.await {
        Ok((file, content)) => answer(&file, &content, shown_type(&file, &content), &headers),
        Err(refusal) => Answer::from(refusal).into_response(),
    }
}

/// The type as which the page may show a file; `None` for one that is only saved. An image is what its
/// bytes are, as a browser would look at them too; of sound and film, what the upload or the name says.
fn shown_type(file: &File, content: &[u8]) -> Option<&'static str> {
    const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
    const PLAYED: [&str; 17] = [
        "audio/aac",
        "audio/amr",
        "audio/flac",
        "audio/mp4",
        "audio/m4a",
        "audio/x-m4a",
        "audio/mpeg",
        "audio/ogg",
        "audio/opus",
        "audio/wav",
        "audio/x-wav",
        "audio/webm",
        "video/mp4",
        "video/ogg",
        "video/quicktime",
        "video/webm",
        "video/3gpp",
    ];
    if let Ok(format) = image::guess_format(content) {
        let found = format.to_mime_type();
        return IMAGES.into_iter().find(|image| *image == found);
    }
    let said = file.content_type.split(';').next().unwrap_or_default();
    let by_name = mime_guess::from_path(&file.name).first_raw();
    let known = |kind: &str| {
        PLAYED
            .into_iter()
            .find(|played| played.eq_ignore_ascii_case(kind.trim()))
    };
    known(said).or_else(|| by_name.and_then(known))
}

fn answer(
    file: &File,
    content: &Bytes,
    kind: Option<&'static str>,
    headers: &HeaderMap,
) -> Response {
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    let (status, body, of) = match asked(range, content.len()) {
        Asked::Whole => (StatusCode::OK, content.clone(), None),
        Asked::Part { first, last } => (
            StatusCode::PARTIAL_CONTENT,
            content.slice(first..=last),
            Some(format!("bytes {first}-{last}/{}", content.len())),
        ),
        Asked::Nothing => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            Bytes::new(),
            Some(format!("bytes */{}", content.len())),
        ),
    };
    let disposition = match kind {
        Some(_) => "inline".to_owned(),
        None => file::disposition(&file.name),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let mut set = |name: HeaderName, value: &str| {
        // What a header cannot hold is left out.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(CONTENT_TYPE, kind.unwrap_or("application/octet-stream"));
    set(CONTENT_DISPOSITION, &disposition);
    set(ACCEPT_RANGES, "bytes");
    // Even if it is opened by itself, it is no document of ours.
    set(CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
    if let Some(of) = of {
        set(CONTENT_RANGE, &of);
    }
    response
}

#[cfg(test)]
mod tests {
    use crate::sandbox::Sandbox;
    use crate::sandbox::testing::{Reply, call, form_of, get, start, upload, uuid};

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

    fn stored(sandbox: &Sandbox, token: &str, name: &str, kind: &str, content: &[u8]) -> String {
        let disposition = format!("form-data; name=\"file\"; filename=\"{name}\"");
        let form = form_of(&[(&disposition, kind, content)]);
        let uuid = uuid(&upload(sandbox, token, &[], &form));
        format!("/sandbox/files/{uuid}/content")
    }

    fn range(sandbox: &Sandbox, path: &str, range: &str) -> Reply {
        call(sandbox, "GET", path, &[("range", range)], "")
    }

    #[test]
    fn what_a_browser_would_run_is_only_saved() {
        let (sandbox, token) = start();
        let script = b"<script>alert(1)</script>";
        for (name, kind) in [
            ("a.html", "text/html"),
            ("a.svg", "image/svg+xml"),
            ("a.js", "text/javascript"),
            ("a.png", "image/png"),
            ("a.xml", "application/xml"),
            ("a.pdf", "application/pdf"),
            ("a.css", "text/css"),
            ("a.bin", "text/html;video/mp4"),
        ] {
            let reply = get(&sandbox, &stored(&sandbox, &token, name, kind, script));
            assert_eq!(reply.status, 200);
            assert_eq!(
                reply.header("content-type"),
                Some("application/octet-stream")
            );
            let disposition = format!("attachment; filename=\"{name}\"");
            assert_eq!(
                reply.header("content-disposition"),
                Some(disposition.as_str())
            );
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            let policy = reply.header("content-security-policy").unwrap();
            assert!(policy.contains("default-src 'none'; sandbox"), "{policy}");
            assert_eq!(reply.body, script);
        }
    }

    #[test]
    fn images_sound_and_films_are_shown_as_what_they_are() {
        let (sandbox, token) = start();
        let sound = b"RIFF....WAVEfmt ";
        for (name, kind, content, shown) in [
            ("a.html", "text/html", PNG, "image/png"),
            ("a.wav", "audio/wav", &sound[..], "audio/wav"),
            (
                "a.webm",
                "application/octet-stream",
                &b"film"[..],
                "video/webm",
            ),
            ("a", "Video/MP4; codecs=x", &b"film"[..], "video/mp4"),
        ] {
            let reply = get(&sandbox, &stored(&sandbox, &token, name, kind, content));
            assert_eq!(reply.header("content-type"), Some(shown));
            assert_eq!(reply.header("content-disposition"), Some("inline"));
        }
    }

    #[test]
    fn players_get_the_part_that_they_ask_for() {
        let (sandbox, token) = start();
        let path = stored(&sandbox, &token, "a.mp3", "audio/mpeg", b"0123456789");
        let part = range(&sandbox, &path, "bytes=2-4");
        assert_eq!((part.status, &part.body[..]), (206, &b"234"[..]));
        assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
        let none = range(&sandbox, &path, "bytes=20-");
        assert_eq!((none.status, none.body.len()), (416, 0));
        assert_eq!(none.header("content-range"), Some("bytes */10"));
        let whole = get(&sandbox, &path);
        assert_eq!((whole.status, whole.body.len()), (200, 10));
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    }

    #[test]
    fn a_recipient_without_the_secret_sees_nothing() {
        let (sandbox, token) = start();
        let disposition = "form-data; name=\"file\"; filename=\"a.png\"";
        let form = form_of(&[(disposition, "image/png", PNG)]);
        let restricted = [("restrict-access", "true")];
        let uuid = uuid(&upload(&sandbox, &token, &restricted, &form));
        let secret = sandbox.files()[0].share_secret.clone().unwrap();
        for what in ["content", "thumbnail"] {
            let path = format!("/sandbox/files/{uuid}/{what}");
            assert_eq!(get(&sandbox, &path).status, 403);
            assert_eq!(get(&sandbox, &format!("{path}?share-secret=x")).status, 403);
            let reply = get(&sandbox, &format!("{path}?share-secret={secret}"));
            assert_eq!((reply.status, &reply.body[..]), (200, PNG));
        }
        assert_eq!(get(&sandbox, "/sandbox/files/x/content").status, 404);
    }
}
