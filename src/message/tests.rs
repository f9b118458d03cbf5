//! Each type's full JSON, and every refusal with the field that it names.

use prost_types::{ListValue, Struct, Value, value::Kind as ValueKind};
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    app,
    invalid::Violations,
    proto::{file_ref::Location as Where, message::Extension, message::Target as To},
};

fn app() -> App {
    let config = app::Config {
        base_url: "http://127.0.0.1:1".into(),
        public_base_url: Some("https://XXXX".into()),
        org_name: Some("XXXX".into()),
        app_name: Some("XXXX".into()),
        client_id: "id".into(),
        client_secret: Some("secret".into()),
        ..app::Config::default()
    };
    let violations = Violations::default();
    App::new("shop", &config, violations.root()).expect("the settings are right")
}

/// The whole request that a message makes.
fn sent(message: proto::Message) -> Json {
    let violations = Violations::default();
    let message = Message::check(message, &app(), violations.root());
    let violations: Vec<_> = violations.into_vec();
    let message = message.unwrap_or_else(|| panic!("refused: {violations:?}"));
    serde_json::from_slice(&message.to_json(&message.target.recipients)).unwrap()
}

/// The extension as it is sent, byte by byte.
fn ext_of(message: &Message) -> String {
    #[derive(serde::Deserialize)]
    struct Sent<'a> {
        #[serde(borrow)]
        ext: &'a serde_json::value::RawValue,
    }
    let json = message.to_json(&message.target.recipients);
    let sent: Sent<'_> = serde_json::from_slice(&json).unwrap();
    sent.ext.get().to_owned()
}

/// The fields that a message is refused for.
fn refused(message: proto::Message) -> Vec<String> {
    let violations = Violations::default();
    let field = violations.root();
    let checked = Message::check(message, &app(), field.child("message"));
    let fields: Vec<_> = violations.into_vec().into_iter().map(|v| v.field).collect();
    assert_eq!(checked.is_none(), !fields.is_empty());
    fields
}

fn users(ids: &[&str]) -> Option<To> {
    Some(To::Users(proto::Users {
        user_ids: ids.iter().map(|&id| id.into()).collect(),
    }))
}

fn groups(ids: &[&str], members: &[&str]) -> proto::Groups {
    proto::Groups {
        group_ids: ids.iter().map(|&id| id.into()).collect(),
        member_ids: members.iter().map(|&id| id.into()).collect(),
        need_read_receipt: false,
    }
}

fn text(text: &str) -> Option<Content> {
    Some(Content::Text(proto::TextContent { text: text.into() }))
}

fn hi() -> proto::Message {
    proto::Message {
        target: users(&["bob"]),
        content: text("hi"),
        ..proto::Message::default()
    }
}

fn with_content(content: Content) -> proto::Message {
    proto::Message {
        content: Some(content),
        ..hi()
    }
}

fn at_url(url: &str, secret: &str) -> Option<proto::FileRef> {
    Some(proto::FileRef {
        location: Some(Where::Url(url.into())),
        secret: secret.into(),
    })
}

fn at_uuid(uuid: &str, secret: &str) -> Option<proto::FileRef> {
    Some(proto::FileRef {
        location: Some(Where::Uuid(uuid.into())),
        secret: secret.into(),
    })
}

fn body_of(content: Content) -> (Json, Json) {
    let json = sent(with_content(content));
    (json["type"].clone(), json["body"].clone())
}

#[test]
fn a_text_with_nothing_set_has_no_further_field() {
    assert_eq!(
        sent(hi()),
        json!({"to": ["bob"], "type": "txt", "body": {"msg": "hi"}})
    );
}

