//! What files cost the gateway in memory: the real binary, in a process of its own.

use std::time::Duration;

use bytes::Bytes;
use easemob_gateway::{
    proto::upload_file_request::Part,
    sandbox::{self, Keep, Pace, Sandbox},
};
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Endpoint;

use super::{KIB, LONG, MIB, file, finish, header_with, sized, upload, upload_stream};
use crate::support::{binary::Binary, ledger::Client, soak};

/// A gateway with a sandbox that keeps no files, and the memory that it has taken once it is warm.
async fn started(media: &str) -> (Sandbox, Binary, u64) {
    let config = sandbox::Config {
        file_bytes: 0,
        // What Easemob's system takes in is no concern of ours; with much of it, nothing would stall.
        receive_buffer: Some(64 * KIB),
        keep: Keep {
            largest_file: 0,
            ..Keep::default()
        },
        ..sandbox::Config::for_tests()
    };
    let easemob = Sandbox::start(config).unwrap();
    let settings = format!(
        "[media]\n{media}\n\
         [apps.shop]\nbase_url = '{}'\norg_name = 'sandbox'\napp_name = 'demo'\n\
         client_id = 'sandbox-client-id'\nclient_secret_env = 'SHOP_SECRET'\n\
         [apps.shop.limits]\nupload_bytes = 0\n",
        easemob.base_url()
    );
    let secret = [("SHOP_SECRET", "sandbox-client-secret")];
    let gateway = Binary::serve(&settings, &secret).await;
    // What the first calls ever cost comes before the count.
    for _ in 0..4 {
        let client = gateway.client().await;
        upload(&client, file("warm", &[7; MIB])).await.unwrap();
    }
    easemob.clear_uploads();
    let memory = gateway.peak_memory();
    (easemob, gateway, memory)
}

/// A client that has as much on its way as the gateway lets it.
async fn client(gateway: &Binary) -> Client {
    let endpoint = Endpoint::try_from(format!("http://{}", gateway.grpc)).unwrap();
    Client::new(endpoint.connect().await.unwrap(), [], "")
}

fn parts(size: usize, chunk_size: usize) -> impl Stream<Item = Part> + Send + 'static {
    let bytes = Bytes::from(vec![7; chunk_size]);
    let chunks = std::iter::repeat_n(bytes, size / chunk_size).map(Part::Chunk);
    tokio_stream::once(header_with("a", sized(size as u64)))
        .chain(tokio_stream::iter(chunks))
        .chain(tokio_stream::once(finish()))
}

/// M3: a crowd of uploads takes little each, HTTP/2 windows included, while Easemob stands still.
async fn a_stalled_crowd(chunk_size: usize, per_connection: usize) {
    const CROWD: usize = 100;
    const EACH: usize = 512 * KIB;
    let (easemob, gateway, before) = started("stall_timeout = '60s'").await;
    easemob.set_upload_pace(Pace::Stopped);
    let mut uploads = JoinSet::new();
    for _ in 0..CROWD / per_connection {
        let client = client(&gateway).await;
        for _ in 0..per_connection {
            let client = client.clone();
            uploads.spawn(async move {
                let parts = parts(10 * MIB, chunk_size);
                upload_stream(&client, parts).await
            });
        }
    }
    let begun = easemob.wait_for_uploads(CROWD, |_| true, LONG);
    assert!(begun.await, "{}", easemob.uploads().len());
    // It grows until all that can be held is held: until it has not grown for a second.
    let mut peak = 0;
    while peak < gateway.peak_memory() {
        peak = gateway.peak_memory();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let grown = peak.saturating_sub(before);
    println!(
        "{CROWD} uploads in chunks of {chunk_size}, {per_connection} a connection: {} KiB",
        grown / 1024
    );
    assert!(grown < (CROWD * EACH) as u64, "{} KiB", grown / 1024);
    // None of them has failed meanwhile.
    assert!(uploads.try_join_next().is_none());
}

#[tokio::test]
async fn a_hundred_stalled_uploads_take_little_memory() {
    a_stalled_crowd(64 * KIB, 10).await;
}

#[tokio::test]
async fn a_hundred_stalled_uploads_in_large_chunks_take_little_memory() {
    a_stalled_crowd(256 * KIB, 10).await;
}

#[tokio::test]
async fn a_hundred_stalled_uploads_on_connections_of_their_own_take_little_memory() {
    a_stalled_crowd(64 * KIB, 1).await;
}

#[tokio::test]
async fn a_hundred_stalled_uploads_in_large_chunks_on_connections_of_their_own_take_little_memory()
{
    a_stalled_crowd(256 * KIB, 1).await;
}

async fn a_huge_file(pace: Pace, size: usize) {
    let (easemob, gateway, before) = started("").await;
    easemob.set_upload_pace(pace);
    let client = client(&gateway).await;
    let stored = upload_stream(&client, parts(size, 256 * KIB)).await;
    assert_eq!(stored.unwrap().size_bytes, size as u64);
    let grown = gateway.peak_memory().saturating_sub(before);
    println!("{size} bytes at {pace:?}: {} KiB", grown / 1024);
    assert!(grown < 8 * MIB as u64, "{} KiB", grown / 1024);
}

#[tokio::test]
async fn a_huge_file_takes_no_more_memory_than_a_small_one() {
    a_huge_file(Pace::Full, if soak() { 1024 * MIB } else { 64 * MIB }).await;
}

#[tokio::test]
async fn a_huge_file_takes_no_more_memory_when_easemob_is_slow() {
    let (rate, size) = if soak() {
        (16_000_000, 1024 * MIB)
    } else {
        (8_000_000, 32 * MIB)
    };
    a_huge_file(Pace::BytesPerSecond(rate), size).await;
}
