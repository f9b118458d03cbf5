//! One app's Easemob takes calls and never answers: the others have their places all the same.

use std::time::{Duration, Instant};

use easemob_gateway::{app::Timeouts, proto::SendMessageRequest};
use tokio::{sync::mpsc, task::JoinSet, time::interval};
use tonic::{Code, Request};

use super::{for_app, two_apps};
use crate::support::{
    easemob::{Easemob, Script},
    gateway::{Setup, TestGateway},
    is_timed,
    request::verdict,
    soon, times,
};

/// Calls at once that a connection takes.
const STREAMS: usize = 100;

/// With the bounds that everybody has, and shards enough that one app's queues on them have more room than
/// the process has places.
fn four_shards(silent: &Easemob, other: &Easemob) -> Setup {
    silent.always_on_send(Script::read().silence());
    two_apps(silent.url(), other.url())
        .server(|server| server.shards = std::num::NonZeroUsize::new(4))
        .app(|app| {
            app.timeouts = Timeouts {
                attempt: Duration::from_secs(60),
                call: Duration::from_secs(60),
                ..Timeouts::default()
            }
        })
}

fn patient(request: SendMessageRequest) -> Request<SendMessageRequest> {
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(60));
    request
}

/// So many calls at once whose answers are not waited for; tells of those that are refused.
async fn flood(gateway: &TestGateway, count: usize) -> (JoinSet<()>, mpsc::UnboundedReceiver<()>) {
    let (refused, refusals) = mpsc::unbounded_channel();
    let mut calls = JoinSet::new();
    for _ in 0..count.div_ceil(STREAMS) {
        let client = gateway.client().await;
        for _ in 0..STREAMS {
            let (mut client, refused) = (client.clone(), refused.clone());
            calls.spawn(async move {
                let status = client
                    .send_message(patient(for_app("shop")))
                    .await
                    .unwrap_err();
                let expected = ("OVERLOADED".to_owned(), "NOT_SENT".to_owned());
                assert_eq!(verdict(&status), expected);
                assert_eq!(status.code(), Code::ResourceExhausted);
                refused.send(()).unwrap();
            });
        }
    }
    (calls, refusals)
}

#[tokio::test]
async fn an_app_whose_easemob_is_silent_takes_no_place_of_another() {
    let (silent, other) = (Easemob::start(), Easemob::start());
    let gateway = four_shards(&silent, &other).start().await;
    // Of 512 places in all, 64 are nobody's; it may have 112 of its own and 224 that are common.
    const HELD: usize = 336;
    let (_calls, mut refusals) = flood(&gateway, 1_500).await;
    soon("all but those that fit are refused", async {
        for _ in 0..1_500 - HELD {
            refusals.recv().await.unwrap();
        }
    })
    .await;

    let client = gateway.client().await;
    for _ in 0..10 {
        let mut calls = JoinSet::new();
        // As many at once as it has places of its own.
        for _ in 0..STREAMS {
            let mut client = client.clone();
            calls.spawn(async move { client.send_message(for_app("support")).await });
        }
        for result in calls.join_all().await {
            result.unwrap();
        }
    }
    assert_eq!(other.seen().sends.len(), 1_000);
}

/// 500 calls a second to the silent one, 100 to the other, each of which succeeds. A soak tells the figure.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn beside_a_silent_app_another_is_as_fast_as_alone() {
    let (silent, other) = (Easemob::start(), Easemob::start());
    let gateway = four_shards(&silent, &other).start().await;
    let alone = percentile_99(&gateway, Duration::from_secs(times(1, 10).into())).await;
    let noise = {
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(gateway.client().await);
        }
        tokio::spawn(async move {
            let mut calls = JoinSet::new();
            let mut ticks = interval(Duration::from_millis(2));
            for turn in 0.. {
                ticks.tick().await;
                let mut client = clients[turn % clients.len()].clone();
                calls.spawn(async move { client.send_message(for_app("shop")).await.is_ok() });
                while calls.try_join_next().is_some() {}
            }
        })
    };
    let beside = percentile_99(&gateway, Duration::from_secs(times(2, 20).into())).await;
    noise.abort();
    println!("p99 alone {alone:?}, beside a silent app {beside:?}");
    if is_timed() {
        assert!(beside <= alone.mul_f64(1.5), "{beside:?}, alone {alone:?}");
    }
}

/// Of calls to the other app, 100 a second, each of which succeeds.
async fn percentile_99(gateway: &TestGateway, time: Duration) -> Duration {
    let client = gateway.client().await;
    let mut calls = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(10));
    let begin = Instant::now();
    while begin.elapsed() < time {
        ticks.tick().await;
        let mut client = client.clone();
        calls.spawn(async move {
            let begin = Instant::now();
            client.send_message(for_app("support")).await.unwrap();
            begin.elapsed()
        });
    }
    let mut took = calls.join_all().await;
    took.sort_unstable();
    took[took.len() * 99 / 100]
}
