//! Long lists of recipients: in as many calls as Easemob takes, and one answer.

use std::collections::HashSet;

use easemob_gateway::proto::{Chatrooms, Groups, Users, message::Target};

use super::{SENDS, start, start_with};
use crate::support::request::{message, request, text};

fn ids(count: usize) -> Vec<String> {
    // Easemob answers user IDs in lower case.
    (0..count).map(|i| format!("User-{i}")).collect()
}

#[tokio::test]
async fn ten_thousand_users_get_a_message_each_and_come_back_as_they_were_spelled() {
    let started = start().await;
    let user_ids = ids(10_000);
    let to_users = Target::Users(Users {
        user_ids: user_ids.clone(),
    });
    let sent = started.send(request(message(to_users, text("hi")))).await;
    let sent = sent.unwrap();
    assert_eq!(sent.failures, []);
    let accepted = sent.accepted.iter();
    let spelled: Vec<_> = accepted.map(|one| one.recipient.clone()).collect();
    assert_eq!(spelled, user_ids, "in the order of the request");
    let accepted = sent.accepted.iter();
    let message_ids: HashSet<_> = accepted.map(|one| &one.message_id).collect();
    assert_eq!(message_ids.len(), 10_000);

    let calls = started.easemob.calls(SENDS[0]);
    assert!(calls.iter().all(|call| call.body.len() <= 5_120));
    // Some 360 IDs of 8 or 9 characters fit.
    assert!((20..35).contains(&calls.len()), "{}", calls.len());
    let recipients = |json: serde_json::Value| json["to"].as_array().unwrap().len();
    let reached: usize = started.take_all_json().into_iter().map(recipients).sum();
    assert_eq!(reached, 10_000);
}

#[tokio::test]
async fn each_kind_of_target_is_split_by_its_own_number() {
    let started = start_with(|setup| setup.app(|app| app.limits.request_bytes = 0)).await;
    let group_ids: Vec<_> = (0..10).map(|i| i.to_string()).collect();
    let chatroom_ids: Vec<_> = (0..25).map(|i| i.to_string()).collect();
    let groups = Target::Groups(Groups {
        group_ids: group_ids.clone(),
        ..Groups::default()
    });
    let rooms = Target::Chatrooms(Chatrooms {
        chatroom_ids: chatroom_ids.clone(),
        ..Chatrooms::default()
    });
    for (target, all, calls) in [(groups, group_ids, 4), (rooms, chatroom_ids, 3)] {
        let sent = started.send(request(message(target, text("hi")))).await;
        let accepted = sent.unwrap().accepted.into_iter();
        let spelled: Vec<_> = accepted.map(|one| one.recipient).collect();
        assert_eq!(spelled, all);
        assert_eq!(started.sent(), calls);
        started.easemob.clear_calls();
    }
}
