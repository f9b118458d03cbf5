//! What is the same message, and what is another.

use prost_types::{Struct, Value, value::Kind as ValueKind};

use super::*;
use crate::{
    app,
    invalid::Violations,
    proto::{self, file_ref::Location, message::Content, message::Extension, message::Target},
};

fn app(name: &str) -> App {
    let config = app::Config {
        base_url: "http://127.0.0.1:1".into(),
        public_base_url: Some("https://files.example.com".into()),
        org_name: Some("acme".into()),
        app_name: Some("shop".into()),
        client_id: "id".into(),
        client_secret: Some("secret".into()),
        ..app::Config::default()
    };
    let violations = Violations::default();
    App::new(name, &config, violations.root()).expect("the settings are right")
}

fn users(ids: &[&str]) -> Option<Target> {
    let user_ids = ids.iter().map(|&id| id.to_owned()).collect();
    Some(Target::Users(proto::Users { user_ids }))
}

fn text(words: &str) -> proto::Message {
    proto::Message {
        target: users(&["amy", "bob"]),
        content: Some(Content::Text(proto::TextContent { text: words.into() })),
        ..Default::default()
    }
}

fn all_of(message: proto::Message) -> Fingerprints {
    let violations = Violations::default();
    let app = app("shop");
    let checked = Message::check(message, &app, violations.root());
    let violations = violations.into_vec();
    checked
        .unwrap_or_else(|| panic!("{violations:?}"))
        .fingerprints(&app)
}

fn of(message: proto::Message) -> Fingerprint {
    all_of(message)[0]
}

fn with(change: impl FnOnce(&mut proto::Message)) -> Fingerprint {
    let mut message = text("hello");
    change(&mut message);
    of(message)
}

fn json(ext: &str) -> Fingerprint {
    with(|message| message.extension = Some(Extension::ExtJson(ext.into())))
}

#[test]
fn the_order_and_case_of_recipients_and_the_spelling_of_json_do_not_matter() {
    let first = of(text("hello"));
    assert_eq!(
        with(|message| message.target = users(&["Bob", "AMY"])),
        first
    );
    assert_eq!(json("{}"), first);

    let both = json(r#"{"a":5,"b":{"c":[1.50]}}"#);
    assert_eq!(json("{ \"b\": {\"c\":[15e-1]},\n\"\\u0061\": 5.0}"), both);
    let number = |number| Value {
        kind: Some(ValueKind::NumberValue(number)),
    };
    let fields = [("a".to_owned(), number(5.0))].into();
    let as_struct = with(|message| message.extension = Some(Extension::Ext(Struct { fields })));
    assert_eq!(as_struct, json(r#"{"a":5}"#));
}

#[test]
fn whatever_recipients_could_tell_apart_is_another_message() {
    let mut seen = vec![of(text("hello"))];
    for other in [
        of(text("hello ")),
        with(|message| message.target = users(&["amy"])),
        with(|message| message.target = users(&["amy", "bobb"])),
        with(|message| {
            let group_ids = vec!["amy".into(), "bob".into()];
            message.target = Some(Target::Groups(proto::Groups {
                group_ids,
                ..Default::default()
            }));
        }),
        with(|message| message.from_user_id = Some("amy".into())),
        with(|message| message.silent = true),
        with(|message| message.sync_device = true),
        with(|message| message.route_type = proto::RouteType::OnlineOnly.into()),
        with(|message| message.roam_ignore_user_ids = vec!["amy".into()]),
        with(|message| message.env = "amy".into()),
        with(|message| {
            let action = "hello".into();
            message.content = Some(Content::Command(proto::CommandContent { action }));
        }),
        json(r#"{"a":1}"#),
        json(r#"{"a":"1"}"#),
    ] {
        assert!(!seen.contains(&other), "{} of them", seen.len());
        seen.push(other);
    }
    let violations = Violations::default();
    let app = app("other");
    let message = Message::check(text("hello"), &app, violations.root()).unwrap();
    assert!(!seen.contains(&message.fingerprints(&app)[0]));
}

fn video(file: Option<&str>, thumbnail: Option<&str>, size_bytes: Option<u64>) -> proto::Message {
    let at = |uuid: &str| proto::FileRef {
        location: Some(Location::Uuid(uuid.to_owned())),
        secret: "s".into(),
    };
    proto::Message {
        content: Some(Content::Video(proto::VideoContent {
            file: file.map(at),
            thumbnail: thumbnail.map(at),
            filename: "cat.mp4".into(),
            duration_seconds: Some(3),
            size_bytes,
        })),
        ..text("")
    }
}

fn upload(thumbnail: Option<&str>) -> Fingerprint {
    let violations = Violations::default();
    let app = app("shop");
    let message = video(None, thumbnail, None);
    let message = MediaMessage::check(message, true, &app, violations.root()).unwrap();
    message.fingerprint(&app)
}

#[test]
fn a_message_with_its_file_may_be_the_second_half_of_an_upload() {
    let sent = all_of(video(Some("1"), None, Some(9)));
    assert_eq!(sent[1..], [upload(None)]);
    // An upload that is repeated as a plain message with another file is told apart by the record.
    assert_eq!(all_of(video(Some("2"), None, None))[1..], [upload(None)]);
    assert_ne!(
        of(video(Some("2"), None, None)),
        of(video(Some("1"), None, None))
    );

    // The thumbnail is the caller's own, or came with the upload.
    let sent = all_of(video(Some("1"), Some("t"), Some(9)));
    assert_eq!(sent[1..], [upload(Some("t")), upload(None)]);
    assert_ne!(upload(Some("t")), upload(Some("u")));
}

#[test]
fn the_files_of_a_message_are_read_back() {
    let violations = Violations::default();
    let message = video(Some("1"), Some("t"), Some(9));
    let message = Message::check(message, &app("shop"), violations.root()).unwrap();
    let files = message.files().unwrap();
    assert_eq!(files.url, "https://files.example.com/acme/shop/chatfiles/1");
    let thumbnail = "https://files.example.com/acme/shop/chatfiles/t";
    assert_eq!(files.thumbnail_url.as_deref(), Some(thumbnail));
    assert_eq!(files.secret.as_deref(), Some("s"));
    assert_eq!(files.thumbnail_secret.as_deref(), Some("s"));
    assert_eq!(files.size_bytes, Some(9));
}
