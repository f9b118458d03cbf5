//! `POST /chatfiles`.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

use super::File;
use super::form::{self, Form, Unread};
use super::incoming::{self, End, Incoming};
use super::ledger::{Entry, UploadState};
use crate::sandbox::State;
use crate::sandbox::answer::{Answer, unix_milliseconds};
use crate::sandbox::endpoint::Endpoint;
use crate::sandbox::fault::{Effect, Fault, Then};
use crate::sandbox::front::{self, Addressed};
use crate::sandbox::pace::{Pace, Valve};
use crate::sandbox::refusal::Refusal;
use crate::sandbox::wire::Takeover;

/// Bytes of a form beside those of its file, at most.
const FORM_BYTES: u64 = 64 * 1024;

/// Width and height of thumbnails, where the upload does not say.
const THUMBNAIL: u32 = 170;

/// Answers an upload, or does to it what the script says.
pub(in crate::sandbox) async fn upload(
    sandbox: &State,
    address: Addressed,
    request: Request,
) -> Response {
    let fault = sandbox.script.next(Endpoint::Upload);
    let (parts, body) = request.into_parts();
    let valve = parts.extensions.get::<Valve>();
    let valve = valve.expect("every connection has a valve").clone();
    let entry = sandbox.uploads.begin(&parts);
    if matches!(fault.effect, Effect::ResetBeforeRead) && fault.at_byte.is_none() {
        tokio::time::sleep(fault.pause).await;
        entry.settle(UploadState::Abandoned);
        return Takeover::Reset.into_response();
    }
    let serves = fault.effect.serves();
    let wanted = match serves.then(|| Wanted::check(sandbox, address, &parts)) {
        // What the headers alone refuse is refused before a byte is read.
        Some(Err(refusal)) => {
            tokio::time::sleep(fault.pause).await;
            return early(&entry, refusal.into(), fault.then);
        }
        Some(Ok(wanted)) => Some(wanted),
        None => None,
    };
    let mut pace = sandbox.upload_pace.subscribe();
    valve.set(*pace.borrow_and_update());
    let mut incoming = Incoming::new(body, &entry, &valve);
    prepare(&mut incoming, &fault, *pace.borrow());
    let response = tokio::select! {
        response = receive(sandbox, &fault, &parts, wanted, &mut incoming, &entry) => response,
        never = follow(pace, &valve) => match never {},
    };
    valve.set(Pace::Full);
    response
}

/// Passes changes of the common pace on to one connection.
async fn follow(mut pace: watch::Receiver<Pace>, valve: &Valve) -> Infallible {
    while pace.changed().await.is_ok() {
        valve.set(*pace.borrow_and_update());
    }
    std::future::pending().await
}

/// What the fault does while the body comes in.
fn prepare(incoming: &mut Incoming<'_>, fault: &Fault, pace: Pace) {
    let then = match fault.effect {
        Effect::Silence => incoming::Then::Stay,
        ref effect if effect.serves() => incoming::Then::GoOn(fault.pace.unwrap_or(pace)),
        _ => incoming::Then::Halt,
    };
    match (fault.at_byte, fault.pace) {
        (Some(at), _) => incoming.at_byte(at, fault.pause, then),
        (None, Some(_)) => incoming.at_byte(0, Duration::ZERO, then),
        (None, None) => {}
    }
}

