//! Peers that send more than anyone needs: each costs itself its connection, and nobody else
//! anything.

use std::time::Duration;

use easemob_gateway::server::{Config, Http2};

use crate::support::{
    http2::{
        Connection, code, data, flag, frame, header_block, headers, kind, message, ping,
        rst_stream, settings, window_update,
    },
    is_timed,
    process::Process,
    server::{ECHO, HOLD, Server, config},
    soon, times, within,
};

/// One shard: whoever floods it shares a thread with whoever does not.
async fn start(http2: Http2) -> Server {
    let shards = 1.try_into().ok();
    Server::start(Config {
        shards,
        http2,
        ..config()
    })
    .await
}

/// Call numbers of a client, in order.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|index| 2 * index + 1)
}

/// Sends frames, and gives the code of the GOAWAY that it must cause.
async fn goaway_after(peer: &mut Connection, frames: &[u8]) -> u32 {
    peer.send(frames).await;
    let goaway = soon("GOAWAY", peer.next_of(kind::GOAWAY)).await;
    goaway.expect("GOAWAY before the connection ends").code()
}

/// C2.
#[tokio::test]
async fn a_peer_that_leaves_pings_unanswered_is_closed() {
    let server = start(Http2 {
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
        ..Http2::default()
    })
    .await;
    let mut good = Connection::open(server.grpc).await;
    let mut mute = Connection::open(server.grpc).await;
    mute.mute = true;
    let (_, ()) = tokio::join!(soon("the end of the mute one", mute.rest()), async {
        for _ in 0..3 {
            soon("a PING", good.next_of(kind::PING)).await.unwrap();
        }
    });
    let answer = soon("an answer", good.call(1, ECHO, b"")).await.unwrap();
    assert_eq!(answer.status(), Some(0));
}

/// C3.
#[tokio::test]
async fn rapid_resets_end_their_connection_and_no_other() {
    let server = start(Http2::default()).await;
    let attack: Vec<u8> = streams(5_000)
        .flat_map(|stream| [headers(stream, ECHO, &[]), rst_stream(stream, code::CANCEL)].concat())
        .collect();
    let mut good = Connection::open(server.grpc).await;
    let mut slowest = Duration::ZERO;
    for stream in streams(times(10, 200)) {
        let mut bad = Connection::open(server.grpc).await;
        let begin = std::time::Instant::now();
        let (goaway, answer) = tokio::join!(
            within(
                Duration::from_secs(5),
                "GOAWAY",
                goaway_after(&mut bad, &attack)
            ),
            async {
                let answer = soon("an answer", good.call(stream, ECHO, b"")).await;
                slowest = slowest.max(begin.elapsed());
                answer.unwrap()
            },
        );
        assert_eq!(goaway, code::ENHANCE_YOUR_CALM);
        assert_eq!(answer.status(), Some(0));
    }
    if is_timed() {
        assert!(
            slowest < Duration::from_millis(50),
            "a good caller waited {slowest:?}"
        );
    }
}

/// C4.
#[tokio::test]
async fn making_the_server_reset_ends_the_connection() {
    let server = start(Http2::default()).await;
    let with_connection_header: Vec<u8> = streams(5_000)
        .flat_map(|stream| headers(stream, ECHO, &[("connection", "close")]))
        .collect();
    let with_too_large_a_window: Vec<u8> = streams(5_000)
        .flat_map(|stream| {
            [
                headers(stream, ECHO, &[]),
                window_update(stream, u32::MAX >> 1),
            ]
            .concat()
        })
        .collect();
    for attack in [with_connection_header, with_too_large_a_window] {
        let mut peer = Connection::open(server.grpc).await;
        peer.send(&attack).await;
        let frames = soon("the end of the connection", peer.rest()).await;
        let goaway = frames.iter().find(|frame| frame.kind == kind::GOAWAY);
        assert_eq!(goaway.expect("GOAWAY").code(), code::ENHANCE_YOUR_CALM);
        let resets = frames
            .iter()
            .filter(|frame| frame.kind == kind::RST_STREAM)
            .count();
        assert!(
            resets <= Http2::default().max_error_resets,
            "{resets} resets"
        );
    }
}

/// C4, too: here one is enough.
#[tokio::test]
async fn an_empty_window_update_ends_the_connection() {
    let server = start(Http2::default()).await;
    let mut peer = Connection::open(server.grpc).await;
    let frames = [headers(1, ECHO, &[]), window_update(1, 0)].concat();
    assert_eq!(goaway_after(&mut peer, &frames).await, code::PROTOCOL_ERROR);
}

