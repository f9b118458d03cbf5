//! The token: fetched once for all, asked for no more often than Easemob likes, and every failure of
//! it before anything was sent.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use easemob_gateway::app::Timeouts;
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Response, Status};

use super::{assert_arrived, assert_not_sent, assert_worth_waiting, one_place, says};
use crate::support::{
    easemob::{Closed, Easemob, Gate, Script, TOKEN, UNAUTHORIZED, http},
    gateway::{Setup, TestGateway},
    ledger::Client,
    request::{error_info, text_to},
};

/// A gateway that takes as many calls at once as a test has, and has the time for them on a machine that
/// is busy with other things.
fn roomy_setup(url: String) -> Setup {
    const PATIENCE: Duration = Duration::from_secs(120);
    Setup::at(url)
        .server(|server| {
            server.max_requests_in_flight = 2_000;
            server.default_deadline = PATIENCE;
        })
        .app(|app| {
            app.timeouts = Timeouts {
                connect: PATIENCE,
                attempt: PATIENCE,
                call: PATIENCE,
                token: PATIENCE,
            }
        })
        .delivery(|delivery| delivery.queue = 2_000)
}

async fn roomy(url: String) -> TestGateway {
    roomy_setup(url).start().await
}

/// So many sends at once, each with a text of its own, and what became of them.
async fn at_once(gateway: &TestGateway, count: usize) -> Vec<Result<(), Status>> {
    let mut clients: Vec<Client> = Vec::new();
    // A connection takes 100 calls at once.
    for _ in 0..count.div_ceil(100) {
        clients.push(gateway.client().await);
    }
    let mut calls = JoinSet::new();
    for i in 0..count {
        let mut client = clients[i % clients.len()].clone();
        calls.spawn(async move { client.send_message(says(&format!("at once {i}"))).await });
    }
    let results = calls.join_all().await.into_iter();
    results
        .map(|result| result.map(Response::into_inner).map(drop))
        .collect()
}

#[tokio::test]
async fn the_first_calls_at_once_share_one_token() {
    let easemob = Easemob::start();
    let gate = Gate::default();
    easemob.on_token(Script::read().wait(&gate).give_token());
    let gateway = roomy(easemob.url()).await;

    let (results, ()) = tokio::join!(at_once(&gateway, 500), async {
        easemob
            .until("a token is asked for", |seen| seen.tokens.len() == 1)
            .await;
        gate.open();
    });

    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let seen = easemob.seen();
    assert_eq!(seen.tokens.len(), 1);
    assert!(times(&seen.texts()).values().all(|&times| times == 1));
    assert_eq!(seen.sends.len(), 500);
}

#[tokio::test]
async fn a_token_revoked_under_load_is_replaced_once() {
    let easemob = Easemob::start();
    let gateway = roomy(easemob.url()).await;
    gateway
        .client()
        .await
        .send_message(says("before"))
        .await
        .unwrap();
    easemob.always_on_send(Script::read().accept_with(2));

    let results = at_once(&gateway, 200).await;

    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let seen = easemob.seen();
    assert_eq!(seen.tokens.len(), 2);
    // Each was refused at most once, and accepted once.
    for (token, bound) in [(1, 0..=1), (2, 1..=1)] {
        let with = format!("authorization: Bearer {TOKEN}{token}\r\n");
        let with = seen.sends[1..]
            .iter()
            .filter(|send| send.head.contains(&with));
        let texts: Vec<_> = with.map(|send| send.text()).collect();
        let times = times(&texts);
        for i in 0..200 {
            let text = format!("at once {i}");
            let times = times.get(&*text).copied().unwrap_or(0);
            assert!(bound.contains(&times), "{text}: {times} with token {token}");
        }
    }
}

#[tokio::test]
async fn tokens_that_are_always_refused_make_no_loop() {
    let easemob = Easemob::start();
    easemob.always_on_send(Script::read().answer(401, UNAUTHORIZED));
    let gateway = roomy(easemob.url()).await;

    let mut results = at_once(&gateway, 100).await;
    results.extend(at_once(&gateway, 100).await);

    for result in results {
        let status = result.unwrap_err();
        assert_not_sent(
            &status,
            Code::FailedPrecondition,
            "EASEMOB_CREDENTIALS_REJECTED",
        );
    }
    let seen = easemob.seen();
    assert_eq!(seen.tokens.len(), 2);
    assert!(times(&seen.texts()).values().all(|&times| times <= 4));
}

#[tokio::test]
async fn rejected_credentials_are_tried_once_in_ten_seconds() {
    let easemob = Easemob::start();
    let body =
        r#"{"error":"invalid_grant","error_description":"client_id or client_secret is wrong"}"#;
    easemob.always_on_token(Script::read().answer(400, body));
    let gateway = roomy(easemob.url()).await;
    let begin = Instant::now();

    for result in at_once(&gateway, 1_000).await {
        let status = result.unwrap_err();
        assert_not_sent(
            &status,
            Code::FailedPrecondition,
            "EASEMOB_CREDENTIALS_REJECTED",
        );
        assert_eq!(
            error_info(&status).metadata["easemob_error"],
            "invalid_grant"
        );
    }

    let pauses = begin.elapsed().as_secs() / 10;
    let asked = easemob.seen().tokens.len() as u64;
    assert!(asked <= 1 + pauses, "{asked} times in {pauses} pauses");
    assert_arrived(&easemob, &[]);
}

