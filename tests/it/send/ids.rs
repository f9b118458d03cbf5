//! IDs of every kind: what is accepted arrives intact and leaves the request's target alone.

use std::cell::Cell;

use easemob_gateway::{
    app::{self, App},
    invalid::Violations,
    proto::{self, file_ref::Location, message::Content, message::Target},
    sandbox::Endpoint,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use reqwest::Url;
use serde_json::json;
use tonic::Code;

use super::start;
use crate::support::request::{error_info, message, request, text};

fn like(pattern: &str) -> impl Strategy<Value = String> + use<> {
    prop::string::string_regex(pattern).unwrap()
}

/// IDs as they should be, and as somebody who wants to get elsewhere writes them.
fn id() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "",
        ".",
        "..",
        "...",
        "/",
        "../token",
        "a/b",
        "a\\b",
        "%2f",
        "%2e%2e",
        "a?b",
        "a#b",
        "a@b",
        "a:b",
        " ",
        "a b",
        "a\r\nb",
        "a\0b",
        "\u{202e}bob",
        "аmy",
        "ﬀ",
        "名",
        "e\u{301}",
        "I\u{307}",
        "\"",
        "a,b",
        "a;b",
    ]);
    prop_oneof![
        4 => like("[a-zA-Z0-9_.-]{1,64}"),
        1 => odd.prop_map(str::to_owned),
        1 => like("[a-z.]{60,70}"),
        1 => prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter),
        1 => like("[a-z%/.\\\\?#@:]{1,6}"),
    ]
}

/// A failing case is printed, and not written to a file.
fn cases(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}

#[test]
fn an_accepted_id_arrives_intact_and_leaves_the_path_alone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let started = runtime.block_on(start());
    let accepted = Cell::new(0);
    let mut runner = TestRunner::new(cases(400));
    let result = runner.run(&(id(), id(), 0..5_usize), |(target, user, kind)| {
        let (targets, users) = (vec![target.clone()], vec![user.clone()]);
        let groups = |group_ids, member_ids| {
            Target::Groups(proto::Groups {
                group_ids,
                member_ids,
                need_read_receipt: false,
            })
        };
        let rooms = |chatroom_ids, member_ids| {
            Target::Chatrooms(proto::Chatrooms {
                chatroom_ids,
                member_ids,
                priority: 0,
            })
        };
        let none = Vec::new;
        let (to, endpoint) = match kind {
            0 => (
                Target::Users(proto::Users { user_ids: targets }),
                Endpoint::SendToUsers,
            ),
            1 => (groups(targets, none()), Endpoint::SendToGroups),
            2 => (groups(targets, users), Endpoint::SendToGroupMembers),
            3 => (rooms(targets, none()), Endpoint::SendToChatrooms),
            _ => (rooms(targets, users), Endpoint::SendToChatroomMembers),
        };
        let mut message = message(to, text("hi"));
        message.from_user_id = Some(user.clone());
        match runtime.block_on(started.send(request(message))) {
            Ok(response) => {
                accepted.set(accepted.get() + 1);
                let call = started.only_call();
                prop_assert_eq!(call.endpoint, endpoint);
                let path = format!("/sandbox/demo{}", endpoint.path());
                prop_assert_eq!(&call.path, &path);
                let json = call.json().unwrap();
                prop_assert_eq!(&json["to"], &json!([target]));
                prop_assert_eq!(&json["from"], &json!(user));
                prop_assert_eq!(&response.accepted[0].recipient, &target);
                started.easemob.clear_calls();
            }
            Err(status) => {
                prop_assert_eq!(status.code(), Code::InvalidArgument);
                prop_assert_eq!(error_info(&status).reason, "INVALID_REQUEST");
                prop_assert_eq!(started.sent(), 0);
            }
        }
        Ok(())
    });
    result.unwrap();
    assert!(accepted.get() > 100, "{accepted:?} of 400");
}

/// The app that these settings make, if they make one.
fn app(org: &str, name: &str, app_id: Option<&str>) -> Option<App> {
    let config = app::Config {
        base_url: "https://a1.easemob.com".into(),
        org_name: app_id.is_none().then(|| org.into()),
        app_name: app_id.is_none().then(|| name.into()),
        app_id: app_id.map(Into::into),
        client_id: "id".into(),
        client_secret: Some("secret".into()),
        ..app::Config::default()
    };
    App::new("shop", &config, Violations::default().root())
}

fn segments(url: &str) -> Vec<String> {
    let url = Url::parse(url).unwrap();
    assert_eq!(url.host_str(), Some("a1.easemob.com"));
    assert_eq!((url.query(), url.fragment()), (None, None));
    url.path_segments().unwrap().map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn an_org_app_or_app_id_that_is_taken_is_one_segment(org in id(), name in id()) {
        if let Some(app) = app(&org, &name, None) {
            prop_assert_eq!(segments(&app.base_url), [&*org, &*name]);
        }
        if let Some(app) = app("", "", Some(&org)) {
            prop_assert_eq!(segments(&app.base_url), ["app-id", &*org]);
        }
    }

    #[test]
    fn a_uuid_that_is_taken_is_one_segment_of_its_url(uuid in id()) {
        let app = app("acme", "shop", None).unwrap();
        let content = Content::File(proto::FileContent {
            file: Some(proto::FileRef {
                location: Some(Location::Uuid(uuid.clone())),
                secret: String::new(),
            }),
            filename: String::new(),
        });
        let target = Target::Users(proto::Users { user_ids: vec!["bob".into()] });
        let violations = Violations::default();
        let checked = easemob_gateway::message::Message::check(
            message(target, content),
            &app,
            violations.root(),
        );
        prop_assert_eq!(checked.is_none(), !violations.is_empty());
        if let Some(message) = checked {
            let json = message.to_json(&message.target.recipients);
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            let url = json["body"]["url"].as_str().unwrap();
            prop_assert_eq!(segments(url), ["acme", "shop", "chatfiles", &*uuid]);
        }
    }
}
