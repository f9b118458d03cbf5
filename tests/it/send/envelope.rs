//! What surrounds the content: every target at its endpoint, every option by its documented name, and
//! the headers.

use easemob_gateway::{
    proto::{self, message::Content, message::Extension, message::Target},
    sandbox::Endpoint,
};
use prost_types::{ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Value, json};

use super::{SENDS, Started, start, start_with};
use crate::support::request::{message, request, text, text_to, users};

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

fn groups(ids: &[&str], members: &[&str]) -> Target {
    Target::Groups(proto::Groups {
        group_ids: strings(ids),
        member_ids: strings(members),
        need_read_receipt: false,
    })
}

fn rooms(ids: &[&str], members: &[&str]) -> Target {
    Target::Chatrooms(proto::Chatrooms {
        chatroom_ids: strings(ids),
        member_ids: strings(members),
        priority: 0,
    })
}

/// One target for each endpoint, in the order of `SENDS`.
fn targets() -> [Target; 5] {
    [
        users(&["Bob", "carol"]),
        groups(&["184524748161025", "184524748161026"], &[]),
        groups(&["184524748161025"], &["amy", "bob"]),
        rooms(&["7", "8", "9"], &[]),
        rooms(&["7"], &["amy", "bob"]),
    ]
}

async fn sent(started: &Started, message: proto::Message) -> Value {
    let response = started.send(request(message)).await.unwrap();
    assert_eq!(response.failures, []);
    started.take_json()
}

#[tokio::test]
async fn every_target_has_its_endpoint_in_both_path_styles() {
    let by_name = start().await;
    let by_id = start_with(|setup| {
        setup.app(|app| {
            app.org_name = None;
            app.app_name = None;
            app.app_id = Some("sandbox-app-id".into());
        })
    })
    .await;
    for (prefix, started) in [
        ("/sandbox/demo", by_name),
        ("/app-id/sandbox-app-id", by_id),
    ] {
        let paths = [
            "/messages/users",
            "/messages/chatgroups",
            "/messages/chatgroups/users",
            "/messages/chatrooms",
            "/messages/chatrooms/users",
        ];
        let bodies = [
            json!({"to": ["Bob", "carol"]}),
            json!({"to": ["184524748161025", "184524748161026"]}),
            json!({"to": ["184524748161025"], "users": ["amy", "bob"]}),
            json!({"to": ["7", "8", "9"]}),
            json!({"to": ["7"], "users": ["amy", "bob"]}),
        ];
        for (i, target) in targets().into_iter().enumerate() {
            let response = started.send(request(message(target, text("hi")))).await;
            let response = response.unwrap();

            let call = started.only_call();
            assert_eq!(call.endpoint, SENDS[i]);
            assert_eq!(call.path, format!("{prefix}{}", paths[i]));
            let mut expected = bodies[i].clone();
            expected["type"] = json!("txt");
            expected["body"] = json!({"msg": "hi"});
            assert_eq!(started.take_json(), expected);
            // Every group, room or user, in the caller's order and spelling; never the members.
            let accepted: Vec<_> = response.accepted.iter().map(|a| &a.recipient).collect();
            assert_eq!(json!(accepted), expected["to"]);
            assert_eq!(response.failures, []);
        }
    }
}

