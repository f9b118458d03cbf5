//! What an upload must be to be stored, and what it is told then.

use std::time::{Duration, SystemTime};

use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use uuid::Uuid;

use super::File;
use super::form::{Form, Unread};
use super::ledger::Entry;
use crate::sandbox::State;
use crate::sandbox::answer::{Answer, unix_milliseconds};
use crate::sandbox::endpoint::Endpoint;
use crate::sandbox::front::{self, Addressed};
use crate::sandbox::refusal::Refusal;

/// Width and height of thumbnails, where the upload does not say.
const THUMBNAIL: u32 = 170;

/// What the headers of an upload ask for. There is none of a request that is not treated as usual.
pub(super) struct Wanted {
    restricted: bool,
    thumbnail: (u32, u32),
}

impl Wanted {
    pub(super) fn check(
        sandbox: &State,
        address: Addressed,
        parts: &Parts,
    ) -> Result<Self, Refusal> {
        front::known(sandbox, Endpoint::Upload, address, parts)?;
        front::within_rate(sandbox, Endpoint::Upload)?;
        boundary(&parts.headers).map_err(|error| Refusal::no_file(error.to_string()))?;
        Ok(Self {
            // Whatever its value.
            restricted: parts.headers.contains_key("restrict-access"),
            thumbnail: (
                pixels(&parts.headers, "thumbnail-width")?,
                pixels(&parts.headers, "thumbnail-height")?,
            ),
        })
    }
}

fn pixels(headers: &HeaderMap, name: &'static str) -> Result<u32, Refusal> {
    let Some(value) = headers.get(name) else {
        return Ok(THUMBNAIL);
    };
    let pixels = value.to_str().ok().and_then(|text| text.parse().ok());
    pixels.filter(|pixels| *pixels > 0).ok_or_else(|| {
        let text = format!("{name} must be a positive integer");
        Refusal::new(StatusCode::BAD_REQUEST, "illegal_argument", text)
    })
}

/// What parts the form of an upload.
pub(super) fn boundary(headers: &HeaderMap) -> multer::Result<String> {
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    multer::parse_boundary(content_type.unwrap_or_default())
}

/// Stores the file of a form that was read to its end.
pub(super) fn store(
    sandbox: &State,
    parts: &Parts,
    wanted: &Wanted,
    form: Result<Form, Unread>,
    entry: &Entry<'_>,
) -> Result<Answer, Refusal> {
    let form = form.map_err(|unread| match unread {
        Unread::TooLarge => Refusal::file_too_large(),
        Unread::NoForm(why) => Refusal::no_file(why),
    })?;
    let strict = sandbox.settings.load().strict;
    if let (true, Some(extra)) = (strict, form.extra) {
        return Err(Refusal::no_file(extra));
    }
    let Some(file) = form.file else {
        return Err(Refusal::no_file("no part file"));
    };
    if strict && file.name.as_ref().is_none_or(String::is_empty) {
        return Err(Refusal::no_file("the part file has no filename"));
    }
    let uuid = Uuid::new_v4().to_string();
    let share_secret = wanted.restricted.then(|| {
        let random = std::iter::repeat_with(fastrand::alphanumeric).take(32);
        random.collect::<String>()
    });
    let answer = stored(sandbox, parts, &uuid, share_secret.as_deref());
    sandbox.files.add(File {
        uuid: uuid.clone(),
        name: file.name.unwrap_or_default(),
        content_type: file
            .content_type
            .unwrap_or_else(|| "application/octet-stream".to_owned()),
        size: file.size,
        sha256: file.sha256,
        share_secret,
        thumbnail: wanted.thumbnail,
        received: SystemTime::now(),
        content: file.content,
        stored: sandbox.config.clock.now(),
        was: Duration::ZERO,
    });
    entry.update(|upload| upload.uuid = Some(uuid));
    Ok(answer)
}

