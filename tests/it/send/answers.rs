//! What Easemob's answers to a send mean, recipient by recipient.

use easemob_gateway::proto::{self, ErrorReason, SendState};
use prost::Message as _;
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{answer, start};
use crate::support::request::{error_info, text_to, verdict};

/// The answer in the documented form, with these message IDs.
fn envelope(data: &Value) -> Value {
    json!({"path": "/messages/users", "uri": "http://10.0.0.1/acme/demo/messages/users",
        "timestamp": 1_657_254_052_191_u64, "organization": "acme", "action": "post",
        "application": "00000000-0000-0000-0000-000000000000", "data": data, "duration": 3,
        "applicationName": "demo"})
}

fn ids(response: &proto::SendMessageResponse) -> Vec<(&str, &str)> {
    let accepted = response.accepted.iter();
    accepted
        .map(|one| (one.recipient.as_str(), one.message_id.as_str()))
        .collect()
}

#[tokio::test]
async fn ids_are_told_by_the_callers_spelling_and_order() {
    let started = start().await;
    let data = envelope(&json!({"carol": "3", "bob": "2", "amy.b-1_x": "1"}));
    let sent = started
        .send_answered(text_to(&["Amy.B-1_x", "bob", "CAROL"]), answer(&data))
        .await
        .unwrap();
    assert_eq!(
        ids(&sent),
        [("Amy.B-1_x", "1"), ("bob", "2"), ("CAROL", "3")]
    );
    assert_eq!(sent.failures, []);
    assert!(!sent.replayed);
    // The sandbox itself answers in lower case and in another order.
    let sent = started.send(text_to(&["Amy", "bob"])).await.unwrap();
    let spelled: Vec<_> = ids(&sent).into_iter().map(|(user, _)| user).collect();
    assert_eq!(spelled, ["Amy", "bob"]);
}

#[tokio::test]
async fn a_recipient_without_an_id_is_in_doubt_and_the_others_are_accepted() {
    let started = start().await;
    for nothing in [json!(null), json!(""), json!({}), json!([7]), json!(true)] {
        let data = envelope(&json!({"bob": nothing, "amy": "1"}));
        let request = text_to(&["amy", "bob", "carol"]);
        let sent = started.send_answered(request, answer(&data)).await.unwrap();

        assert_eq!(ids(&sent), [("amy", "1")]);
        assert_eq!(sent.failures.len(), 1);
        let failure = &sent.failures[0];
        assert_eq!(failure.recipients, ["bob", "carol"]);
        assert_eq!(failure.state(), SendState::MaybeSent);
        assert_eq!(failure.reason(), ErrorReason::OutcomeUnknown);
        assert_eq!(failure.retry_after, None);
        let status = failure.status.as_ref().unwrap();
        let code = Code::from_i32(status.code);
        assert_eq!(code, Code::Unknown);
        let details = status.encode_to_vec().into();
        let status = Status::with_details(code, &status.message, details);
        assert_eq!(verdict(&status).1, "MAYBE_SENT");
        assert_eq!(error_info(&status).metadata["http_status"], "200");
    }
}

#[tokio::test]
async fn where_no_recipient_has_an_id_the_outcome_is_unknown() {
    let started = start().await;
    for data in [json!({}), json!({"dave": "1"}), json!({"amy": null})] {
        let error = started
            .send_answered(text_to(&["amy", "bob"]), answer(&envelope(&data)))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::Unknown);
        let expected = ("OUTCOME_UNKNOWN".to_owned(), "MAYBE_SENT".to_owned());
        assert_eq!(verdict(&error), expected);
        assert_eq!(error_info(&error).metadata["http_status"], "200");
        assert_eq!(
            error.metadata().get("grpc-retry-pushback-ms").unwrap(),
            "-1"
        );
    }
}

#[tokio::test]
async fn an_answer_of_200_that_cannot_be_read_leaves_the_outcome_unknown() {
    let started = start().await;
    let unreadable = [
        String::new(),
        "<html>200 OK</html>".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        r#"{"data":null}"#.to_owned(),
        r#"{"data":["1"]}"#.to_owned(),
        r#"{"data":"success"}"#.to_owned(),
        r#"{"data":{"bob":"1"}"#.to_owned(),
        format!(r#"{{"data":{}"#, "[".repeat(100_000)),
    ];
    for body in unreadable {
        let error = started
            .send_answered(text_to(&["bob"]), answer(&body))
            .await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), Code::Unknown);
        assert_eq!(verdict(&error).1, "MAYBE_SENT");
        assert_eq!(error_info(&error).metadata["http_status"], "200");
    }
    assert_eq!(started.sent(), 9, "none was sent again");
}

#[tokio::test]
async fn ids_keep_all_their_digits_as_text_and_as_numbers() {
    let started = start().await;
    for (json, id) in [
        (r#""1029457500870543736""#, "1029457500870543736"),
        ("1029457500870543736", "1029457500870543736"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551615", "18446744073709551615"),
        (r#""success""#, "success"),
    ] {
        let body = format!(r#"{{"data":{{"bob":{json}}}}}"#);
        let sent = started
            .send_answered(text_to(&["bob"]), answer(&body))
            .await;
        assert_eq!(ids(&sent.unwrap()), [("bob", id)]);
    }
}

#[tokio::test]
async fn the_time_of_acceptance_is_easemobs_own() {
    let started = start().await;
    for (timestamp, expected) in [
        (
            json!(1_657_254_052_191_u64),
            Some((1_657_254_052, 191_000_000)),
        ),
        (json!(1), Some((0, 1_000_000))),
        (json!(0), None),
        (json!(-5), None),
        (json!("1657254052191"), None),
        (json!(1.5), None),
        (json!(null), None),
    ] {
        let body = json!({"data": {"bob": "1"}, "timestamp": timestamp});
        let sent = started
            .send_answered(text_to(&["bob"]), answer(&body))
            .await;
        let expected = expected.map(|(seconds, nanos)| Timestamp { seconds, nanos });
        assert_eq!(
            sent.unwrap().accepted[0].accept_time,
            expected,
            "{timestamp}"
        );
    }
}

#[tokio::test]
async fn fields_may_be_missing_new_or_of_another_type() {
    let started = start().await;
    for body in [
        json!({"data": {"bob": "1"}}),
        json!({"data": {"bob": "1"}, "entities": [], "count": 1, "cursor": null, "new": {"a": [1]}}),
        json!({"data": {"bob": "1"}, "path": 7, "uri": null, "duration": "3", "action": ["post"]}),
        json!({"data": {"bob": "1", "eve": "2"}, "error": null}),
    ] {
        let sent = started
            .send_answered(text_to(&["bob"]), answer(&body))
            .await;
        assert_eq!(ids(&sent.unwrap()), [("bob", "1")], "{body}");
    }
}
