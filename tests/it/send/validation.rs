//! What the gateway refuses by itself: each violation by the path of its field, all at once, and
//! nothing sent.

use easemob_gateway::proto::{
    self, SendMessageRequest, file_ref::Location, message::Content, message::Extension,
    message::Target,
};
use prost_types::{ListValue, Struct, Value, value::Kind};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{USERS, start, start_with};
use crate::support::request::{error_info, message, request, text, text_to, verdict};

/// Field and description of every violation.
fn violations(error: &Status) -> Vec<(String, String)> {
    let details = error.get_error_details();
    let bad_request = details.bad_request().expect("BadRequest");
    let violations = bad_request.field_violations.iter();
    violations
        .map(|violation| (violation.field.clone(), violation.description.clone()))
        .collect()
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("u{i}")).collect()
}

fn to(target: Target) -> SendMessageRequest {
    request(message(target, text("hi")))
}

fn to_users(user_ids: Vec<String>) -> SendMessageRequest {
    to(Target::Users(proto::Users { user_ids }))
}

fn to_groups(group_ids: Vec<String>, member_ids: Vec<String>) -> SendMessageRequest {
    to(Target::Groups(proto::Groups {
        group_ids,
        member_ids,
        need_read_receipt: false,
    }))
}

fn to_rooms(chatroom_ids: Vec<String>, member_ids: Vec<String>) -> SendMessageRequest {
    to(Target::Chatrooms(proto::Chatrooms {
        chatroom_ids,
        member_ids,
        priority: 0,
    }))
}

fn with(change: impl FnOnce(&mut proto::Message)) -> SendMessageRequest {
    change_of(text_to(&["bob"]), change)
}

fn change_of(
    mut request: SendMessageRequest,
    change: impl FnOnce(&mut proto::Message),
) -> SendMessageRequest {
    change(request.message.as_mut().unwrap());
    request
}

fn saying(content: Content) -> SendMessageRequest {
    with(|message| message.content = Some(content))
}

fn image(file: Option<proto::FileRef>, width: u32, height: u32) -> SendMessageRequest {
    saying(Content::Image(proto::ImageContent {
        file,
        filename: String::new(),
        width,
        height,
    }))
}

fn at(location: Location) -> Option<proto::FileRef> {
    Some(proto::FileRef {
        location: Some(location),
        secret: String::new(),
    })
}

fn by_url(url: &str) -> SendMessageRequest {
    image(at(Location::Url(url.into())), 0, 0)
}

fn by_uuid(uuid: &str) -> SendMessageRequest {
    image(at(Location::Uuid(uuid.into())), 0, 0)
}

fn place(latitude: Option<f64>, longitude: Option<f64>, address: &str) -> SendMessageRequest {
    saying(Content::Location(proto::LocationContent {
        latitude,
        longitude,
        address: address.into(),
    }))
}

fn custom(event: &str, attributes: usize) -> SendMessageRequest {
    saying(Content::Custom(proto::CustomContent {
        event: event.into(),
        attributes: (0..attributes)
            .map(|i| (i.to_string(), String::new()))
            .collect(),
    }))
}

fn ext_json(text: &str, silent: bool) -> SendMessageRequest {
    with(|message| {
        message.extension = Some(Extension::ExtJson(text.into()));
        message.silent = silent;
    })
}

fn ext(value: Option<Kind>) -> SendMessageRequest {
    let fields = [("key".to_owned(), Value { kind: value })].into();
    with(|message| message.extension = Some(Extension::Ext(Struct { fields })))
}

