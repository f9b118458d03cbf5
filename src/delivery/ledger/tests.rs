//! Runs that end in every way, with time paused. A process that is killed runs no destructor and tells
//! nobody: what it holds is forgotten here.

use std::{mem::forget, pin::pin};

use smallvec::smallvec;

use super::*;
use crate::{
    app,
    delivery::Outcome,
    easemob::{Accepted, FirstByte, Kind},
    invalid::Violations,
    proto::{self, message::Content, message::Target},
    store::{self, Memory},
};

/// Longer than any lease.
const LONG: Duration = Duration::from_hours(25);
const ATTEMPT: Duration = Duration::from_secs(20);

struct Bench {
    store: Records,
    request: Request,
    message: Message,
    closing: CancellationToken,
    seen: RequestIds,
}

impl Bench {
    fn new() -> Self {
        Self::to(&["bob", "Amy"])
    }

    fn to(users: &[&str]) -> Self {
        let violations = Violations::default();
        let config = app::Config {
            base_url: "http://127.0.0.1:1".into(),
            org_name: Some("o".into()),
            app_name: Some("a".into()),
            client_id: "id".into(),
            client_secret: Some("secret".into()),
            ..app::Config::default()
        };
        let app = App::new("shop", &config, violations.root()).expect("right settings");
        let message = proto::Message {
            target: Some(Target::Users(proto::Users {
                user_ids: users.iter().map(|user| (*user).to_owned()).collect(),
            })),
            content: Some(Content::Text(proto::TextContent { text: "hi".into() })),
            ..Default::default()
        };
        let message = Message::check(message, &app, violations.root()).expect("a right message");
        let id = RequestId::check("1".into(), violations.root());
        let id = id.flatten().expect("a right ID");
        let store = Records::new(Arc::new(Store::Memory(Memory::new(
            &store::Config::default(),
        ))));
        Self {
            request: Request::of_message(&message, &app, store.key("", &app.name, &id), &store),
            store,
            message,
            closing: CancellationToken::new(),
            seen: crate::metrics::Registry::unexported()
                .unwrap()
                .metrics()
                .request_ids("shop"),
        }
    }

    async fn begin_within(&self, time: Duration) -> Start {
        let answer_by = Instant::now() + time;
        let start = self
            .request
            .begin(&self.store, answer_by, &self.closing, &self.seen);
        start.await.unwrap()
    }

    async fn run(&self) -> Run {
        match self.begin_within(LONG).await {
            Start::Run(run, _) => run,
            other => panic!("nothing to send: {other:?}"),
        }
    }

    async fn states(&self) -> Vec<State> {
        match self.begin_within(LONG).await {
            Start::Settled(record) => record.recipients,
            other => panic!("not settled: {other:?}"),
        }
    }

    /// A repeat may send everything.
    async fn assert_unsent(&self) {
        let run = self.run().await;
        let held = run.hold(smallvec![0, 1], FirstByte::default());
        held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
    }
}

fn failure(kind: Kind) -> Failure {
    easemob::Error::new(kind, "as scripted").into()
}

/// How far a run comes before its process is killed.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Claimed,
    Held,
    Dispatched,
    Refused,
    DispatchedAgain,
    Answered,
}

async fn run_up_to(bench: &Bench, stage: Stage) {
    let run = bench.run().await;
    if let Stage::Claimed = stage {
        return forget(run);
    }
    let held = run.hold(smallvec![0, 1], FirstByte::default());
    'killed: {
        if let Stage::Held = stage {
            break 'killed;
        }
        held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
        if let Stage::Dispatched | Stage::Answered = stage {
            break 'killed;
        }
        held.release(&failure(Kind::TokenRefused)).await.unwrap();
        if let Stage::Refused = stage {
            break 'killed;
        }
        held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
    }
    forget((run, held));
}

