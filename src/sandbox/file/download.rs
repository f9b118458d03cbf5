//! `GET /chatfiles/{uuid}`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::Query;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{File, thumbnail};
use crate::sandbox::State;
use crate::sandbox::answer::Answer;
use crate::sandbox::refusal::Refusal;

/// Answers with the bytes of a file or of its thumbnail.
pub(in crate::sandbox) async fn download(
    sandbox: &State,
    uuid: &str,
    parts: &Parts,
) -> Result<Answer, Refusal> {
    let (file, content) = open(sandbox, uuid, shown_secret(parts).as_deref())?;
    let thumbnail = parts.headers.get("thumbnail");
    if thumbnail.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")) {
        let (content, content_type) = thumbnail::of(&file, content).await?;
        Ok(answer(&file, content, &content_type))
    } else {
        Ok(answer(&file, content, &file.content_type))
    }
}

/// A file and its bytes, to whom may have them.
pub(in crate::sandbox) fn open(
    sandbox: &State,
    uuid: &str,
    secret: Option<&str>,
) -> Result<(Arc<File>, Bytes), Refusal> {
    let file = sandbox.files.find(uuid).ok_or_else(Refusal::unknown_file)?;
    let now = sandbox.config.clock.now();
    if file.age(now) >= sandbox.settings.load().file_retention {
        return Err(Refusal::file_expired(uuid));
    }
    if file.share_secret.is_some() && file.share_secret.as_deref() != secret {
        return Err(Refusal::wrong_share_secret());
    }
    let Some(content) = file.content.clone() else {
        return Err(Refusal::unknown_file().because("the bytes of this file were not kept"));
    };
    Ok((file, content))
}

/// The share secret, in the header or in the query.
fn shown_secret(parts: &Parts) -> Option<String> {
    if let Some(header) = parts.headers.get("share-secret") {
        return header.to_str().ok().map(ToOwned::to_owned);
    }
    let query: Query<HashMap<String, String>> = Query::try_from_uri(&parts.uri).ok()?;
    query.get("share-secret").cloned()
}

fn answer(file: &File, content: Bytes, content_type: &str) -> Answer {
    let mut answer = Answer::empty(StatusCode::OK);
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CONTENT_DISPOSITION, &disposition(&file.name)),
    ] {
        // What came in a header can go out in one.
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers.insert(name, value);
        }
    }
    answer.body = content;
    answer
}

