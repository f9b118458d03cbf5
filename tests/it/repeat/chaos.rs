//! Everything at once: an Easemob that fails in every way, callers with and without patience, and a mesh
//! that repeats what it may. In the end nobody has a message twice, and whoever was told that nothing
//! was sent is right.

use std::{sync::Arc, time::Duration};

use easemob_gateway::{
    app::Timeouts,
    proto::{SendMessageRequest, SendMessageResponse},
};
use fastrand::Rng;
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tonic::{Code, Request, Status};

use super::says;
use crate::support::{
    easemob::Easemob,
    gateway::Setup,
    ledger::Client,
    metrics::Page,
    request::{is_own_timer, verdict},
    soak,
};

/// How often a mesh repeats by itself, and what.
const MESH_REPEATS: usize = 2;

/// What the service knows in the end. That it is right is for Easemob's ledger to tell.
#[derive(Clone, Copy)]
enum Told {
    Accepted,
    NotSent,
    MaybeSent,
}

impl Told {
    fn of(result: &Result<SendMessageResponse, Status>) -> Self {
        match result {
            Ok(response) => {
                assert_eq!((response.accepted.len(), response.failures.len()), (1, 0));
                Self::Accepted
            }
            // No word of the gateway.
            Err(status) if status.details().is_empty() => Self::MaybeSent,
            Err(status) => match &*verdict(status).1 {
                "NOT_SENT" => Self::NotSent,
                _ => {
                    assert_eq!(status.code(), Code::Unknown);
                    Self::MaybeSent
                }
            },
        }
    }
}

/// One send, as a mesh makes it of what its caller asks for.
async fn through_the_mesh(
    client: &Client,
    request: &SendMessageRequest,
    time: Option<Duration>,
) -> Result<SendMessageResponse, Status> {
    let mut repeats = 0;
    loop {
        let mut request = Request::new(request.clone());
        if let Some(time) = time {
            request.set_timeout(time);
        }
        let result = client.clone().send_message(request).await;
        match result {
            Err(status)
                if matches!(status.code(), Code::Unavailable | Code::Cancelled)
                    // No mesh between the two would see it.
                    && !is_own_timer(&status)
                    && repeats < MESH_REPEATS =>
            {
                repeats += 1;
            }
            result => return result.map(tonic::Response::into_inner),
        }
    }
}

/// A caller: with or without a request ID, with more or less time, and perhaps one that leaves and
/// comes back.
async fn send(client: Client, number: usize, mut rng: Rng) -> Told {
    let id = match rng.u8(..3) {
        0 => String::new(),
        _ => format!("id-{number}"),
    };
    let request = says(&id, &format!("message {number}"));
    let time = match rng.u8(..10) {
        0 => Some(Duration::from_millis(rng.u64(1..100))),
        _ => None,
    };
    // Only with an ID may a caller repeat what it does not know the end of.
    if !id.is_empty() && rng.u8(..5) == 0 {
        let patience = Duration::from_millis(rng.u64(..40));
        let _left = timeout(patience, through_the_mesh(&client, &request, time)).await;
    }
    let mut told = Told::of(&through_the_mesh(&client, &request, time).await);
    let mut repeats = if id.is_empty() { 0 } else { rng.u8(..4) };
    while repeats > 0 {
        let again = Told::of(&through_the_mesh(&client, &request, None).await);
        told = match (told, again) {
            (Told::Accepted, again) => {
                assert!(matches!(again, Told::Accepted), "it was accepted before");
                Told::Accepted
            }
            // The doubt may be over by now; a repeat never takes it back to nothing.
            (Told::MaybeSent, Told::NotSent) if time.is_none() => {
                panic!("message {number}: it was in doubt before")
            }
            (_, again) => again,
        };
        repeats -= 1;
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_nobody_has_a_message_twice() {
    let count = if soak() { 10_000 } else { 200 };
    let seed = std::env::var("CHAOS_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("CHAOS_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let easemob = Arc::new(Easemob::start());
    easemob.by_chance(rng.fork());
    let gateway = Setup::at(easemob.url())
        .app(|app| {
            app.timeouts = Timeouts {
                connect: Duration::from_millis(600),
                attempt: Duration::from_millis(300),
                call: Duration::from_millis(900),
                token: Duration::from_millis(1_500),
            };
        })
        .start()
        .await;

    let places = Arc::new(Semaphore::new(32));
    let (mut callers, mut client) = (JoinSet::new(), gateway.client().await);
    for number in 0..count {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        if number % 1_000 == 100 {
            // Refuses connections for a moment, and cuts those that there are.
            easemob.down();
            easemob.up();
        }
        if number % 16 == 0 {
            client = gateway.client().await;
        }
        let (client, rng) = (client.clone(), rng.fork());
        callers.spawn(async move {
            let told = send(client, number, rng).await;
            drop(place);
            told
        });
    }
    let all = callers.join_all().await;
    // What is on its way comes to its end, and Easemob has whatever it will ever have.
    gateway.drained().await;

    assert_eq!(easemob.seen().twice(), [""; 0]);
    let mut counts = [0; 3];
    for told in all {
        counts[told as usize] += 1;
    }
    let [accepted, not_sent, maybe_sent] = counts;
    println!("{accepted} accepted, {not_sent} not sent, {maybe_sent} maybe sent");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

/// C10.
#[tokio::test]
async fn calls_cancelled_at_any_instant_are_made_up_for_once() {
    let count = if soak() { 1_000 } else { 200 };
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url())
        .delivery(|delivery| delivery.calls_in_flight = 4)
        .start()
        .await;
    let client = gateway.client().await;
    for number in 0..count {
        let request = says(&format!("id-{number}"), &format!("message {number}"));
        let patience = Duration::from_micros(fastrand::u64(..4_000));
        let left = timeout(patience, client.clone().send_message(request.clone())).await;
        let again = client.clone().send_message(request).await;
        let again = again.unwrap().into_inner();
        if let Ok(first) = left {
            assert_eq!(first.unwrap().into_inner().accepted, again.accepted);
        }
    }
    let places =
        ["requests", "calls", "queue"].map(|what| format!("easemob_gateway_{what}_active"));
    Page::until(&gateway, "all places are free", |page| {
        places.iter().all(|place| page.get(place, &[]) == Some(0.0))
    })
    .await;
    gateway.drained().await;
    assert_eq!(easemob.seen().twice(), [""; 0]);
    assert_eq!(easemob.seen().sends.len(), count);
}