/// D3, where the record outlives the process.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_is_made_up_for_if_and_only_if_it_had_not_dispatched() {
    for stage in [Stage::Claimed, Stage::Held, Stage::Refused] {
        println!("{stage:?}");
        let bench = Bench::new();
        run_up_to(&bench, stage).await;
        bench.assert_unsent().await;
    }
    for stage in [Stage::Dispatched, Stage::DispatchedAgain, Stage::Answered] {
        println!("{stage:?}");
        let bench = Bench::new();
        run_up_to(&bench, stage).await;
        assert_eq!(bench.states().await, [State::Unknown, State::Unknown]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_early_leaves_what_is_true_at_once() {
    let begin = Instant::now();
    let bench = Bench::new();
    drop(bench.run().await);
    let run = bench.run().await;
    let held = run.hold(smallvec![0, 1], FirstByte::default());
    held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
    drop((held, run));
    bench.assert_unsent().await;

    let bench = Bench::new();
    let run = bench.run().await;
    let held = run.hold(smallvec![0], FirstByte::of_a_request_under_way());
    held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
    drop((held, run));
    let Start::Run(_, Some(record)) = bench.begin_within(LONG).await else {
        panic!("one is left");
    };
    let claimed = State::Claimed { doubt: false };
    assert_eq!(record.recipients, [State::Unknown, claimed]);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

/// It counts as dispatched from the start, and what ends before the socket is given back all the same.
#[tokio::test(start_paused = true)]
async fn a_run_to_one_recipient_that_ends_early_leaves_what_is_true_at_once() {
    let bench = Bench::to(&["bob"]);
    drop(bench.run().await);
    let run = bench.run().await;
    drop(run.hold(smallvec![0], FirstByte::default()));
    drop(run);

    let run = bench.run().await;
    let held = run.hold(smallvec![0], FirstByte::default());
    held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
    held.release(&failure(Kind::TokenRefused)).await.unwrap();
    drop((held, run));

    let run = bench.run().await;
    let held = run.hold(smallvec![0], FirstByte::of_a_request_under_way());
    held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
    drop((held, run));
    assert_eq!(bench.states().await, [State::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_kept_while_its_run_waits() {
    let bench = Bench::new();
    let run = bench.run().await.renewing();
    let repeat = async {
        let Start::Running(_) = bench.begin_within(LONG - Duration::from_secs(1)).await else {
            panic!("it is kept");
        };
    };
    let wait = pin!(tokio::time::sleep(LONG));
    tokio::join!(run.keep(wait), repeat);
    let held = run.hold(smallvec![0, 1], FirstByte::default());
    held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_stood_still_for_too_long_sends_nothing() {
    let bench = Bench::new();
    let run = bench.run().await;
    let held = run.hold(smallvec![0, 1], FirstByte::default());
    tokio::time::sleep(UNSHARED_LEASE).await;
    let failure = held.dispatch(Instant::now(), ATTEMPT).await.unwrap_err();
    assert!(failure.may_have_been_sent(), "another may have taken over");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_wait_for_another_run() {
    let bench = Bench::new();
    let _run = bench.run().await;
    bench.closing.cancel();
    let start = bench.begin_within(LONG).await;
    assert!(matches!(start, Start::Running(_)));
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_remembered_as_they_were_told() {
    let accepted: Outcome = Ok(Accepted {
        message_ids: vec![Some("7".into()), None],
        timestamp_ms: Some(1),
    });
    let bench = Bench::new();
    let run = bench.run().await;
    let held = run.hold(smallvec![1, 0], FirstByte::default());
    held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
    held.settle(&accepted).await;
    let start = bench.begin_within(LONG).await;
    let sent = start.remaining(&mut bench.message.target.clone());
    assert!(sent.run.is_none() && sent.known.replayed);
    let [accepted] = &*sent.known.accepted else {
        panic!("one is accepted: {:?}", sent.known);
    };
    // The place is that of the order in which case does not count.
    assert_eq!(
        (accepted.recipient.as_str(), &*accepted.message_id),
        ("bob", "7")
    );
    let [failed] = &*sent.known.failures else {
        panic!("one failed: {:?}", sent.known);
    };
    assert_eq!(failed.recipients[0].as_str(), "Amy");
    assert!(failed.failure.may_have_been_sent());

    let bench = Bench::new();
    let run = bench.run().await;
    let held = run.hold(smallvec![0, 1], FirstByte::default());
    held.dispatch(Instant::now(), ATTEMPT).await.unwrap();
    held.settle(&Err(failure(Kind::InvalidRequest))).await;
    drop(run);
    bench.assert_unsent().await;
}