#[test]
fn every_type_makes_its_documented_body() {
    let cases = [
        (
            Content::Image(proto::ImageContent {
                file: at_uuid("55f12940-XXXX-XXXX-8a5b-ff2336f03252", "VfXXXXNb_"),
                filename: "testimg.jpg".into(),
                width: 480,
                height: 720,
            }),
            "img",
            json!({"url": "https://XXXX/XXXX/XXXX/chatfiles/55f12940-XXXX-XXXX-8a5b-ff2336f03252",
                   "secret": "VfXXXXNb_", "filename": "testimg.jpg", "size": {"width": 480, "height": 720}}),
        ),
        (
            Content::Audio(proto::AudioContent {
                file: at_url("https://cdn.example/a.amr", ""),
                filename: String::new(),
                duration_seconds: Some(10),
            }),
            "audio",
            json!({"url": "https://cdn.example/a.amr", "length": 10}),
        ),
        (
            Content::Video(proto::VideoContent {
                file: at_uuid("1", "s"),
                filename: "v.mp4".into(),
                thumbnail: at_uuid("2", "t"),
                duration_seconds: Some(0),
                size_bytes: Some(58_103),
            }),
            "video",
            json!({"url": "https://XXXX/XXXX/XXXX/chatfiles/1", "secret": "s", "filename": "v.mp4",
                   "thumb": "https://XXXX/XXXX/XXXX/chatfiles/2", "thumb_secret": "t",
                   "length": 0, "file_length": 58103}),
        ),
        (
            Content::File(proto::FileContent {
                file: at_uuid("d7eXXXX7444", "1-g0XXXXua"),
                filename: "test.txt".into(),
            }),
            "file",
            json!({"url": "https://XXXX/XXXX/XXXX/chatfiles/d7eXXXX7444", "secret": "1-g0XXXXua",
                   "filename": "test.txt"}),
        ),
        (
            Content::Location(proto::LocationContent {
                latitude: Some(39.966),
                longitude: Some(-0.0),
                address: "北京".into(),
            }),
            "loc",
            json!({"lat": "39.966", "lng": "0", "addr": "北京"}),
        ),
        (
            Content::Command(proto::CommandContent {
                action: "action1".into(),
            }),
            "cmd",
            json!({"action": "action1"}),
        ),
        (
            Content::Custom(proto::CustomContent {
                event: "custom_event".into(),
                attributes: [("a".to_owned(), "1".to_owned())].into(),
            }),
            "custom",
            json!({"customEvent": "custom_event", "customExts": {"a": "1"}}),
        ),
    ];
    for (content, tag, body) in cases {
        assert_eq!(body_of(content), (json!(tag), body), "{tag}");
    }
}

#[test]
fn the_envelope_is_written_as_documented() {
    let message = proto::Message {
        from_user_id: Some("alice".into()),
        silent: true,
        sync_device: true,
        route_type: proto::RouteType::OnlineOnly.into(),
        roam_ignore_user_ids: vec!["carol".into()],
        env: "test1".into(),
        ..hi()
    };
    assert_eq!(
        sent(message),
        json!({"from": "alice", "to": ["bob"], "type": "txt", "body": {"msg": "hi"},
               "ext": {"em_ignore_notification": true}, "sync_device": true,
               "routetype": "ROUTE_ONLINE", "roam_ignore_users": ["carol"], "env": "test1"})
    );
}

#[test]
fn groups_rooms_and_their_members_are_told_apart() {
    let to = |target| {
        let mut json = sent(proto::Message {
            target: Some(target),
            ..hi()
        });
        let object = json.as_object_mut().unwrap();
        object.remove("type");
        object.remove("body");
        json
    };
    assert_eq!(
        to(To::Groups(proto::Groups {
            need_read_receipt: true,
            ..groups(&["1", "2", "3"], &[])
        })),
        json!({"to": ["1", "2", "3"], "need_group_ack": true})
    );
    assert_eq!(
        to(To::Groups(groups(&["1"], &["amy", "bob"]))),
        json!({"to": ["1"], "users": ["amy", "bob"]})
    );
    assert_eq!(
        to(To::Chatrooms(proto::Chatrooms {
            chatroom_ids: vec!["9".into()],
            member_ids: vec!["amy".into()],
            priority: proto::ChatroomPriority::High.into(),
        })),
        json!({"to": ["9"], "users": ["amy"], "chatroom_msg_level": "high"})
    );
}