fn stored(sandbox: &State, parts: &Parts, uuid: &str, share_secret: Option<&str>) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        action: &'a str,
        application: &'a str,
        path: &'a str,
        uri: String,
        entities: [Entity<'a>; 1],
        timestamp: u64,
        duration: u64,
        organization: &'a str,
        application_name: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Entity<'a> {
        uuid: &'a str,
        r#type: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        share_secret: Option<&'a str>,
    }
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let uri = format!("http://{}{}", host.unwrap_or("sandbox"), parts.uri.path());
    Answer::json(
        StatusCode::OK,
        &Body {
            action: "post",
            application: &sandbox.application,
            path: Endpoint::Upload.path(),
            uri,
            entities: [Entity {
                uuid,
                r#type: "chatfile",
                share_secret,
            }],
            timestamp: unix_milliseconds(),
            duration: 0,
            organization: &sandbox.config.org,
            application_name: &sandbox.config.app,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::testing::{call, form, form_of, start, start_with, upload, uuid};
    use crate::sandbox::{Config, UploadState};

    #[test]
    fn an_upload_is_answered_as_documented_and_stored() {
        let (sandbox, token) = start();
        let reply = upload(&sandbox, &token, &[], &form("file", "cat.txt", b"meow"));
        assert_eq!(reply.status, 200);
        let json = reply.json();
        assert_eq!(json["action"], "post");
        assert_eq!(json["path"], "/chatfiles");
        assert_eq!(json["uri"], "http://sandbox.test/sandbox/demo/chatfiles");
        assert_eq!(json["organization"], "sandbox");
        assert_eq!(json["applicationName"], "demo");
        let entity = json["entities"][0].as_object().unwrap();
        assert_eq!(entity["type"], "chatfile");
        assert_eq!(entity.get("share-secret"), None);

        let files = sandbox.files();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].uuid, uuid(&reply));
        assert_eq!(files[0].name, "cat.txt");
        assert_eq!(files[0].content_type, "text/plain");
        assert_eq!(files[0].size, 4);
        assert_eq!(
            files[0].sha256,
            "404cdd7bc109c432f8cc2443b45bcfe95980f5107215c645236e577929ac3e52"
        );
        assert_eq!(files[0].content.as_deref(), Some(&b"meow"[..]));
        assert_eq!(files[0].share_secret, None);

        let uploads = sandbox.uploads();
        assert_eq!(uploads[0].state, UploadState::Complete);
        assert_eq!(uploads[0].uuid.as_ref(), Some(&files[0].uuid));
        assert_eq!(uploads[0].status, Some(StatusCode::OK));
        let part = uploads[0].part.as_ref().unwrap();
        assert_eq!(part.name.as_deref(), Some("cat.txt"));
        assert_eq!(part.size, 4);
        assert_eq!(part.sha256.as_ref(), Some(&files[0].sha256));
        let calls = sandbox.calls(Endpoint::Upload);
        assert_eq!((calls.len(), calls[0].body.len()), (1, 0));
    }

    #[test]
    fn the_header_makes_it_restricted_whatever_it_says() {
        let (sandbox, token) = start();
        for value in ["true", "false"] {
            let headers = [("restrict-access", value)];
            let reply = upload(&sandbox, &token, &headers, &form("file", "my cat", b"a"));
            let json = reply.json();
            let secret = json["entities"][0]["share-secret"].as_str();
            let file = sandbox.files().pop().unwrap();
            assert_eq!(secret, file.share_secret.as_deref());
            assert_eq!(secret.unwrap().len(), 32);
            let shown = format!("{file:?} {:?}", sandbox.uploads());
            for hidden in [secret.unwrap(), &token, "my cat"] {
                assert!(!shown.contains(hidden), "{shown}");
            }
        }
    }

    #[test]
    fn a_form_without_one_named_file_is_refused() {
        let (sandbox, token) = start();
        let two = (
            "form-data; name=\"file\"; filename=\"a\"",
            "text/plain",
            &b"a"[..],
        );
        let cases: [(Vec<u8>, &str); 6] = [
            (form("media", "a", b"a"), "unexpected part \"media\""),
            (form_of(&[]), "no part file"),
            (form_of(&[two, two]), "unexpected part \"file\""),
            (
                form_of(&[("form-data; name=\"file\"", "text/plain", b"a")]),
                "the part file has no filename",
            ),
            (
                form_of(&[(
                    "form-data; name=\"file\"; filename*=UTF-8''a",
                    "text/plain",
                    b"a",
                )]),
                "the part file has no filename",
            ),
            (b"{}".to_vec(), "incomplete multipart stream"),
        ];
        for (form, reason) in cases {
            let reply = upload(&sandbox, &token, &[], &form);
            let text = "file must be provided.".to_owned();
            assert_eq!(reply.error(), (400, "illegal_argument".to_owned(), text));
            assert_eq!(reply.header("x-sandbox-reason"), Some(reason));
        }
        let form = form_of(&[("form-data; name=\"filename\"", "text/plain", b"a"), two]);
        assert_eq!(upload(&sandbox, &token, &[], &form).status, 200);
        assert_eq!(sandbox.files().len(), 1);
    }

    #[test]
    fn a_body_that_is_no_form_is_refused_at_once() {
        let (sandbox, token) = start();
        let authorization = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", authorization.as_str()),
        ];
        let path = "/sandbox/demo/chatfiles";
        let reply = call(&sandbox, "POST", path, &headers, "{}");
        assert_eq!(
            (reply.status, reply.error().1.as_str()),
            (400, "illegal_argument")
        );
        let headers = [("thumbnail-width", "wide")];
        let reply = upload(&sandbox, &token, &headers, &form("file", "a", b"a"));
        let text = "thumbnail-width must be a positive integer".to_owned();
        assert_eq!(reply.error(), (400, "illegal_argument".to_owned(), text));
    }

    #[test]
    fn old_and_large_files_are_not_kept() {
        let mut config = Config::for_tests();
        config.keep.file_bytes = 250;
        config.keep.largest_file = 100;
        let (sandbox, token) = start_with(config);
        let mut uuids = Vec::new();
        for size in [100, 100, 101, 100] {
            let form = form("file", "a", &vec![0; size]);
            uuids.push(uuid(&upload(&sandbox, &token, &[], &form)));
        }
        let kept: Vec<_> = sandbox
            .files()
            .iter()
            .map(|file| (file.uuid.clone(), file.content.is_some()))
            .collect();
        let expected: Vec<_> = uuids.into_iter().skip(1).zip([true, false, true]).collect();
        assert_eq!(kept, expected);
        sandbox.clear_files();
        assert_eq!(sandbox.files().len(), 0);
    }
}
