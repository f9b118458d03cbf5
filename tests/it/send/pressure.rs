//! O1, O3, O4: far more is asked for than Easemob takes. All of what it takes is used, the rest is refused at once
//! with the time to wait, and nobody else is the worse for it.

use std::{sync::Arc, time::Duration};

use easemob_gateway::proto::{Chatrooms, SendMessageRequest, message::Target};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::support::{
    binary::Binary,
    easemob::{Easemob, Script},
    gateway::Setup,
    is_timed,
    ledger::Client,
    metrics::Page,
    request::{message, request, text, text_to, verdict},
    soak, soon, times,
};

/// Two apps with the same quota at one Easemob, each told by its path.
fn two_apps(easemob: &Easemob, quota: &str) -> String {
    let app = |name: &str| {
        format!(
            "[apps.{name}]\nbase_url = '{}'\norg_name = 'sandbox'\napp_name = '{name}'\n\
             client_id = 'sandbox-client-id'\nclient_secret_env = 'SECRET'\n\
             [apps.{name}.quota]\nusers = {{ {quota} }}\n",
            easemob.url()
        )
    };
    format!("{}{}", app("loud"), app("quiet"))
}

/// What became of one call, counted from when it was meant to begin.
type End = (Duration, Result<(), Status>);

/// One call each time, whatever becomes of the others.
async fn open_loop(client: Client, app: &'static str, count: u32, pause: Duration) -> Vec<End> {
    let (mut calls, mut ticks) = (JoinSet::new(), interval(pause));
    for _ in 0..count {
        let meant = ticks.tick().await.into_std();
        let mut client = client.clone();
        calls.spawn(async move {
            let mut request: Request<SendMessageRequest> = Request::new(SendMessageRequest {
                app: app.into(),
                ..text_to(&["bob"])
            });
            request.set_timeout(Duration::from_secs(5));
            let result = client.send_message(request).await.map(drop);
            (meant.elapsed(), result)
        });
    }
    calls.join_all().await
}

fn p99(ends: &[End], which: impl Fn(&Result<(), Status>) -> bool) -> Duration {
    let ends = ends.iter().filter(|(_, result)| which(result));
    let mut took: Vec<_> = ends.map(|(took, _)| *took).collect();
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}

fn is_ok(result: &Result<(), Status>) -> bool {
    result.is_ok()
}

/// O1 and O3. In small: a burst of ten times a minute's quota. In full: a minute at ten times what a second has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_asks_for_ten_times_its_quota_has_all_of_it_and_another_all_of_its_own() {
    let easemob = Easemob::start();
    easemob.always_on_send(Script::read().stay(Duration::from_millis(2)).accept());
    let (quota, capacity, seconds) = match soak() {
        false => ("calls_per_second = 0, messages_per_minute = 200", 200, 2),
        true => (
            "calls_per_second = 50, messages_per_minute = 0",
            50 * 60,
            60,
        ),
    };
    // More of them wait than one connection may have calls: the others would wait on the caller's side.
    let toml = format!(
        "[server.http2]\nmax_concurrent_streams = 1000\n{}",
        two_apps(&easemob, quota)
    );
    let binary = Binary::serve(&toml, &[("SECRET", "sandbox-client-secret")]).await;
    let second = Duration::from_secs(1);
    let alone = {
        let calls = if soak() { 100 } else { 1 };
        open_loop(binary.client().await, "quiet", calls, second / 5).await
    };
    let memory = binary.peak_memory();

    let loud = open_loop(
        binary.client().await,
        "loud",
        capacity * 10,
        seconds * second / (capacity * 10),
    );
    let quiet = open_loop(
        binary.client().await,
        "quiet",
        capacity / 10,
        seconds * second / (capacity / 10),
    );
    let (loud, quiet) = tokio::join!(loud, quiet);

    let accepted = loud.iter().filter(|(_, result)| is_ok(result)).count();
    for (_, result) in &loud {
        if let Err(status) = result {
            let (reason, state) = verdict(status);
            // Its own queue is bounded too.
            let known = ["QUOTA_EXCEEDED", "OVERLOADED"].contains(&&*reason);
            assert!(known && state == "NOT_SENT", "{status:?}");
            assert_eq!(status.code(), Code::ResourceExhausted);
            let wait = status
                .get_details_retry_info()
                .and_then(|info| info.retry_delay);
            assert!(wait.is_some(), "{status:?}");
        }
    }
    for (_, result) in &quiet {
        assert!(is_ok(result), "{result:?}");
    }
    let grown = binary.peak_memory().saturating_sub(memory);
    let refused = p99(&loud, |result| !is_ok(result));
    let [beside, alone] = [&quiet, &alone].map(|ends| p99(ends, is_ok));
    println!(
        "{accepted} of {capacity} went, refusals p99 {refused:?}, the other app p99 {beside:?}, \
         alone {alone:?}, {} KiB more memory",
        grown / 1024
    );
    assert!(accepted * 100 >= capacity as usize * 90, "{accepted}");
    assert!(grown < 16 << 20, "{grown} bytes");
    if is_timed() {
        assert!(refused < Duration::from_millis(10), "{refused:?}");
        assert!(
            beside <= alone.mul_f64(1.2) + Duration::from_millis(1),
            "{beside:?}"
        );
    }
}

