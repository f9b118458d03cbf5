//! What a trace tells of a file that has to wait.

use std::sync::Arc;

use easemob_gateway::trace::Queue;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use prost::Message as _;

use super::{file, file_ref, get, start_with};

/// Of a second's quota for one call, the first takes all: those after it wait.
#[tokio::test]
async fn the_wait_for_a_turn_is_an_event() {
    let spans = Arc::new(Queue::new(100));
    let started = start_with(|setup| {
        setup
            .app(|app| app.quota.files.calls_per_second = 1)
            .traced(&spans)
    })
    .await;
    started.upload(file("1.txt", b"first")).await.unwrap();
    let second = started.upload(file("2.txt", b"second")).await.unwrap();
    let download = started.download(get(&file_ref(&second))).await.unwrap();
    assert_eq!(download.bytes, b"second");
    started.gateway.drained().await;

    let batches = std::iter::from_fn(|| spans.take());
    let spans: Vec<Span> = batches
        .flat_map(|batch| ScopeSpans::decode(&*batch.bytes).unwrap().spans)
        .collect();
    let waits = |name: &str| -> Vec<usize> {
        let named = spans.iter().filter(|span| span.name == name);
        let waits = |span: &Span| {
            let events = span.events.iter();
            events.filter(|event| event.name == "quota.waited").count()
        };
        named.map(waits).collect()
    };
    assert_eq!(waits("upload file"), [0, 1]);
    assert_eq!(waits("download file"), [1]);
}
