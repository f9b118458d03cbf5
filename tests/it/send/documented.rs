//! The documented examples: each, sent through gRPC, reaches Easemob as the documented request, and
//! the documented answer comes back as `accepted`.

use easemob_gateway::{
    proto::{self, file_ref::Location, message::Content, message::Extension},
    sandbox,
};
use prost_types::{Struct, Timestamp, Value as ProtoValue, value::Kind};
use serde_json::{Value, json};

use super::{USERS, answer, start_at};
use crate::support::request::{message, request, users};

/// Where the files of the examples are.
const FILES: &str = "https://XXXX/XXXX/XXXX/chatfiles/";

/// The two ways to name a file.
#[derive(Clone, Copy, Debug)]
enum Files {
    Url,
    Uuid,
}

/// The three ways to ask for a message without a push notification.
#[derive(Clone, Copy, Debug)]
enum Silence {
    Flag,
    Struct,
    Json,
}

#[tokio::test]
async fn documented_messages_are_sent_as_documented() {
    let vectors: Value = serde_json::from_str(include_str!("documented_sends.json")).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 9);
    let config = sandbox::Config {
        org: "XXXX".into(),
        app: "XXXX".into(),
        ..sandbox::Config::for_tests()
    };
    let started = start_at(config, |setup| {
        setup.app(|app| {
            app.org_name = Some("XXXX".into());
            app.app_name = Some("XXXX".into());
            app.public_base_url = Some("https://XXXX".into());
        })
    })
    .await;

    for vector in vectors {
        for files in [Files::Url, Files::Uuid] {
            for silence in [Silence::Flag, Silence::Struct, Silence::Json] {
                let name = format!("{} {files:?} {silence:?}", vector["name"]);
                let message = from_json(&vector["body"], files, silence);

                // As the sandbox answers, which accepts only what is documented.
                let sent = started.send(request(message.clone())).await;
                assert_eq!(sent.unwrap().accepted.len(), 1, "{name}");
                let call = started.only_call();
                assert_eq!(call.method, "POST");
                assert_eq!(call.path, "/XXXX/XXXX/messages/users");
                assert_eq!(started.take_json(), vector["body"], "{name}");

                // As the documentation answers.
                let documented = answer(&vector["response"]);
                let sent = started.send_answered(request(message), documented).await;
                assert_eq!(sent.unwrap(), documented_response(), "{name}");
                assert_eq!(started.take_json(), vector["body"], "{name}");
            }
        }
    }
    assert_eq!(started.easemob.call_count(USERS), 0);
}

/// What each of the documented answers says.
fn documented_response() -> proto::SendMessageResponse {
    proto::SendMessageResponse {
        accepted: vec![proto::Accepted {
            recipient: "user2".into(),
            message_id: "1029457500870543736".into(),
            accept_time: Some(Timestamp {
                seconds: 1_657_254_052,
                nanos: 191_000_000,
            }),
        }],
        failures: Vec::new(),
        replayed: false,
    }
}

/// The message that a caller sends to have this request made.
fn from_json(json: &Value, files: Files, silence: Silence) -> proto::Message {
    let to: Vec<_> = json["to"].as_array().unwrap().iter().map(text).collect();
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    let body = &json["body"];
    let mut message = message(users(&to), content(&text(&json["type"]), body, files));
    message.from_user_id = Some(text(&json["from"]));
    message.sync_device = json.get("sync_device") == Some(&json!(true));
    if json.get("routetype").is_some() {
        message.route_type = proto::RouteType::OnlineOnly.into();
    }
    if let Some(ext) = json.get("ext") {
        assert_eq!(*ext, json!({"em_ignore_notification": true}));
        match silence {
            Silence::Flag => message.silent = true,
            Silence::Struct => {
                let yes = ProtoValue {
                    kind: Some(Kind::BoolValue(true)),
                };
                let fields = [("em_ignore_notification".to_owned(), yes)].into();
                message.extension = Some(Extension::Ext(Struct { fields }));
            }
            Silence::Json => message.extension = Some(Extension::ExtJson(ext.to_string())),
        }
    }
    message
}

fn content(kind: &str, body: &Value, files: Files) -> Content {
    let file = |url: &str, secret: &str| {
        body.get(url).map(|url| proto::FileRef {
            location: Some(location(&text(url), files)),
            secret: text(&body[secret]),
        })
    };
    let filename = text(&body["filename"]);
    let duration_seconds = body["length"].as_u64().map(|s| s.try_into().unwrap());
    match kind {
        "txt" => Content::Text(proto::TextContent {
            text: text(&body["msg"]),
        }),
        "img" => Content::Image(proto::ImageContent {
            file: file("url", "secret"),
            filename,
            width: body["size"]["width"].as_u64().unwrap().try_into().unwrap(),
            height: body["size"]["height"].as_u64().unwrap().try_into().unwrap(),
        }),
        "audio" => Content::Audio(proto::AudioContent {
            file: file("url", "secret"),
            filename,
            duration_seconds,
        }),
        "video" => Content::Video(proto::VideoContent {
            file: file("url", "secret"),
            filename,
            thumbnail: file("thumb", "thumb_secret"),
            duration_seconds,
            size_bytes: body["file_length"].as_u64(),
        }),
        "file" => Content::File(proto::FileContent {
            file: file("url", "secret"),
            filename,
        }),
        "loc" => Content::Location(proto::LocationContent {
            latitude: Some(text(&body["lat"]).parse().unwrap()),
            longitude: Some(text(&body["lng"]).parse().unwrap()),
            address: text(&body["addr"]),
        }),
        "cmd" => Content::Command(proto::CommandContent {
            action: text(&body["action"]),
        }),
        "custom" => Content::Custom(proto::CustomContent {
            event: text(&body["customEvent"]),
            ..Default::default()
        }),
        other => panic!("{other} is none of the eight types"),
    }
}

fn location(url: &str, files: Files) -> Location {
    match files {
        Files::Url => Location::Url(url.to_owned()),
        Files::Uuid => Location::Uuid(url.strip_prefix(FILES).unwrap().to_owned()),
    }
}

/// The string; empty where there is none.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
