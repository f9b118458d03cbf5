//! A long list whose parts meet every kind of fault, repeated until all is said: each recipient once.

use std::collections::HashMap;

use easemob_gateway::{
    app::Timeouts,
    proto::{SendMessageRequest, SendState, Users, message::Target},
};
use std::time::Duration;

use super::{says, send};
use crate::support::{
    easemob::{Easemob, Script},
    gateway::Setup,
    request::{message, text},
};

#[tokio::test]
async fn a_long_list_repeated_until_all_is_said_reaches_each_recipient_once() {
    let easemob = Easemob::start();
    let gateway = Setup::at(easemob.url())
        .app(|app| {
            // 18 parts or so, and one that stays silent is given up soon.
            app.limits.request_bytes = 2_000;
            app.timeouts = Timeouts {
                connect: Duration::from_millis(600),
                attempt: Duration::from_millis(600),
                call: Duration::from_millis(1_200),
                token: Duration::from_millis(1_500),
            };
        })
        .start()
        .await;
    let client = gateway.client().await;
    let user_ids: Vec<String> = (0..1_800).map(|i| format!("user-{i:04}")).collect();
    let request = || SendMessageRequest {
        message: Some(message(
            Target::Users(Users {
                user_ids: user_ids.clone(),
            }),
            text("to all"),
        )),
        ..says("long", "")
    };
    // Parts that are refused, parts that are lost on either side of the first byte, and good ones.
    let faults = || {
        [
            Script::read().accept(),
            Script::read().answer(400, ""),
            Script::read().reset(),
            Script::read().answer(502, "<html>"),
            Script::read().answer(200, "{\"data\":{"),
            Script::read().silence(),
            Script::read().answer(413, ""),
            Script::unread().reset(),
            Script::read().answer(200, r#"{"data":{"user-0009":"x-9","user-0500":"5"}}"#),
            Script::read().fin(),
        ]
    };
    let mut doubtful = Vec::new();
    let mut accepted: HashMap<String, String> = HashMap::new();
    for round in 0.. {
        assert!(round < 10, "it never ends");
        for fault in faults().into_iter().take(10 - round) {
            easemob.on_send(fault);
        }
        let before = easemob.seen().sends.len();
        let result = send(&client, request()).await;
        let sent = match result {
            Ok(sent) => sent,
            Err(status) => panic!("nobody has it: {status:?}"),
        };
        // Whatever was accepted stays so, under the same ID.
        for (recipient, id) in &accepted {
            let mut now = sent.accepted.iter();
            assert!(now.any(|one| one.recipient == *recipient && one.message_id == *id));
        }
        for one in sent.accepted {
            accepted.insert(one.recipient, one.message_id);
        }
        let mut in_doubt = Vec::new();
        let mut not_sent = 0;
        for failure in sent.failures {
            match failure.state() {
                SendState::MaybeSent => in_doubt.extend(failure.recipients),
                _ => not_sent += failure.recipients.len(),
            }
        }
        // Doubts are never resolved by sending.
        assert!(doubtful.iter().all(|one| in_doubt.contains(one)));
        doubtful = in_doubt;
        if not_sent == 0 && easemob.seen().sends.len() == before {
            break;
        }
    }
    assert!(!doubtful.is_empty());
    assert_eq!(accepted.len() + doubtful.len(), 1_800);

    // Asked for, the rest is sent at least once; the others are left alone.
    let resend = SendMessageRequest {
        resend_maybe_sent: true,
        ..request()
    };
    easemob.forget_scripts();
    let sent = send(&client, resend).await.unwrap();
    assert_eq!(sent.accepted.len(), 1_800);
    let mut has: HashMap<String, usize> = HashMap::new();
    for send in easemob.seen().sends.iter().filter(|send| !send.refused) {
        for to in send.body["to"].as_array().unwrap() {
            *has.entry(to.as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    for (recipient, count) in has {
        let most = 1 + usize::from(doubtful.contains(&recipient));
        assert!(count <= most, "{recipient}: {count}");
    }
}
