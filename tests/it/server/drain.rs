//! The end of connections and of the process: in order, without losing what runs, and in time.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use easemob_gateway::server::{Config, Phase};
use tokio::net::TcpStream;

use crate::support::{
    http2::{Connection, Frame, code, data, headers, kind, message},
    process::Process,
    server::{ECHO, HOLD, OUTLIVE, PANIC, Server, config},
    soon, within,
};

const SECOND: Duration = Duration::from_secs(1);

/// The first GOAWAY, which says that no more calls are wanted; the second one follows by itself.
async fn goaway(connection: &mut Connection) -> Frame {
    let goaway = soon("GOAWAY", connection.next_of(kind::GOAWAY)).await;
    goaway.expect("GOAWAY before the connection ends")
}

#[tokio::test]
async fn an_idle_server_drains_at_once() {
    let server = Server::start(config()).await;
    let mut idle = Connection::open(server.grpc).await;
    soon("a round trip", idle.round_trip()).await.unwrap();
    let (report, frames) = tokio::join!(server.stop(), idle.rest());
    assert!(report.in_time && report.took < SECOND, "{report:?}");
    let goaways = frames.iter().filter(|frame| frame.kind == kind::GOAWAY);
    assert!(goaways.map(Frame::code).all(|code| code == code::NO_ERROR));
}

/// D1: readiness, the port, GOAWAY, and the calls that run.
#[tokio::test]
async fn a_drain_goes_in_order_and_finishes_what_runs() {
    let server = Server::start(config()).await;
    let mut caller = Connection::open(server.grpc).await;
    caller.send(&headers(1, HOLD, &[])).await;
    server.notes.running(1).await;

    server.shutdown.cancel();
    goaway(&mut caller).await;
    assert_eq!(server.readiness.phase(), Phase::Draining);
    let refused = TcpStream::connect(server.grpc).await;
    refused.expect_err("a port that takes no more");
    assert!(!server.serving.is_finished());

    server.notes.release.notify_one();
    let answer = soon("an answer", caller.answer(1)).await.unwrap();
    assert_eq!(answer.status(), Some(0));
    let report = server.stop().await;
    assert!(report.in_time, "{report:?}");
}

/// D1: callers that heed GOAWAY lose no call.
#[tokio::test]
async fn a_process_that_is_terminated_under_load_loses_no_call() {
    let mut server = Process::start("").await;
    let (loaded, mut is_loaded) = tokio::sync::mpsc::channel(1);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (grpc, loaded) = (server.grpc, loaded.clone());
        callers.spawn(async move {
            let mut caller = Connection::open(grpc).await;
            let (mut asked, mut answered) = (0, 0);
            let mut leaving = false;
            while !leaving || answered < asked {
                while !leaving && asked < answered + 5 {
                    let stream = 2 * asked + 1;
                    let call = [
                        headers(stream, ECHO, &[]),
                        data(stream, &message(b"x"), true),
                    ];
                    caller.send(&call.concat()).await;
                    asked += 1;
                }
                let frame = caller.next().await.expect("answers to all calls");
                leaving |= frame.kind == kind::GOAWAY;
                if frame.kind == kind::GOAWAY {
                    assert!(frame.last_stream() >= 2 * asked - 1, "a call is given up");
                }
                let headers = if frame.kind == kind::HEADERS {
                    frame.headers()
                } else {
                    vec![]
                };
                let status = headers.into_iter().find(|(name, _)| name == "grpc-status");
                if let Some((_, status)) = status {
                    assert_eq!(status, "0");
                    answered += 1;
                }
                if answered == 100 {
                    let _ = loaded.try_send(());
                }
            }
        });
    }
    soon("some load", is_loaded.recv()).await.unwrap();
    server.terminate();
    while let Some(caller) = soon("the callers", callers.join_next()).await {
        caller.unwrap();
    }
    let (in_time, status) = soon("its end", server.ended()).await;
    assert!(in_time);
    assert!(status.success(), "{status}");
}

/// D2.
#[tokio::test]
async fn peers_that_do_not_leave_cannot_hold_up_the_end() {
    let mut server = Process::start("drain_timeout = '500ms'\nhandshake_timeout = '60s'").await;
    let silent = TcpStream::connect(server.grpc).await.unwrap();
    let mut mute = Connection::open(server.grpc).await;
    mute.mute = true;
    let mut upload = Connection::open(server.grpc).await;
    upload.send(&headers(1, ECHO, &[])).await;
    upload.send(&data(1, b"the beginning", false)).await;
    soon("a round trip", upload.round_trip()).await.unwrap();

    server.terminate();
    let limit = Duration::from_millis(500) + SECOND;
    let (in_time, status) = within(limit, "its end", server.ended()).await;
    assert!(!in_time);
    assert!(status.success(), "{status}");
    drop((silent, mute, upload));
}