#[tokio::test]
async fn every_type_goes_to_every_target() {
    let file = Some(proto::FileRef {
        location: Some(proto::file_ref::Location::Uuid(
            "11111111-2222-3333-4444-555555555555".into(),
        )),
        secret: "AbC_dEf-123".into(),
    });
    let started = start_with(|setup| {
        setup.app(|app| app.public_base_url = Some("https://media.example.com".into()))
    })
    .await;
    let url =
        "https://media.example.com/sandbox/demo/chatfiles/11111111-2222-3333-4444-555555555555";
    let cases: [(Content, Value); 8] = [
        (
            text("你好"),
            json!({"type": "txt", "body": {"msg": "你好"}}),
        ),
        (
            Content::Image(proto::ImageContent {
                file: file.clone(),
                filename: "cat.jpg".into(),
                width: 640,
                height: 480,
            }),
            json!({"type": "img", "body": {"filename": "cat.jpg", "url": url, "secret": "AbC_dEf-123",
                "size": {"width": 640, "height": 480}}}),
        ),
        (
            Content::Audio(proto::AudioContent {
                file: file.clone(),
                filename: "a.amr".into(),
                duration_seconds: Some(10),
            }),
            json!({"type": "audio", "body": {"filename": "a.amr", "url": url, "secret": "AbC_dEf-123",
                "length": 10}}),
        ),
        (
            Content::Video(proto::VideoContent {
                file: file.clone(),
                filename: "v.mp4".into(),
                thumbnail: file.clone(),
                duration_seconds: Some(0),
                size_bytes: Some(58_103),
            }),
            json!({"type": "video", "body": {"filename": "v.mp4", "url": url, "secret": "AbC_dEf-123",
                "thumb": url, "thumb_secret": "AbC_dEf-123", "length": 0, "file_length": 58103}}),
        ),
        (
            Content::File(proto::FileContent {
                file,
                filename: String::new(),
            }),
            json!({"type": "file", "body": {"url": url, "secret": "AbC_dEf-123"}}),
        ),
        (
            Content::Location(proto::LocationContent {
                latitude: Some(39.966),
                longitude: Some(-116.0),
                address: "北京".into(),
            }),
            json!({"type": "loc", "body": {"lat": "39.966", "lng": "-116", "addr": "北京"}}),
        ),
        (
            Content::Command(proto::CommandContent {
                action: "refresh".into(),
            }),
            json!({"type": "cmd", "body": {"action": "refresh"}}),
        ),
        (
            Content::Custom(proto::CustomContent {
                event: "order/paid".into(),
                attributes: [("order".to_owned(), "7".to_owned())].into(),
            }),
            json!({"type": "custom",
                "body": {"customEvent": "order/paid", "customExts": {"order": "7"}}}),
        ),
    ];
    for (content, expected) in cases {
        for target in targets() {
            let mut json = sent(&started, message(target, content.clone())).await;
            let envelope = json.as_object_mut().unwrap();
            envelope.remove("to");
            envelope.remove("users");
            assert_eq!(json, expected);
        }
    }
}

#[tokio::test]
async fn what_is_not_set_is_left_out() {
    let started = start().await;
    let url = "https://cdn.example.com/f";
    let file = Some(proto::FileRef {
        location: Some(proto::file_ref::Location::Url(url.into())),
        secret: String::new(),
    });
    let only_url = json!({"url": url});
    for (content, body) in [
        (
            Content::Image(proto::ImageContent {
                file: file.clone(),
                ..Default::default()
            }),
            only_url.clone(),
        ),
        (
            Content::Audio(proto::AudioContent {
                file: file.clone(),
                ..Default::default()
            }),
            only_url.clone(),
        ),
        (
            Content::Video(proto::VideoContent {
                file: file.clone(),
                thumbnail: file.clone(),
                ..Default::default()
            }),
            json!({"url": url, "thumb": url}),
        ),
        (
            Content::File(proto::FileContent {
                file,
                ..Default::default()
            }),
            only_url,
        ),
        (
            Content::Custom(proto::CustomContent {
                event: "e".into(),
                ..Default::default()
            }),
            json!({"customEvent": "e"}),
        ),
    ] {
        let mut json = sent(&started, message(users(&["bob"]), content)).await;
        assert_eq!(json["body"], body);
        json.as_object_mut().unwrap().remove("type");
        assert_eq!(json, json!({"to": ["bob"], "body": body}));
    }
}