/// All but the `attr-char` of RFC 5987.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// As RFC 6266 has it: a name in ASCII, and the true one where they differ.
pub(in crate::sandbox) fn disposition(name: &str) -> String {
    let plain = |c: char| (c == ' ' || c.is_ascii_graphic()) && !matches!(c, '"' | '\\' | '%');
    let ascii: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    let mut disposition = format!("attachment; filename=\"{ascii}\"");
    if ascii != name {
        let escaped = utf8_percent_encode(name, ESCAPED);
        disposition += &format!("; filename*=UTF-8''{escaped}");
    }
    disposition
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::disposition;
    use crate::sandbox::testing::{call, download, form, form_of, get, start_with, upload, uuid};
    use crate::sandbox::{Clock, Config, Endpoint, Fault, Rate, Sandbox};

    fn start() -> (Sandbox, String) {
        start_with(Config {
            clock: Clock::frozen(),
            ..Config::for_tests()
        })
    }

    #[test]
    fn a_name_that_is_not_plain_ascii_comes_twice() {
        assert_eq!(
            disposition("my cat.png"),
            "attachment; filename=\"my cat.png\""
        );
        assert_eq!(
            disposition("猫 \"1\".png"),
            "attachment; filename=\"_ _1_.png\"; filename*=UTF-8''%E7%8C%AB%20%221%22.png"
        );
    }

    #[test]
    fn what_was_uploaded_comes_back() {
        let (sandbox, token) = start();
        let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let uuid = uuid(&upload(
            &sandbox,
            &token,
            &[],
            &form("file", "猫.txt", &content),
        ));
        let reply = download(&sandbox, &token, &uuid, &[]);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.body, content);
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        assert_eq!(reply.header("content-length"), Some("100000"));
        assert_eq!(
            reply.header("content-disposition"),
            Some("attachment; filename=\"_.txt\"; filename*=UTF-8''%E7%8C%AB.txt")
        );
        let path = format!("/app-id/sandbox-app-id/chatfiles/{uuid}");
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        assert_eq!(call(&sandbox, "GET", &path, &headers, "").body, content);
        let calls = sandbox.calls(Endpoint::Download);
        assert_eq!(calls[1].path, path);
        assert_eq!(calls[1].answer().unwrap().body.len(), 0);
    }

    #[test]
    fn a_restricted_file_wants_its_secret() {
        let (sandbox, token) = start();
        let restricted = [("restrict-access", "true")];
        let uuid = uuid(&upload(
            &sandbox,
            &token,
            &restricted,
            &form("file", "a", b"a"),
        ));
        let secret = sandbox.files()[0].share_secret.clone().unwrap();
        let status =
            |uuid: &str, headers: &[(&str, &str)]| download(&sandbox, &token, uuid, headers).status;
        assert_eq!(status(&uuid, &[]), 403);
        assert_eq!(status(&uuid, &[("share-secret", "wrong")]), 403);
        assert_eq!(status(&format!("{uuid}?share-secret=wrong"), &[]), 403);
        assert_eq!(status(&uuid, &[("share-secret", &secret)]), 200);
        assert_eq!(status(&format!("{uuid}?share-secret={secret}"), &[]), 200);
    }

    #[test]
    fn a_file_can_be_had_for_seven_days() {
        let (sandbox, token) = start();
        let unknown = download(
            &sandbox,
            &token,
            "11111111-2222-3333-4444-555555555555",
            &[],
        );
        let text = "file may not exists".to_owned();
        assert_eq!(unknown.error(), (404, "entity_not_found".to_owned(), text));

        let uuid = uuid(&upload(&sandbox, &token, &[], &form("file", "a", b"a")));
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        sandbox.advance(week - Duration::from_secs(1));
        assert_eq!(download(&sandbox, &token, &uuid, &[]).status, 200);
        sandbox.advance(Duration::from_secs(1));
        let text = format!("file {uuid} is expired");
        assert_eq!(
            download(&sandbox, &token, &uuid, &[]).error(),
            (404, "file_expired".to_owned(), text)
        );
    }

    #[test]
    fn a_download_wants_a_token_and_keeps_to_its_rate() {
        let mut config = Config::for_tests();
        config.quotas.downloads = Some(Rate::per_minute(1));
        let (sandbox, token) = start_with(config);
        assert_eq!(get(&sandbox, "/sandbox/demo/chatfiles/1").status, 401);
        assert_eq!(download(&sandbox, &token, "1", &[]).status, 404);
        assert_eq!(download(&sandbox, &token, "1", &[]).status, 429);
    }

    #[test]
    fn a_download_can_break_like_any_call() {
        let (sandbox, token) = start();
        let uuid = uuid(&upload(
            &sandbox,
            &token,
            &[],
            &form("file", "a", &[7; 1000]),
        ));
        sandbox.script(Endpoint::Download, [Fault::truncated(), Fault::status(503)]);
        let reply = download(&sandbox, &token, &uuid, &[]);
        assert_eq!(reply.header("content-length"), Some("1000"));
        assert_eq!(reply.body.len(), 500);
        assert_eq!(download(&sandbox, &token, &uuid, &[]).status, 503);
    }

    #[test]
    fn files_are_listed_and_forgotten() {
        let (sandbox, token) = start();
        let restricted = [("restrict-access", "true")];
        upload(
            &sandbox,
            &token,
            &restricted,
            &form("file", "猫.txt", b"meow"),
        );
        let listed = get(&sandbox, "/sandbox/files");
        let file = &listed.json()["files"][0];
        assert_eq!(file["uuid"], sandbox.files()[0].uuid);
        assert_eq!(file["name"], "猫.txt");
        assert_eq!(file["type"], "text/plain");
        assert_eq!(file["size"], 4);
        assert_eq!(file["sha256"], sandbox.files()[0].sha256);
        assert_eq!(file["restricted"], true);
        assert_eq!(file["kept"], true);
        assert!(file["received"].is_string());
        let secret = sandbox.files()[0].share_secret.clone().unwrap();
        assert!(!String::from_utf8(listed.body).unwrap().contains(&secret));
        assert_eq!(
            call(&sandbox, "DELETE", "/sandbox/files", &[], "").status,
            204
        );
        assert_eq!(sandbox.files().len(), 0);
    }

    /// A picture that does not compress well.
    fn picture(format: image::ImageFormat) -> Vec<u8> {
        let pixels = image::RgbImage::from_fn(400, 200, |_, _| {
            image::Rgb([fastrand::u8(..), fastrand::u8(..), fastrand::u8(..)])
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_thumbnail_is_an_image_of_the_size_asked_for() {
        use image::ImageFormat::{Gif, Jpeg, Png, WebP};

        let (sandbox, token) = start();
        let thumbnail = |headers: &[(&str, &str)], content: &[u8]| {
            let disposition = "form-data; name=\"file\"; filename=\"a\"";
            let form = form_of(&[(disposition, "image/any", content)]);
            let uuid = uuid(&upload(&sandbox, &token, headers, &form));
            download(&sandbox, &token, &uuid, &[("thumbnail", "true")])
        };
        for (format, given) in [(Jpeg, Jpeg), (Png, Png), (Gif, Png), (WebP, Png)] {
            let reply = thumbnail(&[], &picture(format));
            assert_eq!(reply.header("content-type"), Some(given.to_mime_type()));
            let image = image::load_from_memory_with_format(&reply.body, given).unwrap();
            assert_eq!((image.width(), image.height()), (170, 85));
        }
        let size = [("thumbnail-width", "300"), ("thumbnail-height", "50")];
        let reply = thumbnail(&size, &picture(Jpeg));
        let image = image::load_from_memory(&reply.body).unwrap();
        assert_eq!((image.width(), image.height()), (100, 50));

        let mut small = std::io::Cursor::new(Vec::new());
        image::GrayImage::new(400, 200)
            .write_to(&mut small, Png)
            .unwrap();
        let reply = thumbnail(&[], small.get_ref());
        assert_eq!(&reply.body, small.get_ref(), "it is its own thumbnail");
        assert_eq!(reply.header("content-type"), Some("image/any"));

        let cut = &picture(Png)[..20_000];
        for none in [&[0; 20_000][..], cut] {
            let reply = thumbnail(&[], none);
            assert_eq!(
                (reply.status, reply.error().1.as_str()),
                (404, "entity_not_found")
            );
        }
    }
}