/// Requests with one violation each.
#[rustfmt::skip]
fn table() -> Vec<(SendMessageRequest, &'static str, &'static str)> {
    let url = "https://cdn.example.com/a.jpg";
    let empty = "is required and must not be empty";
    let charset = "may hold only a-z A-Z 0-9 _ - and the full stop";
    let no_url = "is not a complete http or https URL";
    let members = || to_groups(ids(&["7"]), ids(&["amy"]));
    vec![
        (SendMessageRequest::default(), "message", "is required"),
        (SendMessageRequest { request_id: "x".repeat(129), ..text_to(&["bob"]) }, "request_id",
            "must have at most 128 printable ASCII characters"),
        (SendMessageRequest { request_id: "é".into(), ..text_to(&["bob"]) }, "request_id",
            "must have at most 128 printable ASCII characters"),
        (with(|m| m.target = None), "message.target", "is required: users, groups or chatrooms"),
        (with(|m| m.content = None), "message.content", "is required: one of the eight message types"),
        // Recipients.
        (to_users(Vec::new()), "message.users.user_ids", "must name at least one user"),
        (to_users(many(10_001)), "message.users.user_ids", "names 10001 recipients: one request takes at most 10000"),
        (to_users(ids(&["bob", "amy", "Bob"])), "message.users.user_ids[2]", "is a duplicate: case does not tell user IDs apart"),
        (to_users(ids(&["bob", ""])), "message.users.user_ids[1]", "must not be empty"),
        (to_users(vec!["x".repeat(65)]), "message.users.user_ids[0]", "is longer than 64 bytes"),
        (to_users(ids(&["a/b"])), "message.users.user_ids[0]", charset),
        (to_users(ids(&[".."])), "message.users.user_ids[0]", "must not be a path of full stops"),
        (to_groups(Vec::new(), Vec::new()), "message.groups.group_ids", "must name at least one group"),
        (to_groups(many(10_001), Vec::new()), "message.groups.group_ids",
            "names 10001 recipients: one request takes at most 10000"),
        (to_groups(ids(&["1", "1"]), Vec::new()), "message.groups.group_ids[1]", "is a duplicate"),
        (to_groups(Vec::new(), ids(&["amy"])), "message.groups.group_ids", "must name at least one group"),
        (to_groups(ids(&["1", "2"]), ids(&["amy"])), "message.groups.group_ids",
            "must name exactly one group where member_ids is given"),
        (to_groups(ids(&["1"]), many(21)), "message.groups.member_ids", "names more than 20 members"),
        (to_groups(ids(&["1"]), ids(&["amy", "AMY"])), "message.groups.member_ids[1]", "is a duplicate: case does not tell user IDs apart"),
        (to_groups(ids(&["1"]), ids(&["amy", "é"])), "message.groups.member_ids[1]", charset),
        (to(Target::Groups(proto::Groups { group_ids: ids(&["7"]), member_ids: ids(&["amy"]), need_read_receipt: true })),
            "message.groups.need_read_receipt", "cannot be combined with member_ids"),
        (to_rooms(Vec::new(), Vec::new()), "message.chatrooms.chatroom_ids", "must name at least one chat room"),
        (to_rooms(many(10_001), Vec::new()), "message.chatrooms.chatroom_ids",
            "names 10001 recipients: one request takes at most 10000"),
        (to_rooms(ids(&["1", "2"]), ids(&["amy"])), "message.chatrooms.chatroom_ids",
            "must name exactly one chat room where member_ids is given"),
        (to_rooms(ids(&["1"]), many(21)), "message.chatrooms.member_ids", "names more than 20 members"),
        (to(Target::Chatrooms(proto::Chatrooms { chatroom_ids: ids(&["1"]), member_ids: Vec::new(), priority: 9 })),
            "message.chatrooms.priority", "is not a known priority"),
        // The envelope.
        (with(|m| m.from_user_id = Some(String::new())), "message.from_user_id", "must not be empty"),
        (with(|m| m.from_user_id = Some("a b".into())), "message.from_user_id", charset),
        (change_of(to_groups(ids(&["7"]), Vec::new()), |m| m.sync_device = true), "message.sync_device",
            "is for messages to users only"),
        (change_of(to_rooms(ids(&["7"]), Vec::new()), |m| m.sync_device = true), "message.sync_device",
            "is for messages to users only"),
        (with(|m| m.route_type = 2), "message.route_type", "is not a known route type"),
        (change_of(to_rooms(ids(&["7"]), Vec::new()), |m| m.route_type = 1), "message.route_type",
            "is for messages to users and groups only"),
        (change_of(members(), |m| m.route_type = 1), "message.route_type", "cannot be combined with member_ids"),
        (with(|m| m.roam_ignore_user_ids = many(21)), "message.roam_ignore_user_ids", "names more than 20 users"),
        (with(|m| m.roam_ignore_user_ids = ids(&["amy", ""])), "message.roam_ignore_user_ids[1]", "must not be empty"),
        (change_of(members(), |m| m.roam_ignore_user_ids = ids(&["amy"])), "message.roam_ignore_user_ids",
            "cannot be combined with member_ids"),
        (with(|m| m.env = "ninechars".into()), "message.env", "must be at most 8 of a-z A-Z 0-9"),
        (with(|m| m.env = "a-b".into()), "message.env", "must be at most 8 of a-z A-Z 0-9"),
        // The extension.
        (ext_json("", false), "message.ext_json", "is not one JSON object: EOF while parsing a value at line 1 column 0"),
        (ext_json("[1]", false), "message.ext_json", "is JSON, but not an object"),
        (ext_json("null", false), "message.ext_json", "is JSON, but not an object"),
        (ext_json("{} {}", false), "message.ext_json", "is not one JSON object: trailing characters at line 1 column 4"),
        (ext_json("{\"a\":1,}", false), "message.ext_json", "is not one JSON object: trailing comma at line 1 column 8"),
        (ext_json(r#"{"a":"\ud800"}"#, false), "message.ext_json",
            "is not one JSON object: unexpected end of hex escape at line 1 column 13"),
        (ext_json(r#"{"em_ignore_notification":false}"#, true), "message.ext_json.em_ignore_notification",
            "contradicts silent: leave one of the two out"),
        (ext(None), "message.ext", "holds a value of no kind"),
        (ext(Some(Kind::NumberValue(f64::NAN))), "message.ext",
            "holds a number that JSON cannot write (not finite)"),
        (ext(Some(Kind::ListValue(ListValue { values: vec![Value { kind: Some(Kind::NumberValue(f64::INFINITY)) }] }))),
            "message.ext", "holds a number that JSON cannot write (not finite)"),
        // The content.
        (saying(text("")), "message.text.text", empty),
        (saying(Content::Command(proto::CommandContent::default())), "message.command.action", empty),
        (place(None, Some(0.0), "x"), "message.location.latitude", "is required"),
        (place(Some(90.1), Some(0.0), "x"), "message.location.latitude", "must be -90 to 90 degrees"),
        (place(Some(0.0), Some(f64::NAN), "x"), "message.location.longitude", "must be -180 to 180 degrees"),
        (place(Some(0.0), Some(0.0), ""), "message.location.address", empty),
        (custom("", 0), "message.custom.event", "must be 1 to 32 of a-z A-Z 0-9 - _ / and the full stop"),
        (custom("a b", 0), "message.custom.event", "must be 1 to 32 of a-z A-Z 0-9 - _ / and the full stop"),
        (custom("e", 17), "message.custom.attributes", "has more than 16 entries"),
        (image(None, 0, 0), "message.image.file", "is required"),
        (image(Some(proto::FileRef::default()), 0, 0), "message.image.file", "needs a uuid or a url"),
        (image(at(Location::Url(url.into())), 1, 0), "message.image.height", "is required where width is given"),
        (image(at(Location::Url(url.into())), 0, 1), "message.image.width", "is required where height is given"),
        (by_uuid(""), "message.image.file.uuid", "must have 1 to 64 characters"),
        (by_uuid("../token"), "message.image.file.uuid", "may hold only a-z A-Z 0-9 and -"),
        (by_url(""), "message.image.file.url", no_url),
        (by_url("//a/b"), "message.image.file.url", no_url),
        (by_url("ftp://a/b"), "message.image.file.url", "must be an http or https URL"),
        (by_url("https://me:pw@a/b"), "message.image.file.url", "must not hold a user name or password"),
        (by_url("https://a/b c"), "message.image.file.url",
            "must not hold white space, control characters or backslashes"),
        (by_url(&format!("https://a/{}", "x".repeat(2_048))), "message.image.file.url", "is longer than 2,048 bytes"),
        (saying(Content::Audio(proto::AudioContent::default())), "message.audio.file", "is required"),
        (saying(Content::File(proto::FileContent::default())), "message.file.file", "is required"),
        (saying(Content::Video(proto::VideoContent::default())), "message.video.file", "is required"),
        (saying(Content::Video(proto::VideoContent {
            file: at(Location::Url(url.into())), size_bytes: Some(1 << 63), ..Default::default() })),
            "message.video.size_bytes", "is larger than any file"),
        (saying(Content::Video(proto::VideoContent {
            file: at(Location::Url(url.into())), thumbnail: Some(proto::FileRef::default()), ..Default::default() })),
            "message.video.thumbnail", "needs a uuid or a url"),
    ]
}

#[tokio::test]
async fn what_is_wrong_is_told_by_field_and_nothing_is_sent() {
    let started = start().await;
    for (request, field, description) in table() {
        let error = match started.send(request).await {
            Err(error) => error,
            Ok(_) => panic!("{field} {description}: was sent"),
        };
        assert_eq!(error.code(), Code::InvalidArgument, "{field}");
        let expected = ("INVALID_REQUEST".to_owned(), "NOT_SENT".to_owned());
        assert_eq!(verdict(&error), expected);
        assert_eq!(error_info(&error).metadata.len(), 1, "no answer of Easemob");
        let expected = [(field.to_owned(), description.to_owned())];
        assert_eq!(violations(&error), expected);
        let text = format!("{field} {description}. Nothing was sent: correct the request.");
        assert_eq!(error.message(), text);
    }
    assert_eq!(started.sent(), 0);
}

#[tokio::test]
async fn all_violations_are_told_at_once_as_far_as_there_is_room() {
    let started = start().await;
    let mut request = to_users(ids(&["a b", "", "bob", "BOB"]));
    request.request_id = "\n".into();
    let wrong = change_of(request, |message| {
        message.content = Some(text(""));
        message.from_user_id = Some(String::new());
        message.env = "-".into();
    });
    let error = started.send(wrong).await.unwrap_err();
    let fields: Vec<_> = violations(&error).into_iter().map(|v| v.0).collect();
    assert_eq!(
        fields,
        [
            "request_id",
            "message.from_user_id",
            "message.users.user_ids[3]",
            "message.text.text",
            "message.env",
        ]
    );
    assert!(error.message().contains("(and 4 more)"), "{error:?}");

    let error = started.send(to_users(vec![String::new(); 600])).await;
    let error = error.unwrap_err();
    assert!(error.message().contains("(and 598 more)"), "{error:?}");
    assert!((10..599).contains(&violations(&error).len()));
    let response: http::Response<()> = error.into_http();
    let headers = response.headers().iter();
    let bytes: usize = headers.map(|(n, v)| n.as_str().len() + v.len()).sum();
    assert!(bytes < 4_096, "{bytes}");
    assert_eq!(started.sent(), 0);
}

/// A text whose body has exactly so many bytes of JSON, most of them in characters of three.
fn of_size(bytes: usize) -> SendMessageRequest {
    let rest = bytes - r#"{"msg":""}"#.len();
    saying(text(&("你".repeat(rest / 3) + &"x".repeat(rest % 3))))
}

#[tokio::test]
async fn content_may_reach_its_limit_and_not_pass_it() {
    let started = start().await;
    let silent = r#"{"em_ignore_notification":true}"#.len();
    let escaped = "\"\u{1}你";
    let escaped_bytes = r#"{"msg":"\"\u0001你"}"#.len();
    for (limit, over) in [
        (of_size(3_072), of_size(3_073)),
        (
            change_of(of_size(3_072 - silent), |message| message.silent = true),
            change_of(of_size(3_073 - silent), |message| message.silent = true),
        ),
        (
            change_of(ext_json(&padded(3_072 - escaped_bytes), false), |message| {
                message.content = Some(text(escaped));
            }),
            change_of(ext_json(&padded(3_073 - escaped_bytes), false), |message| {
                message.content = Some(text(escaped));
            }),
        ),
    ] {
        // What the gateway lets through, the sandbox's own limit does, too.
        let sent = started.send(limit).await.unwrap();
        assert_eq!(sent.accepted.len(), 1);
        started.easemob.clear_calls();

        let error = started.send(over).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        let mut info = error_info(&error);
        assert_eq!(info.reason, "MESSAGE_TOO_LARGE");
        assert_eq!(info.metadata.remove("size_bytes").unwrap(), "3073");
        assert_eq!(info.metadata.remove("limit_bytes").unwrap(), "3072");
        assert_eq!(info.metadata.remove("send_state").unwrap(), "NOT_SENT");
        assert_eq!(info.metadata.len(), 0);
        assert_eq!(
            error.message(),
            "the message's content with its extension has 3073 bytes of JSON, and the app's \
             limit is 3072. Nothing was sent: make the content or the extension smaller."
        );
        assert_eq!(started.sent(), 0);
    }
}

/// A JSON object of exactly so many bytes.
fn padded(bytes: usize) -> String {
    format!("{{\"k\":\"{}\"}}", "x".repeat(bytes - r#"{"k":""}"#.len()))
}

#[tokio::test]
async fn the_request_with_its_recipients_has_a_limit_of_its_own() {
    let started = start().await;
    // `"to":["…","…"]` and the rest of a short text.
    let frame = r#"{"to":[],"type":"txt","body":{"msg":"hi"}}"#.len();
    let of_size = |bytes: usize| {
        let mut rest = bytes - frame + 1;
        let mut user_ids = Vec::new();
        while rest > 0 {
            // Quotes and comma; the last one takes what is left.
            let length = if rest < 67 + 10 { rest - 3 } else { 60 };
            let length = length.min(64);
            user_ids.push(format!("{:0>length$}", user_ids.len()));
            rest -= length + 3;
        }
        to_users(user_ids)
    };
    let sent = started.send(of_size(5_120)).await.unwrap();
    assert_eq!(started.only_call().body.len(), 5_120);
    assert!(sent.accepted.len() > 70);
    started.easemob.clear_calls();

    let sent = started.send(of_size(5_121)).await.unwrap();
    let calls = started.easemob.calls(USERS);
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.body.len() <= 5_120));
    assert_eq!(sent.failures, []);
    assert!(sent.accepted.len() > 70);
}

#[tokio::test]
async fn a_request_too_large_for_a_single_recipient_is_refused_before_any_call() {
    let of_size = |bytes: usize| {
        let rest = bytes - r#"{"type":"txt","body":{"msg":""},"to":["bob","amy"]}"#.len() + 6;
        let mut request = text_to(&["bob", "amy"]);
        request.message.as_mut().unwrap().content = Some(text(&"x".repeat(rest)));
        request
    };
    let started = start_with(|setup| setup.app(|app| app.limits.request_bytes = 1_000)).await;
    let error = started.send(of_size(1_001)).await.unwrap_err();
    let metadata = error_info(&error).metadata;
    assert_eq!(error_info(&error).reason, "MESSAGE_TOO_LARGE");
    assert_eq!(metadata["size_bytes"], "1001");
    assert_eq!(metadata["limit_bytes"], "1000");
    assert_eq!(started.sent(), 0);

    let sent = started.send(of_size(1_000)).await.unwrap();
    assert_eq!(sent.accepted.len(), 2);
    let calls = started.easemob.calls(USERS);
    let sizes: Vec<_> = calls.iter().map(|call| call.body.len()).collect();
    assert_eq!(sizes, [1_000, 1_000]);
}

#[tokio::test]
async fn limits_can_be_moved_and_switched_off() {
    let started = start_with(|setup| setup.app(|app| app.limits.content_bytes = 100)).await;
    let error = started.send(of_size(101)).await.unwrap_err();
    assert_eq!(error_info(&error).metadata["limit_bytes"], "100");
    started.send(of_size(100)).await.unwrap();

    let started = start_with(|setup| {
        setup.app(|app| {
            app.limits.content_bytes = 0;
            app.limits.request_bytes = 0;
        })
    })
    .await;
    // Then Easemob decides, and its answer means the same.
    for (bytes, http_status, code) in [(3_073, "400", Some("14007")), (5_200, "413", None)] {
        let error = started.send(of_size(bytes)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        let info = error_info(&error);
        assert_eq!(info.reason, "MESSAGE_TOO_LARGE");
        assert_eq!(info.metadata["http_status"], http_status);
        let told = info.metadata.get("easemob_error_code");
        assert_eq!(told.map(String::as_str), code);
    }
}

#[tokio::test]
async fn a_wrong_message_says_nothing_of_its_content() {
    let started = start().await;
    for request in [
        change_of(saying(text("CANARY")), |m| m.env = "CANARYCANARY".into()),
        ext_json(r#""CANARY""#, false),
        ext_json(r#"{"CANARY":1"#, false),
        by_url("ftp://CANARY"),
        by_uuid("CANARY!"),
        custom("CANARY CANARY", 0),
        to_users(ids(&["CANARY!"])),
    ] {
        let error = started.send(request).await.unwrap_err();
        assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
        let details = String::from_utf8_lossy(error.details()).into_owned();
        assert!(!details.contains("CANARY"), "{details}");
    }
}