#[tokio::test]
async fn every_option_is_written_by_its_documented_name() {
    let started = start().await;
    let to_users = message(users(&["bob"]), text("hi"));
    let json = sent(
        &started,
        proto::Message {
            from_user_id: Some("alice".into()),
            extension: Some(Extension::ExtJson(r#"{"order":7}"#.into())),
            silent: true,
            sync_device: true,
            route_type: proto::RouteType::OnlineOnly.into(),
            roam_ignore_user_ids: strings(&["dave", "Eve"]),
            env: "test1".into(),
            ..to_users
        },
    )
    .await;
    assert_eq!(
        json,
        json!({"from": "alice", "to": ["bob"], "type": "txt", "body": {"msg": "hi"},
            "ext": {"order": 7, "em_ignore_notification": true}, "sync_device": true,
            "routetype": "ROUTE_ONLINE", "roam_ignore_users": ["dave", "Eve"], "env": "test1"})
    );

    let to_group = Target::Groups(proto::Groups {
        group_ids: strings(&["7"]),
        member_ids: Vec::new(),
        need_read_receipt: true,
    });
    let json = sent(
        &started,
        proto::Message {
            route_type: proto::RouteType::OnlineOnly.into(),
            roam_ignore_user_ids: strings(&["dave"]),
            env: "A1".into(),
            ..message(to_group, text("hi"))
        },
    )
    .await;
    assert_eq!(
        json,
        json!({"to": ["7"], "type": "txt", "body": {"msg": "hi"}, "need_group_ack": true,
            "routetype": "ROUTE_ONLINE", "roam_ignore_users": ["dave"], "env": "A1"})
    );

    use proto::ChatroomPriority as Priority;
    for (priority, level) in [
        (Priority::High, json!("high")),
        (Priority::Normal, json!("normal")),
        (Priority::Low, json!("low")),
    ] {
        for members in [&[][..], &["amy"]] {
            let to_room = Target::Chatrooms(proto::Chatrooms {
                chatroom_ids: strings(&["9"]),
                member_ids: strings(members),
                priority: priority.into(),
            });
            let json = sent(&started, message(to_room, text("hi"))).await;
            let mut expected = json!({"to": ["9"], "type": "txt", "body": {"msg": "hi"},
                "chatroom_msg_level": level});
            if !members.is_empty() {
                expected["users"] = json!(members);
            }
            assert_eq!(json, expected);
        }
    }
    let to_room = proto::Message {
        roam_ignore_user_ids: strings(&["dave"]),
        ..message(rooms(&["9"], &[]), text("hi"))
    };
    assert_eq!(
        sent(&started, to_room).await,
        json!({"to": ["9"], "type": "txt", "body": {"msg": "hi"}, "roam_ignore_users": ["dave"]})
    );
}

/// The extension as it was written on the wire.
async fn ext_sent(started: &Started, extension: Extension, silent: bool) -> String {
    let message = proto::Message {
        extension: Some(extension),
        silent,
        ..message(users(&["bob"]), text("hi"))
    };
    started.send(request(message)).await.unwrap();
    let call = started.only_call();
    let request = String::from_utf8(call.body.to_vec()).unwrap();
    started.easemob.clear_calls();
    let (_, ext) = request.split_once(r#","ext":"#).unwrap();
    ext.strip_suffix(r#","to":["bob"]}"#).unwrap().to_owned()
}

#[tokio::test]
async fn ext_json_arrives_digit_for_digit() {
    let started = start().await;
    let written = r#"{"n":12345678901234567890123456789,"d":1.10,"e":1E+2,"deep":[{"a":[null,-0.0]}],"t":"\u4f60\/\n"}"#;
    let ext = |text: &str| Extension::ExtJson(text.to_owned());
    assert_eq!(ext_sent(&started, ext(written), false).await, written);
    let silent = ext_sent(&started, ext(written), true).await;
    assert_eq!(
        silent,
        format!(
            r#"{{"em_ignore_notification":true,{}"#,
            written.strip_prefix('{').unwrap()
        )
    );
    assert_eq!(
        ext_sent(&started, ext("{ }"), true).await,
        r#"{"em_ignore_notification":true}"#
    );
}

#[tokio::test]
async fn ext_as_a_struct_writes_whole_numbers_without_a_fraction() {
    let started = start().await;
    let value = |kind| ProtoValue { kind: Some(kind) };
    let number = |number| value(Kind::NumberValue(number));
    let fields = [
        ("five", number(5.0)),
        ("half", number(0.5)),
        ("minus", number(-7.0)),
        ("most", number(9_007_199_254_740_992.0)),
        ("null", value(Kind::NullValue(0))),
        ("text", value(Kind::StringValue("\"你\"\0".into()))),
        (
            "list",
            value(Kind::ListValue(ListValue {
                values: vec![number(1.0), value(Kind::BoolValue(false))],
            })),
        ),
        ("object", value(Kind::StructValue(Struct::default()))),
    ];
    let ext = Struct {
        fields: fields.map(|(key, value)| (key.to_owned(), value)).into(),
    };
    assert_eq!(
        ext_sent(&started, Extension::Ext(ext), true).await,
        r#"{"em_ignore_notification":true,"five":5,"half":0.5,"list":[1,false],"minus":-7,"#
            .to_owned()
            + r#""most":9007199254740992,"null":null,"object":{},"text":"\"你\"\u0000"}"#
    );
}

#[tokio::test]
async fn a_call_has_the_documented_headers_and_none_of_the_callers() {
    let started = start().await;
    let mut request = tonic::Request::new(text_to(&["bob"]));
    for (name, value) in [
        ("authorization", "Bearer of-the-caller"),
        ("x-api-key", "of-the-caller"),
        ("cookie", "of-the-caller"),
        ("x-forwarded-for", "192.0.2.1"),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    started.send(request).await.unwrap();

    let call = started.only_call();
    let token = &started.easemob.calls(Endpoint::Token)[0];
    let answer: Value = serde_json::from_slice(&token.answer().unwrap().body).unwrap();
    let bearer = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    assert_eq!(call.headers["authorization"], bearer);
    for call in [&call, token] {
        assert_eq!(call.headers["content-type"], "application/json");
        assert_eq!(call.headers["accept"], "application/json");
        assert_eq!(
            call.headers["content-length"],
            call.body.len().to_string().as_str()
        );
        let user_agent = call.headers["user-agent"].to_str().unwrap();
        assert!(user_agent.starts_with("easemob-gateway/"), "{user_agent}");
        let host = started.easemob.addr().to_string();
        assert_eq!(call.headers["host"], host.as_str());
    }
    let names = |call: &easemob_gateway::sandbox::Call| {
        let mut names: Vec<_> = call.headers.keys().map(|name| name.to_string()).collect();
        names.sort();
        names
    };
    let common = [
        "accept",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    ];
    assert_eq!(names(token), common);
    let mut with_token = common.to_vec();
    with_token.insert(1, "authorization");
    assert_eq!(names(&call), with_token);
    assert_eq!(token.path, "/sandbox/demo/token");
    assert_eq!(
        token.json().unwrap(),
        json!({"grant_type": "client_credentials", "client_id": "sandbox-client-id",
            "client_secret": "sandbox-client-secret"})
    );
}

#[tokio::test]
async fn a_token_is_fetched_in_the_path_style_of_the_app() {
    let started = start_with(|setup| {
        setup.app(|app| {
            app.org_name = None;
            app.app_name = None;
            app.app_id = Some("sandbox-app-id".into());
        })
    })
    .await;
    started.send(text_to(&["bob"])).await.unwrap();
    let token = &started.easemob.calls(Endpoint::Token)[0];
    assert_eq!(token.path, "/app-id/sandbox-app-id/token");
}
