//! The client secret changes while messages are sent: nobody notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use easemob_gateway::sandbox::{self, Endpoint, Sandbox};
use tokio::{task::JoinSet, time::interval};

use super::{File, for_app, two_apps};
use crate::support::{
    easemob::{Easemob, Gate, Script},
    gateway::TestGateway,
    soon,
};

/// Some 200 calls a second, until it is told to stop; fails with the first that does.
async fn load(gateway: &TestGateway, stop: Arc<AtomicBool>) -> usize {
    let client = gateway.client().await;
    let mut calls = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(5));
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let mut client = client.clone();
        calls.spawn(async move { client.send_message(for_app("shop")).await.map(drop) });
    }
    let results = calls.join_all().await;
    for result in &results {
        assert!(result.is_ok(), "{result:?}");
    }
    results.len()
}

/// The client secrets by which tokens were given, in order.
fn given_by(easemob: &Sandbox) -> Vec<String> {
    let calls = easemob.calls(Endpoint::Token);
    let given = calls
        .iter()
        .filter(|call| call.answer().is_some_and(|answer| answer.status == 200));
    given
        .map(|call| {
            call.json().unwrap()["client_secret"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_secret_that_changes_under_load_fails_no_call() {
    let easemob = Sandbox::start(sandbox::Config::for_tests()).unwrap();
    let secret = File::holding("sandbox-client-secret");
    let gateway = two_apps(easemob.base_url(), easemob.base_url())
        .app(|shop| secret.is_secret_of(shop))
        .start()
        .await;
    let stop = Arc::new(AtomicBool::new(false));

    let change = async {
        soon("the load has begun", async {
            while easemob.call_count(Endpoint::SendToUsers) < 20 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        for number in 1..=3 {
            let new = format!("secret {number}");
            easemob.set_client_secret(&new);
            secret.write(&new);
            soon("a token by the new secret", async {
                while given_by(&easemob).last() != Some(&new) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            // Easemob may end the tokens of the old secret, and even the new one, at any time.
            let sent = easemob.messages().len();
            easemob.revoke_tokens();
            // Until there is a token again: the next secret would be too late for one that has none.
            soon("messages are accepted again", async {
                while easemob.messages().len() < sent + 40 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (sent, ()) = tokio::join!(load(&gateway, Arc::clone(&stop)), change);

    assert!(sent > 100, "{sent}");
    assert_eq!(easemob.messages().len(), sent);
    let mut by = given_by(&easemob);
    by.dedup();
    assert_eq!(
        by,
        ["sandbox-client-secret", "secret 1", "secret 2", "secret 3"]
    );
}

/// Easemob may end the old token and the new one at once, while the new one is still on its way.
#[tokio::test]
async fn a_token_that_ends_on_its_way_is_replaced_as_well() {
    let (easemob, other) = (Easemob::start(), Easemob::start());
    let secret = File::holding("secret 0");
    let gateway = two_apps(easemob.url(), other.url())
        .app(|shop| secret.is_secret_of(shop))
        .start()
        .await;
    let mut client = gateway.client().await;
    client.send_message(for_app("shop")).await.unwrap();

    let on_its_way = Gate::default();
    easemob.on_token(Script::read().wait(&on_its_way).give_token());
    easemob.always_on_send(Script::read().accept_with(3));
    secret.write("secret 1");
    easemob
        .until("a token by the new secret is asked for", |seen| {
            seen.tokens.len() == 2
        })
        .await;
    let sending = tokio::spawn(async move { client.send_message(for_app("shop")).await });
    easemob
        .until("the old one is refused", |seen| seen.sends.len() == 2)
        .await;
    on_its_way.open();

    sending.await.unwrap().unwrap();
    assert_eq!(easemob.seen().tokens.len(), 3);
}

#[tokio::test]
async fn a_secret_that_easemob_does_not_know_yet_costs_nothing_while_the_old_token_lives() {
    let easemob = Sandbox::start(sandbox::Config::for_tests()).unwrap();
    let secret = File::holding("sandbox-client-secret");
    let gateway = two_apps(easemob.base_url(), easemob.base_url())
        .app(|shop| secret.is_secret_of(shop))
        .start()
        .await;
    let mut client = gateway.client().await;
    client.send_message(for_app("shop")).await.unwrap();

    secret.write("too early");
    soon("it is tried", async {
        easemob
            .wait_for_calls(Endpoint::Token, 2, Duration::from_secs(20))
            .await
    })
    .await;
    for _ in 0..20 {
        client.send_message(for_app("shop")).await.unwrap();
    }
    // And back: no pause holds for a secret that is another.
    secret.write("sandbox-client-secret");
    soon("the good one is tried", async {
        easemob
            .wait_for_calls(Endpoint::Token, 3, Duration::from_secs(20))
            .await
    })
    .await;
    client.send_message(for_app("shop")).await.unwrap();
}