#[test]
fn every_violation_is_collected_under_its_own_name() {
    let message = proto::Message {
        from_user_id: Some(String::new()),
        target: Some(To::Groups(proto::Groups {
            need_read_receipt: true,
            ..groups(&["a/b"], &["amy", "AMY"])
        })),
        content: Some(Content::Location(proto::LocationContent {
            latitude: Some(91.0),
            longitude: None,
            address: String::new(),
        })),
        extension: Some(Extension::ExtJson("[1]".into())),
        sync_device: true,
        route_type: 7,
        roam_ignore_user_ids: vec!["amy".into()],
        env: "much too long".into(),
        ..proto::Message::default()
    };
    assert_eq!(
        refused(message),
        [
            "message.from_user_id",
            "message.groups.need_read_receipt",
            "message.groups.group_ids[0]",
            "message.groups.member_ids[1]",
            "message.location.latitude",
            "message.location.longitude",
            "message.location.address",
            "message.ext_json",
            "message.sync_device",
            "message.route_type",
            "message.roam_ignore_user_ids",
            "message.env",
        ]
    );
    assert_eq!(
        refused(proto::Message::default()),
        ["message.target", "message.content"]
    );
}

#[test]
fn a_wrong_content_names_its_field() {
    let image = |file, width, height| {
        Content::Image(proto::ImageContent {
            file,
            filename: String::new(),
            width,
            height,
        })
    };
    let custom = |event: &str, attributes: usize| {
        Content::Custom(proto::CustomContent {
            event: event.into(),
            attributes: (0..attributes)
                .map(|i| (i.to_string(), String::new()))
                .collect(),
        })
    };
    let cases = [
        (text("").unwrap(), "text.text"),
        (image(None, 0, 0), "image.file"),
        (image(at_url("https://a/b", ""), 1, 0), "image.height"),
        (image(at_url("https://a/b", ""), 0, 1), "image.width"),
        (image(at_url("ftp://a/b", ""), 0, 0), "image.file.url"),
        (image(at_url("//a/b", ""), 0, 0), "image.file.url"),
        (
            image(at_url("https://me:pw@a/b", ""), 0, 0),
            "image.file.url",
        ),
        (image(at_url("https://a/b c", ""), 0, 0), "image.file.url"),
        (
            image(at_url("https://a/b\r\nc", ""), 0, 0),
            "image.file.url",
        ),
        (image(at_uuid("../token", ""), 0, 0), "image.file.uuid"),
        (image(at_uuid("", ""), 0, 0), "image.file.uuid"),
        (image(Some(proto::FileRef::default()), 0, 0), "image.file"),
        (
            Content::Command(proto::CommandContent::default()),
            "command.action",
        ),
        (custom("", 0), "custom.event"),
        (custom(&"e".repeat(33), 0), "custom.event"),
        (custom("é", 0), "custom.event"),
        (custom("e", 17), "custom.attributes"),
    ];
    for (content, field) in cases {
        assert_eq!(refused(with_content(content)), [format!("message.{field}")]);
    }
}

