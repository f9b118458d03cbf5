//! A process without a file left.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::{
    http2::{Connection, kind},
    process::{Process, allow_files},
    server::ECHO,
    soon, within,
};

/// C11.
#[tokio::test]
async fn a_full_file_table_stops_neither_the_served_nor_those_to_come() {
    allow_files();
    let files = 40;
    let server = Process::start_with_files("handshake_timeout = '60s'", files).await;
    let mut first = Connection::open(server.grpc).await;
    soon("an answer", first.call(1, ECHO, b"")).await.unwrap();
    let mut connections = Vec::new();
    for _ in 0..60 {
        connections.push(Connection::open(server.grpc).await);
    }
    // The next to be accepted would be one too many.
    while server.files() < usize::try_from(files).unwrap() {
        soon("an answer", first.round_trip()).await.unwrap();
    }

    let (before, begin) = (server.processor_time(), Instant::now());
    sleep(Duration::from_secs(1)).await;
    let share = (server.processor_time() - before).div_duration_f64(begin.elapsed());
    assert!(
        share < 0.2,
        "{share} of a core while there was nothing to do"
    );
    let answer = soon("an answer", first.call(3, ECHO, b"")).await.unwrap();
    assert_eq!(answer.status(), Some(0));

    let mut waiting = connections.pop().unwrap();
    connections.drain(..50);
    let second = Duration::from_secs(1);
    let settings = waiting.next_of(kind::SETTINGS);
    within(second, "the one that waited to be accepted", settings)
        .await
        .unwrap();
}