#[tokio::test]
async fn while_tokens_are_out_the_old_one_serves_to_its_end() {
    let easemob = Easemob::start();
    // The shortest life that is believed is 10 s, less a reserve of 1 s.
    easemob.on_token(Script::read().answer(200, r#"{"access_token":"short","expires_in":1}"#));
    easemob.always_on_token(Script::read().answer(500, ""));
    let gateway = one_place(easemob.url()).start().await;
    let mut client = gateway.client().await;
    let begin = Instant::now();

    let status = loop {
        match client.send_message(says("while it lives")).await {
            Ok(_) => sleep(Duration::from_millis(100)).await,
            Err(status) => break status,
        }
    };

    assert!(
        begin.elapsed() > Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
    assert_worth_waiting(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");
    // Renewals began at half its life, and paused longer and longer; the last send waited for two more.
    let renewals = easemob.seen().tokens.len() - 1;
    assert!((1..=6).contains(&renewals), "{renewals}");
}

#[tokio::test]
async fn no_lifetime_of_a_token_makes_a_storm() {
    let lifetimes = [
        r#","expires_in":0"#,
        r#","expires_in":-1"#,
        r#","expires_in":1"#,
        r#","expires_in":86400000"#,
        r#","expires_in":"86400""#,
        r#","expires_in":1099511627776"#,
        r#","expires_in":18446744073709551615"#,
        r#","expires_in":1e300"#,
        r#","expires_in":null"#,
        r#","expires_in":"soon""#,
        r#","expires_in":{"in":1}"#,
        "",
    ];
    for lifetime in lifetimes {
        let easemob = Easemob::start();
        let body = format!(r#"{{"access_token":"t"{lifetime}}}"#);
        easemob.always_on_token(Script::read().answer(200, &body));
        let gateway = TestGateway::start(easemob.url()).await;
        let mut client = gateway.client().await;
        for _ in 0..20 {
            client.send_message(text_to(&["bob"])).await.unwrap();
        }
        assert_eq!(easemob.seen().tokens.len(), 1, "{lifetime}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_asked_for_again_after_a_pause() {
    let whole = http(200, r#"{"access_token":"t","expires_in":3600}"#);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let endless = "HTTP/1.1 200 OK\r\n\r\n";
    let mut cases = JoinSet::new();
    for (name, script) in [
        ("FIN", Script::read().fin()),
        ("RST", Script::read().reset()),
        ("RST before it is read", Script::unread().reset()),
        (
            "half an answer",
            Script::read().write(&whole[..whole.len() - 9]).fin(),
        ),
        ("silence", Script::read().silence()),
        (
            "a byte now and then",
            Script::read().drip(whole, Duration::from_millis(100)),
        ),
        (
            "no end",
            Script::read().write(endless).flood(" ".repeat(0x10000)),
        ),
        ("500", Script::read().answer(500, "")),
        ("502 with HTML", Script::read().answer(502, "<html>")),
        ("503", Script::read().answer(503, "")),
        ("408", Script::read().answer(408, "")),
        ("HTML", Script::read().answer(200, "<html>")),
        ("nothing", Script::read().answer(200, "")),
        ("no token", Script::read().answer(200, "{}")),
        (
            "a number",
            Script::read().answer(200, r#"{"access_token":7}"#),
        ),
        (
            "null",
            Script::read().answer(200, r#"{"access_token":null}"#),
        ),
        (
            "an empty token",
            Script::read().answer(200, r#"{"access_token":""}"#),
        ),
        (
            "two lines",
            Script::read().answer(200, r#"{"access_token":"a\r\nb: c"}"#),
        ),
        ("10,000 levels", Script::read().answer(200, &deep)),
    ] {
        cases.spawn(async move {
            let easemob = Easemob::start();
            easemob.on_token(script);
            let gateway = one_place(easemob.url()).start().await;
            let mut client = gateway.client().await;

            let begin = Instant::now();

            let sent = client.send_message(says("hello")).await;

            println!("{name}: {sent:?}");
            sent.unwrap();
            assert!(begin.elapsed() > Duration::from_secs(1), "{name}");
            assert!(easemob.seen().tokens.len() <= 2, "{name}");
            assert_arrived(&easemob, &["hello"]);
        });
    }
    cases.join_all().await;
}

#[tokio::test]
async fn when_a_refused_token_cannot_be_replaced_its_users_are_told_to_wait() {
    let easemob = Easemob::start();
    // Less than the pause before the next token is asked for.
    let gateway = roomy_setup(easemob.url())
        .server(|server| server.default_deadline = Duration::from_secs(1))
        .start()
        .await;
    gateway
        .client()
        .await
        .send_message(says("before"))
        .await
        .unwrap();
    easemob.on_token(Script::read().answer(500, ""));
    easemob.always_on_send(Script::read().accept_with(3));

    for result in at_once(&gateway, 100).await {
        // That Easemob has trouble is no fault of the credentials.
        assert_worth_waiting(
            &result.unwrap_err(),
            Code::Unavailable,
            "EASEMOB_UNREACHABLE",
        );
    }

    assert_eq!(easemob.seen().tokens.len(), 2);
}

#[tokio::test]
async fn a_gateway_starts_without_easemob_and_recovers_by_itself() {
    let closed = Closed::new();
    let gateway = one_place(closed.url())
        .server(|server| server.default_deadline = Duration::from_secs(1))
        .start()
        .await;
    for page in ["livez", "readyz"] {
        assert_eq!(gateway.page(page).await, 200, "{page}");
    }
    let mut client = gateway.client().await;

    let status = client.send_message(says("too early")).await.unwrap_err();
    let wait = assert_worth_waiting(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");
    let easemob = closed.open();
    sleep(wait).await;
    client.send_message(says("in time")).await.unwrap();

    assert_arrived(&easemob, &["in time"]);
}

fn times<'t>(texts: &[&'t str]) -> HashMap<&'t str, usize> {
    let mut times = HashMap::new();
    for text in texts {
        *times.entry(*text).or_default() += 1;
    }
    times
}