/// O1 at the places for calls, in a soak: Easemob takes as many at once as there are places, each for a tenth of a second, and
/// ten times as many are asked for. Few may wait, so that who is accepted has not waited for long. In small nothing is timed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_what_the_places_take_is_refused_and_the_rest_goes_as_fast_as_ever() {
    const PLACES: u32 = 20;
    let easemob = Easemob::start();
    let call = Duration::from_millis(100);
    easemob.always_on_send(Script::read().stay(call).accept());
    let toml = format!(
        "shards = 1\n[delivery]\ncalls_in_flight = {PLACES}\nqueue = {}\n{}",
        PLACES / 4,
        two_apps(&easemob, "calls_per_second = 0, messages_per_minute = 0")
    );
    let binary = Binary::serve(&toml, &[("SECRET", "sandbox-client-secret")]).await;
    let second = Duration::from_secs(1);
    let (seconds, capacity) = (times(2, 60), PLACES * 10);
    // A tenth of what they take.
    let few = |seconds: u32| open_loop_at(&binary, seconds * capacity / 10, second * 10 / capacity);
    let unloaded = few(times(1, 10)).await;
    let at_begin = open_loop_at(
        &binary,
        capacity * 10 * times(1, 5),
        second / (capacity * 10),
    );
    let mut ends = at_begin.await;
    let memory = binary.peak_memory();
    ends.clear();
    let loud = open_loop_at(&binary, seconds * capacity * 10, second / (capacity * 10)).await;

    let accepted = loud.iter().filter(|(_, result)| is_ok(result)).count();
    for status in loud.iter().filter_map(|(_, result)| result.as_ref().err()) {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        let expected = ("OVERLOADED".to_owned(), "NOT_SENT".to_owned());
        assert_eq!(verdict(status), expected);
        assert!(status.get_details_retry_info().is_some(), "{status:?}");
    }
    let all = (seconds * capacity) as usize;
    let [unloaded, loaded] = [&unloaded, &loud].map(|ends| p99(ends, is_ok));
    let refused = p99(&loud, |result| !is_ok(result));
    let grown = binary.peak_memory().saturating_sub(memory);
    println!(
        "{accepted} of {all} went, p99 {loaded:?}, unloaded {unloaded:?}, refusals {refused:?}, {} KiB more memory",
        grown / 1024
    );
    assert!(accepted > 0 && accepted < loud.len(), "{accepted}");
    if is_timed() {
        assert!(accepted * 100 >= all * 90, "{accepted} of {all}");
        assert!(refused < Duration::from_millis(10), "{refused:?}");
        assert!(loaded <= unloaded * 2, "{loaded:?}");
        assert!(grown <= 1 << 20, "{grown} bytes");
    }
}

async fn open_loop_at(binary: &Binary, count: u32, pause: Duration) -> Vec<End> {
    open_loop(binary.client().await, "loud", count, pause).await
}

/// A message to so many chat rooms, ten a call.
fn rooms(count: u32, words: &str, patience: Duration) -> Request<SendMessageRequest> {
    let target = Target::Chatrooms(Chatrooms {
        chatroom_ids: (0..count)
            .map(|number| (1_000 + number).to_string())
            .collect(),
        ..Chatrooms::default()
    });
    let mut request = Request::new(request(message(target, text(words))));
    request.set_timeout(patience);
    request
}

/// O4, with all of a quota in one message, and O5. Judged by Easemob's ledger.
#[tokio::test]
async fn a_message_of_the_whole_quota_is_never_sent_in_part_and_not_passed_by_for_ever() {
    let (easemob, quota) = (Easemob::start(), 40);
    let setup = Setup::at(easemob.url()).app(|app| {
        app.quota.chatrooms.calls_per_second = 0;
        app.quota.chatrooms.messages_per_second = quota;
    });
    let gateway = setup.start().await;
    let mut client = gateway.client().await;
    let at_once = Duration::from_millis(300);
    client.send_message(rooms(1, "one", at_once)).await.unwrap();
    let refused = client.send_message(rooms(quota, "whole", at_once)).await;
    // Only on a machine so slow that the second is over.
    if let Err(status) = refused {
        let expected = ("QUOTA_EXCEEDED".to_owned(), "NOT_SENT".to_owned());
        assert_eq!(verdict(&status), expected);
        assert_eq!(easemob.seen().texts(), ["one"]);
        // None of it is charged.
        let page = Page::of(&gateway).await;
        let used = page.get("easemob_gateway_quota_used", &[("kind", "chatrooms")]);
        assert!(used.unwrap() <= 1.0, "{used:?}");
        let info = status.get_details_retry_info();
        let wait = info
            .and_then(|info| info.retry_delay)
            .expect("waiting helps");
        assert!(wait <= Duration::from_millis(1_100), "{wait:?}");
        sleep(wait).await;
        let patience = Duration::from_secs(5);
        let whole = rooms(quota, "whole", patience);
        client.send_message(whole).await.unwrap();
    }

    // Endless small ones beside it, of the same caller.
    let small = Arc::new(client.clone());
    let _noise: JoinSet<()> = (0..60)
        .map(|_| {
            let mut client = Client::clone(&small);
            async move {
                loop {
                    let patience = Duration::from_secs(30);
                    if client
                        .send_message(rooms(1, "small", patience))
                        .await
                        .is_err()
                    {
                        sleep(Duration::from_millis(20)).await;
                    }
                }
            }
        })
        .collect();
    let whole = client.send_message(rooms(quota, "whole", Duration::from_secs(20)));
    let sent = soon("it has its turn", whole).await.unwrap().into_inner();
    assert_eq!(sent.accepted.len(), quota as usize);
}