async fn receive(
    sandbox: &State,
    fault: &Fault,
    parts: &Parts,
    wanted: Option<Wanted>,
    incoming: &mut Incoming<'_>,
    entry: &Entry<'_>,
) -> Response {
    let most = match sandbox.config.file_bytes {
        limit if limit != 0 && wanted.is_some() => limit,
        _ => u64::MAX,
    };
    incoming.limit(most.saturating_add(FORM_BYTES));
    let form = form::read(
        incoming,
        boundary(&parts.headers),
        &sandbox.files,
        most,
        entry,
    )
    .await;
    if !matches!(form, Err(Unread::TooLarge)) {
        incoming.drain().await;
    }
    match incoming.end() {
        Some(End::Whole) => {}
        Some(End::Halted) => return halted(entry, fault),
        Some(End::Broken) => {
            entry.settle(UploadState::Broken);
            return Takeover::Close.into_response();
        }
        Some(End::TooLarge) | None => {
            return early(entry, Refusal::file_too_large().into(), fault.then);
        }
    }
    entry.settle(match form {
        Ok(_) => UploadState::Complete,
        Err(_) => UploadState::Broken,
    });
    // The form itself is not kept: it would be the file once more.
    let call = sandbox.calls.record(Endpoint::Upload, parts, Bytes::new());
    if fault.at_byte.is_none() || !incoming.reached() {
        tokio::time::sleep(fault.pause).await;
    }
    let answer = match (&fault.effect, wanted) {
        (_, Some(wanted)) => {
            store(sandbox, parts, &wanted, form, entry).unwrap_or_else(Answer::from)
        }
        (Effect::Say(answer), _) => answer.clone(),
        (Effect::Silence, _) => std::future::pending().await,
        (Effect::CloseAfterRead, _) => return Takeover::Close.into_response(),
        _ => return Takeover::Reset.into_response(),
    };
    call.answered(answer.clone());
    entry.update(|upload| upload.status = Some(answer.status));
    fault.effect.deliver(answer)
}

/// Answers while the body is still coming.
fn early(entry: &Entry<'_>, answer: Answer, then: Then) -> Response {
    entry.update(|upload| upload.status = Some(answer.status));
    entry.settle(UploadState::Abandoned);
    Takeover::early(answer, then).into_response()
}

/// The byte was reached at which the fault happens.
fn halted(entry: &Entry<'_>, fault: &Fault) -> Response {
    if let Effect::Say(answer) = &fault.effect {
        return early(entry, answer.clone(), fault.then);
    }
    entry.settle(UploadState::Abandoned);
    match fault.effect {
        Effect::CloseAfterRead => Takeover::Close.into_response(),
        _ => Takeover::Reset.into_response(),
    }
}

fn boundary(headers: &HeaderMap) -> multer::Result<String> {
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    multer::parse_boundary(content_type.unwrap_or_default())
}

/// What the headers of an upload ask for. There is none of a request that is not treated as usual.
struct Wanted {
    restricted: bool,
    thumbnail: (u32, u32),
}

impl Wanted {
    fn check(sandbox: &State, address: Addressed, parts: &Parts) -> Result<Self, Refusal> {
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

/// Stores the file of a form that was read to its end.
fn store(
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
    let strict = sandbox.config.strict;
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
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};

    use super::super::Upload;
    use super::*;
    use crate::sandbox::testing::{
        self, Reply, connect, exchange, form, form_of, token, upload, upload_head, upload_request,
        uuid,
    };
    use crate::sandbox::{Config, Rate, Sandbox};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn start() -> (Sandbox, String) {
        start_with(Config::for_tests())
    }

    fn start_with(config: Config) -> (Sandbox, String) {
        let sandbox = Sandbox::start(config).unwrap();
        let token = token(&sandbox);
        (sandbox, token)
    }

    fn wait(sandbox: &Sandbox, matches: impl Fn(&Upload) -> bool + Send + Sync + 'static) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        assert!(
            runtime.block_on(sandbox.wait_for_uploads(1, matches, PATIENCE)),
            "{:?}",
            sandbox.uploads()
        );
    }