#[test]
fn recipients_are_counted_and_told_apart() {
    let many: Vec<String> = (0..10_001).map(|i| format!("u{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cases = [
        (users(&[]), "users.user_ids"),
        (users(&many), "users.user_ids"),
        (users(&["bob", "amy", "Bob"]), "users.user_ids[2]"),
        (users(&["bob", ""]), "users.user_ids[1]"),
        (
            Some(To::Groups(groups(&["1", "2"], &["amy"]))),
            "groups.group_ids",
        ),
        (
            Some(To::Groups(groups(&["1"], &many[..21]))),
            "groups.member_ids",
        ),
        (Some(To::Groups(groups(&many, &[]))), "groups.group_ids"),
    ];
    for (target, field) in cases {
        let message = proto::Message { target, ..hi() };
        assert_eq!(refused(message), [format!("message.{field}")]);
    }
}

fn number(number: f64) -> Value {
    Value {
        kind: Some(ValueKind::NumberValue(number)),
    }
}

#[test]
fn integral_numbers_are_written_without_a_fraction() {
    let ext = Struct {
        fields: [
            ("five".to_owned(), number(5.0)),
            ("half".to_owned(), number(0.5)),
            ("big".to_owned(), number(9_007_199_254_740_992.0)),
            ("huge".to_owned(), number(1e300)),
            ("minus_zero".to_owned(), number(-0.0)),
            (
                "list".to_owned(),
                Value {
                    kind: Some(ValueKind::ListValue(ListValue {
                        values: vec![number(1.0)],
                    })),
                },
            ),
        ]
        .into(),
    };
    let message = proto::Message {
        extension: Some(Extension::Ext(ext)),
        ..hi()
    };
    let violations = Violations::default();
    let message = Message::check(message, &app(), violations.root()).unwrap();
    assert_eq!(
        ext_of(&message),
        r#"{"big":9007199254740992,"five":5,"half":0.5,"huge":1e+300,"list":[1],"minus_zero":0}"#
    );
}

#[test]
fn a_struct_that_json_cannot_write_is_refused() {
    for value in [
        number(f64::NAN),
        number(f64::INFINITY),
        Value { kind: None },
    ] {
        let message = proto::Message {
            extension: Some(Extension::Ext(Struct {
                fields: [("key".to_owned(), value)].into(),
            })),
            ..hi()
        };
        assert_eq!(refused(message), ["message.ext"]);
    }
}

#[test]
fn ext_json_is_passed_on_digit_for_digit() {
    let ext = |text: &str, silent| {
        let message = proto::Message {
            extension: Some(Extension::ExtJson(text.into())),
            silent,
            ..hi()
        };
        let violations = Violations::default();
        Message::check(message, &app(), violations.root()).map(|message| ext_of(&message))
    };
    let digits = r#"{"n": 12345678901234567890123456789, "d": 1.10}"#;
    assert_eq!(ext(digits, false).unwrap(), digits);
    assert_eq!(
        ext(" {\"a\":1}\n", true).unwrap(),
        r#"{"em_ignore_notification":true,"a":1}"#
    );
    assert_eq!(
        ext("{}", true).unwrap(),
        r#"{"em_ignore_notification":true}"#
    );
    assert_eq!(
        ext(r#"{"em_ignore_notification":true}"#, true).unwrap(),
        r#"{"em_ignore_notification":true}"#
    );
    assert_eq!(ext(r#"{"em_ignore_notification":false}"#, true), None);
    for bad in [
        "",
        "null",
        "[]",
        "{}{}",
        "{\"a\":}",
        "{\"a\":1,}",
        &"[".repeat(10_000),
    ] {
        assert_eq!(ext(bad, false), None, "{bad}");
    }
}

#[test]
fn the_size_of_the_content_is_that_of_its_json() {
    let message = proto::Message {
        content: text("你好"),
        silent: true,
        ..hi()
    };
    let violations = Violations::default();
    let message = Message::check(message, &app(), violations.root()).unwrap();
    assert_eq!(
        message.content_bytes(),
        r#"{"msg":"你好"}"#.len() + r#"{"em_ignore_notification":true}"#.len()
    );
}

#[test]
fn what_a_message_says_is_not_in_its_debug_text() {
    let message = proto::Message {
        content: text("CANARY"),
        extension: Some(Extension::ExtJson(r#"{"k":"CANARY"}"#.into())),
        ..hi()
    };
    assert!(!format!("{message:?}").contains("CANARY"));
    let violations = Violations::default();
    let message = Message::check(message, &app(), violations.root()).unwrap();
    assert!(!format!("{message:?}").contains("CANARY"));
}