/// C5. What such a peer costs is measured in a process of its own.
#[tokio::test]
async fn frames_that_carry_nothing_cost_nothing() {
    let server = Process::start("").await;
    let count = times(50_000, 1_000_000);
    let empty = |kind| frame(kind, flag::NONE, 1, &[]);
    let open = headers(1, HOLD, &[]);
    let begun = frame(kind::HEADERS, flag::NONE, 1, &header_block(ECHO, &[]));
    let attacks = [
        ("PING", vec![], ping([7; 8])),
        ("SETTINGS", vec![], settings(&[(4, 65_535)])),
        (
            "PRIORITY",
            vec![],
            frame(kind::PRIORITY, flag::NONE, 1, &[0, 0, 0, 3, 9]),
        ),
        ("WINDOW_UPDATE", vec![], window_update(0, 1)),
        ("CONTINUATION", begun.clone(), empty(kind::CONTINUATION)),
        (
            "CONTINUATION of a byte",
            begun,
            frame(kind::CONTINUATION, flag::NONE, 1, &[0]),
        ),
        ("empty DATA", open.clone(), empty(kind::DATA)),
        ("DATA of a byte", open, data(1, &[0], false)),
    ];
    // What the first connection ever costs is not the attack's.
    let mut good = Connection::open(server.grpc).await;
    soon("an answer", good.call(1, ECHO, b"")).await.unwrap();
    let memory = server.peak_memory();
    for (index, (name, first, then)) in attacks.into_iter().enumerate() {
        let before = server.processor_time();
        let mut peer = Connection::open(server.grpc).await;
        peer.send(&first).await;
        let batch = then.repeat(1000);
        for _ in 0..count / 1000 {
            peer.send(&batch).await;
        }
        // Either it is closed by now or everything has been taken.
        let _ = soon("the end of the flood", peer.round_trip()).await;
        drop(peer);
        let cost = server.processor_time() - before;
        if is_timed() {
            assert!(cost <= Duration::from_millis(300), "{name}: {cost:?}");
        }
        let stream = 2 * u32::try_from(index).unwrap() + 3;
        let answer = soon("an answer", good.call(stream, ECHO, b""))
            .await
            .unwrap();
        assert_eq!(answer.status(), Some(0), "after {name}");
        let grown = server.peak_memory().saturating_sub(memory);
        assert!(grown <= 4 << 20, "{name}: {grown} bytes more");
    }
}

/// C6: what is answered and not read waits with the peer, not with us.
#[tokio::test]
async fn answers_that_nobody_reads_do_not_pile_up() {
    let server = Process::start("").await;
    let mut good = Connection::open(server.grpc).await;
    soon("an answer", good.call(1, ECHO, b"")).await.unwrap();
    let memory = server.peak_memory();

    let mut deaf = Connection::open_deaf(server.grpc).await;
    let call = |stream| {
        let body = data(stream, &message(b"hello"), true);
        [headers(stream, ECHO, &[]), body].concat()
    };
    let calls: Vec<u32> = streams(times(50_000, 1_000_000)).collect();
    for calls in calls.chunks(1000) {
        let calls: Vec<u8> = calls.iter().flat_map(|stream| call(*stream)).collect();
        let pause = Duration::from_millis(500);
        // No longer taken: the server waits for us to read, which is as it should be.
        if tokio::time::timeout(pause, deaf.send(&calls))
            .await
            .is_err()
        {
            break;
        }
    }

    let answer = soon("an answer", good.call(3, ECHO, b"")).await.unwrap();
    assert_eq!(answer.status(), Some(0));
    let grown = server.peak_memory() - memory;
    assert!(grown <= 8 << 20, "{grown} bytes more");
}

/// C7.
#[tokio::test]
async fn calls_beyond_the_limit_of_a_connection_are_refused() {
    let limit = 10;
    let server = start(Http2 {
        max_concurrent_streams: limit,
        ..Http2::default()
    })
    .await;
    let mut peer = Connection::open(server.grpc).await;
    let settings = soon("SETTINGS", peer.next_of(kind::SETTINGS))
        .await
        .unwrap();
    assert_eq!(settings.setting(3), Some(limit));
    soon("a round trip", peer.round_trip()).await.unwrap();

    let calls: Vec<u8> = streams(limit + 5)
        .flat_map(|stream| headers(stream, HOLD, &[]))
        .collect();
    peer.send(&calls).await;
    for stream in streams(limit + 5).skip(10) {
        let refused = soon("a refusal", peer.next_of(kind::RST_STREAM))
            .await
            .unwrap();
        assert_eq!(
            (refused.stream, refused.code()),
            (stream, code::REFUSED_STREAM)
        );
    }
    server.notes.running(10).await;
}

/// C7.
#[tokio::test]
async fn tens_of_thousands_of_open_calls_do_not_pile_up() {
    let server = Process::start("").await;
    let mut good = Connection::open(server.grpc).await;
    soon("an answer", good.call(1, ECHO, b"")).await.unwrap();
    let memory = server.peak_memory();

    let mut greedy = Connection::open(server.grpc).await;
    let calls: Vec<u32> = streams(times(10_000, 50_000)).collect();
    for calls in calls.chunks(1000) {
        let calls: Vec<u8> = calls
            .iter()
            .flat_map(|stream| headers(*stream, HOLD, &[]))
            .collect();
        greedy.send(&calls).await;
    }
    // It may have been closed for its insistence.
    let _ = soon("all calls to be taken", greedy.round_trip()).await;

    let answer = soon("an answer", good.call(3, ECHO, b"")).await.unwrap();
    assert_eq!(answer.status(), Some(0));
    let grown = server.peak_memory() - memory;
    assert!(grown <= 8 << 20, "{grown} bytes more");
}

/// C7.
#[tokio::test]
async fn metadata_over_the_limit_reach_no_handler() {
    let server = start(Http2::default()).await;
    let mut peer = Connection::open(server.grpc).await;
    let long = "x".repeat(17 * 1024);
    let block = header_block(ECHO, &[("long", &long)]);
    let (first, rest) = block.split_at(16 * 1024);
    peer.send(&frame(kind::HEADERS, flag::NONE, 1, first)).await;
    peer.send(&frame(kind::CONTINUATION, flag::END_HEADERS, 1, rest))
        .await;
    let answer = soon("an answer", peer.answer(1)).await.unwrap();
    assert_eq!(answer.header(":status"), Some("431"));
    assert!(server.notes.calls.lock().unwrap().is_empty());

    let answer = soon("an answer", peer.call(3, ECHO, b"")).await.unwrap();
    assert_eq!(answer.status(), Some(0));
}
