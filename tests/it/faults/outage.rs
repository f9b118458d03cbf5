//! U12: Easemob says nothing for a while, under load, and then it is back.

use std::time::{Duration, Instant};

use easemob_gateway::{
    app::Timeouts,
    proto::{SendMessageRequest, SendMessageResponse},
};
use tokio::{task::JoinSet, time::interval};
use tonic::{Request, Status};

use super::says;
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::{Setup, TestGateway},
    is_timed,
    ledger::Client,
    metrics::Page,
    soak,
};

/// Places for calls to Easemob.
const PLACES: usize = 32;
/// Calls in a row that succeed when all is as before.
const NORMAL: usize = 100;

/// How Easemob falls silent.
#[derive(Debug, Clone, Copy)]
enum Silence {
    /// It reads whatever it is sent, and answers when it is back.
    OfTheServer,
    /// Connections are neither made nor refused.
    OfTheNetwork,
}

/// How long it lasts, and how long a caller waits.
struct Times {
    silence: Duration,
    patience: Duration,
    timeouts: Timeouts,
}

impl Times {
    fn new() -> Self {
        if soak() {
            return Self {
                silence: Duration::from_secs(30),
                patience: Duration::from_secs(2),
                timeouts: Timeouts::default(),
            };
        }
        Self {
            silence: Duration::from_secs(3),
            patience: Duration::from_millis(500),
            timeouts: Timeouts {
                connect: Duration::from_millis(600),
                attempt: Duration::from_secs(1),
                call: Duration::from_secs(2),
                token: Duration::from_secs(1),
            },
        }
    }
}

/// A call and what came of it.
struct Call {
    due: Instant,
    ended: Instant,
    result: Result<SendMessageResponse, Status>,
}

/// 100 calls a second, each with an ID and a text of its own.
struct Load {
    clients: Vec<Client>,
    patience: Duration,
    calls: JoinSet<Call>,
    made: Vec<Call>,
    count: usize,
}

impl Load {
    async fn new(gateway: &TestGateway, patience: Duration) -> Self {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(gateway.client().await);
        }
        Self {
            clients,
            patience,
            calls: JoinSet::new(),
            made: Vec::new(),
            count: 0,
        }
    }

    fn call(&mut self) {
        let text = format!("message {}", self.count);
        let mut client = self.clients[self.count % self.clients.len()].clone();
        self.count += 1;
        let mut request = Request::new(SendMessageRequest {
            request_id: text.clone(),
            ..says(&text)
        });
        request.set_timeout(self.patience);
        let due = Instant::now() + self.patience;
        self.calls.spawn(async move {
            let result = client.send_message(request).await;
            Call {
                due,
                ended: Instant::now(),
                result: result.map(tonic::Response::into_inner),
            }
        });
    }

    /// For so long, or until so many in a row have succeeded. When that was.
    async fn until(&mut self, time: Duration, in_a_row: usize) -> Instant {
        let (begin, mut ticks, mut row) = (Instant::now(), interval(Duration::from_millis(10)), 0);
        while begin.elapsed() < time {
            ticks.tick().await;
            self.call();
            while let Some(call) = self.calls.try_join_next() {
                let call = call.unwrap();
                row = if call.result.is_ok() { row + 1 } else { 0 };
                self.made.push(call);
                if row == in_a_row {
                    return Instant::now();
                }
            }
        }
        Instant::now()
    }

    async fn ended(mut self) -> Vec<Call> {
        self.made.extend(self.calls.join_all().await);
        self.made
    }
}

async fn outage(silence: Silence) {
    let easemob = Easemob::start();
    let times = Times::new();
    let timeouts = times.timeouts.clone();
    let gateway = Setup::at(easemob.url())
        .server(|server| server.shards = std::num::NonZeroUsize::new(1))
        .delivery(|delivery| delivery.calls_in_flight = PLACES)
        .app(|app| app.timeouts = timeouts)
        .start()
        .await;
    let mut load = Load::new(&gateway, times.patience).await;
    load.until(Duration::from_secs(20), NORMAL).await;

    let gate = Gate::default();
    match silence {
        Silence::OfTheServer => easemob.always_on_send(Script::read().wait(&gate).accept()),
        Silence::OfTheNetwork => easemob.black_hole(),
    }
    let begin = Instant::now();
    while begin.elapsed() < times.silence {
        load.until(Duration::from_millis(100), usize::MAX).await;
        let page = Page::of(&gateway).await;
        let active = page.count("easemob_gateway_calls_active", &[]);
        assert!(active <= PLACES as f64, "{active}");
    }
    let silent_calls = load.count;
    match silence {
        Silence::OfTheServer => easemob.always_on_send(Script::read().accept()),
        Silence::OfTheNetwork => easemob.end_black_hole(),
    }
    gate.open();
    let back = Instant::now();
    // As long as the longest pause of the breaker, and a bug exceeds it.
    let normal = load.until(Duration::from_secs(90), NORMAL).await;
    let took = normal - back;
    println!("{silence:?}: normal {took:?} after it was back");

    let calls = load.ended().await;
    let page = Page::of(&gateway).await;
    let attempts = page.count(
        "http_client_request_duration_seconds_count",
        &[("endpoint", "users")],
    );
    let (all, seconds) = (calls.len() as f64, begin.elapsed().as_secs_f64());
    println!(
        "{attempts} attempts for {all} calls, {silent_calls} of them by the end of the silence"
    );
    // A tenth, one a second, and what the budget holds at the start.
    assert!(attempts <= all * 1.1 + seconds + 10.0);

    // What a caller could wait for no longer was not sent, and is not sent late: Easemob's ledger tells.
    gateway.drained().await;
    let accepted = calls.iter().filter(|call| call.result.is_ok()).count();
    assert!((NORMAL..calls.len()).contains(&accepted), "{accepted}");
    if is_timed() {
        assert!(took < Duration::from_secs(5), "{took:?}");
        for call in &calls {
            assert!(call.ended < call.due + Duration::from_millis(250));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_silence_of_the_server_all_is_as_before_and_nothing_is_sent_late() {
    outage(Silence::OfTheServer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_silence_of_the_network_all_is_as_before_and_nothing_is_sent_late() {
    outage(Silence::OfTheNetwork).await;
}