#[tokio::test]
async fn a_drain_out_of_time_tells_what_it_cut() {
    let drain_timeout = Duration::from_millis(200);
    let server = Server::start(Config {
        drain_timeout,
        ..config()
    })
    .await;
    let mut caller = Connection::open(server.grpc).await;
    caller.send(&headers(1, HOLD, &[])).await;
    server.notes.running(1).await;
    let notes = std::sync::Arc::clone(&server.notes);
    let report = server.stop().await;
    assert!(!report.in_time, "{report:?}");
    assert_eq!(
        (report.connections_cut, report.tasks_lost),
        (1, 0),
        "{report:?}"
    );
    // Its handler did not outlive it.
    notes.running(0).await;
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_at_once() {
    let server = Server::start(config()).await;
    let mut caller = Connection::open(server.grpc).await;
    caller.send(&headers(1, HOLD, &[])).await;
    server.notes.running(1).await;
    server.serving.abort();
    soon("the end of the connection", caller.rest()).await;
    server.notes.running(0).await;
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let mut server = Process::start("").await;
    let mut caller = Connection::open(server.grpc).await;
    caller.send(&headers(1, HOLD, &[])).await;
    soon("a round trip", caller.round_trip()).await.unwrap();
    server.terminate();
    goaway(&mut caller).await;
    server.terminate();
    let status = within(SECOND, "its end", server.exit()).await;
    assert_eq!((status.code(), status.signal()), (Some(128 + 15), None));
}

#[tokio::test]
async fn the_drain_waits_for_tasks_that_outlive_their_call() {
    let server = Server::start(config()).await;
    let mut caller = Connection::open(server.grpc).await;
    let answer = soon("an answer", caller.call(1, OUTLIVE, b""))
        .await
        .unwrap();
    assert_eq!(answer.status(), Some(0));
    server.shutdown.cancel();
    soon("the end of the connection", caller.rest()).await;
    assert!(!server.serving.is_finished());
    server.notes.running(1).await;

    server.notes.release.notify_one();
    let report = server.stop().await;
    assert!(report.in_time, "{report:?}");
}

/// D5, as far as it is the server's.
#[tokio::test]
async fn a_panic_ends_its_call_and_nothing_else() {
    let server = Server::start(config()).await;
    let mut caller = Connection::open(server.grpc).await;
    caller.send(&headers(1, HOLD, &[])).await;
    server.notes.running(1).await;

    let answer = soon("an answer", caller.call(3, PANIC, b"")).await.unwrap();
    assert!(answer.reset.is_some(), "{answer:?}");
    server.notes.running(1).await;
    let answer = soon("an answer", caller.call(5, ECHO, b"")).await.unwrap();
    assert_eq!(answer.status(), Some(0));
    server.notes.release.notify_one();
    let answer = soon("an answer", caller.answer(1)).await.unwrap();
    assert_eq!(answer.status(), Some(0));

    let (report, _) = tokio::join!(server.stop(), caller.rest());
    assert!(report.in_time, "{report:?}");
}

#[tokio::test]
async fn an_old_connection_is_asked_to_leave_and_its_calls_finish() {
    let connection_age = Duration::from_millis(100);
    let server = Server::start(Config {
        connection_age,
        ..config()
    })
    .await;
    let mut caller = Connection::open(server.grpc).await;
    caller.send(&headers(1, HOLD, &[])).await;
    assert_eq!(goaway(&mut caller).await.code(), code::NO_ERROR);
    server.notes.release.notify_one();
    let answer = soon("an answer", caller.answer(1)).await.unwrap();
    assert_eq!(answer.status(), Some(0));
    soon("the end of the connection", caller.rest()).await;
    // It was only the connection that was old.
    let mut next = Connection::open(server.grpc).await;
    let answer = soon("an answer", next.call(1, ECHO, b"")).await.unwrap();
    assert_eq!(answer.status(), Some(0));
}

#[tokio::test]
async fn an_old_connection_that_does_not_leave_is_cut() {
    let server = Server::start(Config {
        connection_age: Duration::from_millis(100),
        connection_age_grace: Duration::from_millis(100),
        ..config()
    })
    .await;
    let mut caller = Connection::open(server.grpc).await;
    caller.send(&headers(1, HOLD, &[])).await;
    let frames = soon("the end of the connection", caller.rest()).await;
    assert!(frames.iter().any(|frame| frame.kind == kind::GOAWAY));
    assert!(frames.iter().all(|frame| frame.kind != kind::HEADERS));
    server.notes.running(0).await;
}