    fn states(sandbox: &Sandbox) -> Vec<UploadState> {
        let uploads = sandbox.uploads();
        uploads.iter().map(|upload| upload.state).collect()
    }

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
            let reply = upload(&sandbox, &token, &headers, &form("file", "a", b"a"));
            let json = reply.json();
            let secret = json["entities"][0]["share-secret"].as_str();
            let file = sandbox.files().pop().unwrap();
            assert_eq!(secret, file.share_secret.as_deref());
            assert_eq!(secret.unwrap().len(), 32);
            assert!(!format!("{file:?}").contains(secret.unwrap()));
        }
    }

    /// The body in chunks of this size.
    fn chunked(body: &[u8], size: usize) -> Vec<u8> {
        let mut chunks = Vec::new();
        for chunk in body.chunks(size) {
            chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunks.extend_from_slice(chunk);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks
    }

    fn noise(bytes: usize) -> Vec<u8> {
        std::iter::repeat_with(|| fastrand::u8(..))
            .take(bytes)
            .collect()
    }

    #[test]
    fn a_body_in_chunks_of_any_size_is_the_same_file() {
        let (sandbox, token) = start();
        let mut content = noise(100_000);
        content.extend_from_slice(b"\r\n------sandbo\r\n--\r\r\n");
        let form = form("file", "noise", &content);
        for size in [1, 7, 4096, usize::MAX] {
            let head = upload_head(&token, &[("transfer-encoding", "chunked")]);
            let body = [&chunked(&form, size)[..], b"0\r\n\r\n"].concat();
            let request = [head, body].concat();
            let reply = Reply::parse(&exchange(&sandbox, &request).unwrap());
            assert_eq!(reply.status, 200);
            let file = sandbox.files().pop().unwrap();
            assert_eq!(file.content.as_deref(), Some(&content[..]));
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
        let reply = testing::call(&sandbox, "POST", path, &headers, "{}");
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
    fn token_and_rate_are_checked_before_the_body_is_read() {
        let mut config = Config::for_tests();
        config.quotas.uploads = Some(Rate::per_minute(1));
        let (sandbox, token) = start_with(config);
        // Of a body that never comes.
        let early = |token: &str| {
            let head = upload_head(token, &[("content-length", "1000000")]);
            Reply::parse(&exchange(&sandbox, &head).unwrap())
        };
        let reply = early("YWMtwrong");
        assert_eq!(
            (reply.status, reply.header("connection")),
            (401, Some("close"))
        );
        assert_eq!(
            upload(&sandbox, &token, &[], &form("file", "a", b"a")).status,
            200
        );
        assert_eq!(early(&token).status, 429);
        let abandoned = UploadState::Abandoned;
        assert_eq!(
            states(&sandbox),
            [abandoned, UploadState::Complete, abandoned]
        );
        assert_eq!(sandbox.uploads()[0].body_bytes, 0);
    }

    #[test]
    fn a_file_too_large_is_refused_while_it_is_still_coming() {
        let (sandbox, token) = start_with(Config {
            file_bytes: 100_000,
            ..Config::for_tests()
        });
        let fits = form("file", "a", &noise(100_000));
        assert_eq!(upload(&sandbox, &token, &[], &fits).status, 200);

        let mut stream = connect(&sandbox);
        let head = upload_head(&token, &[("content-length", "50000000")]);
        stream.write_all(&head).unwrap();
        let form = form("file", "a", &noise(120_000));
        stream.write_all(&form[..form.len() - 20]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = "the file size exceeds the maximum limit.".to_owned();
        assert_eq!(
            Reply::parse(&answer).error(),
            (413, "file exceeding maximum limit".to_owned(), text)
        );
        // What comes after it is taken, and not met by RST.
        for _ in 0..100 {
            stream.write_all(&noise(10_000)).unwrap();
        }
        assert_eq!(states(&sandbox)[1], UploadState::Abandoned);
        assert_eq!(sandbox.files().len(), 1);
    }

    #[test]
    fn no_file_without_a_closing_boundary() {
        let (sandbox, token) = start();
        let form = form("file", "cat.txt", b"meow");
        for cut in [1, 10, form.len() - 10, form.len() - 3] {
            let reply = upload(&sandbox, &token, &[], &form[..cut]);
            assert_eq!(reply.error().1, "illegal_argument", "cut at {cut}");
            let upload = sandbox.uploads().pop().unwrap();
            assert_eq!((upload.state, upload.closed), (UploadState::Broken, false));
        }
        assert_eq!(sandbox.files().len(), 0);
    }

    #[test]
    fn a_client_that_goes_away_leaves_a_broken_upload() {
        let (sandbox, token) = start();
        let form = form("file", "cat.txt", b"meow");
        let head = upload_head(&token, &[("transfer-encoding", "chunked")]);
        // In the middle, and between the closing boundary and the end of the request.
        for (sent, closed) in [(&form[..form.len() / 2], false), (&form[..], true)] {
            let mut stream = connect(&sandbox);
            stream
                .write_all(&[&head[..], &chunked(sent, 50)].concat())
                .unwrap();
            let bytes = sent.len() as u64;
            wait(&sandbox, move |upload| upload.body_bytes == bytes);
            stream.shutdown(Shutdown::Both).unwrap();
            wait(&sandbox, move |upload| {
                upload.body_bytes == bytes && upload.state == UploadState::Broken
            });
            assert_eq!(sandbox.uploads().pop().unwrap().closed, closed);
        }
        assert_eq!(sandbox.files().len(), 0);
        assert_eq!(sandbox.call_count(Endpoint::Upload), 0);
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

    /// An upload of many bytes that meets the fault, written for as long as it can be, and all that
    /// came back.
    fn flood(sandbox: &Sandbox, token: &str, fault: Fault) -> (TcpStream, Vec<u8>) {
        sandbox.script(Endpoint::Upload, [fault]);
        let mut stream = connect(sandbox);
        let head = upload_head(token, &[("content-length", "1000000000")]);
        stream.write_all(&head).unwrap();
        stream
            .write_all(&form("file", "a", &noise(100_000))[..90_000])
            .unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).unwrap_or_default();
        answer.truncate(read);
        (stream, answer)
    }

    /// Writes until that fails; false where it does not within so many bytes.
    fn breaks(stream: &mut TcpStream) -> bool {
        (0..10_000).any(|_| stream.write_all(&[0; 10_000]).is_err())
    }

    #[test]
    fn any_answer_can_come_in_the_middle_and_be_followed_by_anything() {
        let (sandbox, token) = start();
        let refused = |then| {
            flood(
                &sandbox,
                &token,
                Fault::unauthorized().at_byte(50_000).then(then),
            )
        };

        for then in [Then::Close, Then::Reset] {
            let (mut stream, answer) = refused(then);
            // RST may come before the answer was read.
            assert!(answer.is_empty() || Reply::parse(&answer).status == 401);
            assert!(breaks(&mut stream), "{then:?}");
        }
        let (mut stream, answer) = refused(Then::Drain);
        assert_eq!(Reply::parse(&answer).status, 401);
        assert!(!breaks(&mut stream));

        for then in [Then::Stall, Then::Slow(1)] {
            let (mut stream, answer) = refused(then);
            assert_eq!(Reply::parse(&answer).header("connection"), None);
            stream
                .set_write_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            assert!(breaks(&mut stream), "its buffers are full: {then:?}");
        }
        let uploads = sandbox.uploads();
        assert_eq!(uploads.len(), 5);
        for upload in uploads {
            assert_eq!(upload.state, UploadState::Abandoned);
            assert_eq!(upload.body_bytes, 50_000);
            assert_eq!(upload.status, Some(StatusCode::UNAUTHORIZED));
        }
        assert_eq!(sandbox.call_count(Endpoint::Upload), 0);
    }

    #[test]
    fn a_connection_can_break_in_the_middle() {
        let (sandbox, token) = start();
        for fault in [Fault::reset_after_read(), Fault::close_after_read()] {
            let (mut stream, answer) = flood(&sandbox, &token, fault.at_byte(50_000));
            assert_eq!(answer.len(), 0);
            assert!(breaks(&mut stream));
            let upload = sandbox.uploads().pop().unwrap();
            assert_eq!(
                (upload.state, upload.status),
                (UploadState::Abandoned, None)
            );
        }
    }

    #[test]
    fn a_stalled_upload_is_under_way_until_its_client_goes() {
        let (sandbox, token) = start();
        let request = upload_request(&token, &[], &form("file", "a", &noise(50_000)));
        // Also one that has come in altogether.
        for bytes in [0, 10_000] {
            sandbox.script(Endpoint::Upload, [Fault::stall(bytes)]);
            let mut stream = connect(&sandbox);
            stream.write_all(&request).unwrap();
            wait(&sandbox, move |upload| {
                upload.state == UploadState::UnderWay && upload.body_bytes == bytes
            });
            stream
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            assert!(stream.read(&mut [0; 1]).is_err(), "no answer, no end");
            assert_eq!(sandbox.uploads().pop().unwrap().body_bytes, bytes);
            drop(stream);
            wait(&sandbox, move |upload| {
                upload.state == UploadState::Broken && upload.body_bytes == bytes
            });
        }
    }

    #[test]
    fn a_slow_upload_takes_its_time_and_is_whole() {
        let (sandbox, token) = start_with(Config {
            receive_buffer: Some(8192),
            ..Config::for_tests()
        });
        let content = noise(100_000);
        let request = upload_request(&token, &[], &form("file", "a", &content));
        let began = std::time::Instant::now();
        sandbox.script(Endpoint::Upload, [Fault::slow(200_000)]);
        assert_eq!(
            Reply::parse(&exchange(&sandbox, &request).unwrap()).status,
            200
        );
        let took = began.elapsed();
        // Some of it came in together with the headers.
        assert!(took >= Duration::from_millis(400), "{took:?}");
        assert_eq!(sandbox.files()[0].content.as_deref(), Some(&content[..]));
    }

    #[test]
    fn a_pause_in_the_middle_ends() {
        let (sandbox, token) = start();
        let content = noise(100_000);
        let request = upload_request(&token, &[], &form("file", "a", &content));
        let began = std::time::Instant::now();
        let pause = Duration::from_millis(100);
        sandbox.script(Endpoint::Upload, [Fault::delay(pause).at_byte(50_000)]);
        assert_eq!(
            Reply::parse(&exchange(&sandbox, &request).unwrap()).status,
            200
        );
        assert!(began.elapsed() >= pause);
        assert_eq!(sandbox.files()[0].content.as_deref(), Some(&content[..]));
    }

    #[test]
    fn faults_at_the_end_of_an_upload_are_those_of_any_call() {
        let (sandbox, token) = start();
        let request = upload_request(&token, &[], &form("file", "a", b"a"));
        let answer = |fault| {
            sandbox.script(Endpoint::Upload, [fault]);
            exchange(&sandbox, &request)
        };
        assert_eq!(
            Reply::parse(&answer(Fault::status(503)).unwrap()).status,
            503
        );
        // Beyond the end.
        let late = Fault::status(502).at_byte(1 << 20);
        assert_eq!(Reply::parse(&answer(late).unwrap()).status, 502);
        assert!(answer(Fault::reset_after_read()).is_err());
        assert_eq!(answer(Fault::close_after_read()).unwrap().len(), 0);
        let complete = UploadState::Complete;
        assert_eq!(states(&sandbox), [complete; 4]);
        assert!(answer(Fault::reset_before_read()).is_err());
        assert_eq!(sandbox.files().len(), 0);
        assert_eq!(sandbox.call_count(Endpoint::Upload), 4);

        let truncated = Reply::parse(&answer(Fault::truncated()).unwrap());
        assert!(serde_json::from_slice::<serde_json::Value>(&truncated.body).is_err());
        assert_eq!(sandbox.files().len(), 1);
    }

    #[test]
    fn all_uploads_can_be_held_and_let_go() {
        let (sandbox, token) = start_with(Config {
            upload_pace: Pace::Stopped,
            ..Config::for_tests()
        });
        let request = upload_request(&token, &[], &form("file", "a", &noise(1_000_000)));
        std::thread::scope(|scope| {
            let uploads = [(); 3].map(|()| scope.spawn(|| exchange(&sandbox, &request).unwrap()));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let began = |_: &Upload| true;
            assert!(runtime.block_on(sandbox.wait_for_uploads(3, began, PATIENCE)));
            assert_eq!(states(&sandbox), [UploadState::UnderWay; 3]);
            sandbox.set_upload_pace(Pace::Full);
            for upload in uploads {
                assert_eq!(Reply::parse(&upload.join().unwrap()).status, 200);
            }
        });
        assert_eq!(states(&sandbox), [UploadState::Complete; 3]);
    }
}
