//! What connections cost in memory, measured on a server in a process of its own.

use easemob_gateway::server::Http2;

use crate::support::{
    http2::{Connection, code, data, headers, kind},
    process::{Process, allow_files},
    server::{ECHO, HOLD},
    soon, times,
};

const MIB: u64 = 1 << 20;

async fn started() -> (Process, u64) {
    allow_files();
    let server = Process::start("").await;
    // What the first call ever costs comes before the count.
    let mut first = Connection::open(server.grpc).await;
    soon("an answer", first.call(1, ECHO, b"")).await.unwrap();
    let memory = server.peak_memory();
    (server, memory)
}

/// A call whose window is full, with a quarter of the connection's, and that is never read.
fn filled(stream: u32) -> Vec<u8> {
    let frames = data(stream, &[7; 16 * 1024], false).repeat(4);
    [headers(stream, HOLD, &[]), frames].concat()
}

/// M1.
#[tokio::test]
async fn a_thousand_idle_connections_take_twenty_mebibytes_at_most() {
    let (server, memory) = started().await;
    let mut idle = Vec::new();
    for _ in 0..999 {
        let mut connection = Connection::open(server.grpc).await;
        soon("a round trip", connection.round_trip()).await.unwrap();
        idle.push(connection);
    }
    let grown = server.peak_memory() - memory;
    assert!(grown <= 20 * MIB, "{grown} bytes more");
}

/// M2: what a window holds may come, and not a byte more.
#[tokio::test]
async fn a_caller_that_sends_beyond_a_window_is_closed() {
    let (server, _) = started().await;
    let windows = Http2::default();
    let mut caller = Connection::open(server.grpc).await;
    let settings = soon("SETTINGS", caller.next_of(kind::SETTINGS))
        .await
        .unwrap();
    assert_eq!(settings.setting(4), Some(windows.stream_window_bytes));
    // The connection's own window is wide once its WINDOW_UPDATE has come.
    soon("a round trip", caller.round_trip()).await.unwrap();
    for stream in [1, 3, 5, 7] {
        caller.send(&filled(stream)).await;
    }
    soon("a round trip", caller.round_trip()).await.unwrap();

    caller.send(&headers(9, HOLD, &[])).await;
    caller.send(&data(9, &[7], false)).await;
    let goaway = soon("GOAWAY", caller.next_of(kind::GOAWAY)).await.unwrap();
    assert_eq!(goaway.code(), code::FLOW_CONTROL_ERROR);
}

/// M2.
#[tokio::test]
async fn what_is_not_read_is_bounded_by_the_connection_window() {
    let (server, memory) = started().await;
    let connections = times(40, 200);
    let mut full = Vec::new();
    for _ in 0..connections {
        let mut connection = Connection::open(server.grpc).await;
        soon("a round trip", connection.round_trip()).await.unwrap();
        // 256 KiB in four calls of 64 KiB, less one byte, that are never read.
        for stream in [1, 3, 5, 7] {
            connection.send(&headers(stream, HOLD, &[])).await;
            for _ in 0..4 {
                connection
                    .send(&data(stream, &[7; 16 * 1024 - 1], false))
                    .await;
            }
        }
        soon("a round trip", connection.round_trip()).await.unwrap();
        full.push(connection);
    }
    let grown = server.peak_memory() - memory;
    // Buffers are allocated a little larger than what they hold.
    let bound = u64::from(connections) * MIB / 4 * 5 / 4 + 4 * MIB;
    assert!(grown <= bound, "{grown} bytes more, {bound} at most");
}
