//! `POST /chatfiles`: from the headers to the answer, and what the script does on the way.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::watch;

use super::form::{self, Unread};
use super::incoming::{self, End, Incoming};
use super::ledger::{Entry, UploadState};
use super::store::{Wanted, boundary, store};
use crate::sandbox::State;
use crate::sandbox::answer::Answer;
use crate::sandbox::endpoint::Endpoint;
use crate::sandbox::fault::{Effect, Fault, Then};
use crate::sandbox::front::Addressed;
use crate::sandbox::pace::{Pace, Valve};
use crate::sandbox::refusal::Refusal;
use crate::sandbox::wire::Takeover;

/// Bytes of a form beside those of its file, at most.
const FORM_BYTES: u64 = 64 * 1024;

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
    if fault.revoke {
        sandbox.tokens.revoke(&parts.headers);
    }
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
    let most = match sandbox.settings.load().file_bytes {
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};

    use super::super::Upload;
    use axum::http::StatusCode;

    use super::*;
    use crate::sandbox::testing::{
        Reply, connect, exchange, form, noise, start, start_with, upload, upload_head,
        upload_request,
    };
    use crate::sandbox::{Config, Rate, Sandbox};

    const PATIENCE: Duration = Duration::from_secs(20);

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
