//! What a trace tells of a request ID and of what is tried again.

use std::sync::Arc;

use easemob_gateway::trace::Queue;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span, span::SpanKind};
use prost::Message as _;

use super::{says, send, under_way};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::Setup,
    metrics::Page,
};

fn events(span: &Span) -> Vec<&str> {
    span.events.iter().map(|event| &*event.name).collect()
}

/// Those of RPCs, and of parts.
fn by_kind(queue: &Queue) -> [Vec<Span>; 2] {
    let batches = std::iter::from_fn(|| queue.take());
    let spans: Vec<_> = batches
        .flat_map(|batch| ScopeSpans::decode(&*batch.bytes).unwrap().spans)
        .collect();
    [SpanKind::Server, SpanKind::Internal].map(|kind| {
        let of_kind = spans.iter().filter(|span| span.kind() == kind);
        let named =
            of_kind.filter(|span| span.name.ends_with("SendMessage") || span.name == "send part");
        named.cloned().collect()
    })
}

#[tokio::test]
async fn a_record_that_changes_is_an_event_and_a_repeat_links_to_the_run_it_waits_for() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    let spans = Arc::new(Queue::new(100));
    let gateway = Setup::at(easemob.url()).traced(&spans).start().await;
    let client = gateway.client().await;
    // Which also fetches the token.
    send(&client, says("", "without an ID")).await.unwrap();
    easemob.on_send(Script::read().wait(&gate).answer(400, ""));
    let first = under_way(&easemob, &client, says("1", "once")).await;
    let repeat = {
        let client = client.clone();
        tokio::spawn(async move { send(&client, says("1", "once")).await })
    };
    Page::until(&gateway, "the repeat waits", |page| {
        page.count(
            "easemob_gateway_request_ids_total",
            &[("outcome", "joined")],
        ) == 1.0
    })
    .await;
    gate.open();
    first.await.unwrap().unwrap_err();
    repeat.await.unwrap().unwrap();
    send(&client, says("1", "once")).await.unwrap();
    gateway.drained().await;

    let [rpcs, parts] = by_kind(&spans);
    let [without, first, repeat, replay] = &rpcs[..] else {
        panic!("{rpcs:#?}");
    };
    assert!(without.events.is_empty());
    assert_eq!(events(first), ["request_id.claimed"]);
    // What the first did not send, it sends.
    assert_eq!(events(repeat), ["request_id.joined", "request_id.claimed"]);
    assert_eq!(events(replay), ["request_id.replayed"]);
    let [link] = &repeat.links[..] else {
        panic!("{repeat:#?}");
    };
    assert_eq!(link.span_id, first.span_id);
    assert_eq!(link.trace_id, first.trace_id);
    assert!(first.links.is_empty() && replay.links.is_empty());
    for part in &parts[1..] {
        assert_eq!(events(part), ["request_id.dispatched"]);
    }
    assert_eq!(parts.len(), 3);
}

#[tokio::test]
async fn each_pause_before_another_attempt_is_an_event() {
    let easemob = Easemob::start();
    let spans = Arc::new(Queue::new(100));
    let gateway = Setup::at(easemob.url()).traced(&spans).start().await;
    let client = gateway.client().await;
    send(&client, says("", "before")).await.unwrap();
    easemob.down();
    send(&client, says("1", "while down")).await.unwrap_err();
    gateway.drained().await;

    let [_, parts] = by_kind(&spans);
    let released = [
        "request_id.dispatched",
        "request_id.released",
        "retry.backoff",
    ];
    let [first, second] = [released, released];
    let all = [&first[..], &second, &released[..1]].concat();
    assert_eq!(events(parts.last().unwrap()), all, "{parts:#?}");
}
