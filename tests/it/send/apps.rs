//! Which app sends: the one that the request names, or the default.

use easemob_gateway::{
    proto::SendMessageRequest,
    sandbox::{self, Sandbox},
};
use tonic::Code;
use tonic_types::StatusExt;

use super::{USERS, start};
use crate::support::{
    gateway::{Setup, TestGateway},
    request::{error_info, text_to, verdict},
};

/// Two apps at Easemobs of their own.
struct Two {
    shop: Sandbox,
    support: Sandbox,
    gateway: TestGateway,
}

async fn two_apps(default_app: Option<&str>) -> Two {
    let shop = Sandbox::start(sandbox::Config::for_tests()).unwrap();
    let support = Sandbox::start(sandbox::Config {
        org: "acme".into(),
        app: "support".into(),
        client_secret: "another".into(),
        ..sandbox::Config::for_tests()
    })
    .unwrap();
    let mut setup = Setup::at(shop.base_url());
    let other = Setup::at(support.base_url()).app(|app| {
        app.org_name = Some("acme".into());
        app.app_name = Some("support".into());
        app.client_secret = Some("another".into());
    });
    let (_, config) = other.apps.into_iter().next().unwrap();
    setup.apps.push(("support".into(), config));
    setup.default_app = default_app.map(Into::into);
    Two {
        shop,
        support,
        gateway: setup.start().await,
    }
}

impl Two {
    /// How many sends each has had.
    fn sent(&self) -> (u64, u64) {
        (self.shop.call_count(USERS), self.support.call_count(USERS))
    }
}

fn for_app(app: &str) -> SendMessageRequest {
    SendMessageRequest {
        app: app.into(),
        ..text_to(&["bob"])
    }
}

#[tokio::test]
async fn a_request_goes_to_the_app_that_it_names_or_the_default() {
    let two = two_apps(Some("support")).await;
    let mut client = two.gateway.client().await;
    client.send_message(for_app("shop")).await.unwrap();
    assert_eq!(two.sent(), (1, 0));
    client.send_message(for_app("support")).await.unwrap();
    assert_eq!(two.sent(), (1, 1));
    client.send_message(for_app("")).await.unwrap();
    assert_eq!(two.sent(), (1, 2));
    let call = &two.support.calls(USERS)[0];
    assert_eq!(call.path, "/acme/support/messages/users");
}

#[tokio::test]
async fn among_several_apps_without_a_default_one_has_to_be_named() {
    let two = two_apps(None).await;
    let mut client = two.gateway.client().await;
    let error = client.send_message(for_app("")).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let expected = ("INVALID_REQUEST".to_owned(), "NOT_SENT".to_owned());
    assert_eq!(verdict(&error), expected);
    let details = error.get_error_details();
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, "app");
    assert!(
        violation.description.contains("several apps"),
        "{violation:?}"
    );
    client.send_message(for_app("shop")).await.unwrap();
    assert_eq!(two.sent(), (1, 0));
}

#[tokio::test]
async fn the_only_app_is_the_default() {
    let started = start().await;
    started.send(for_app("")).await.unwrap();
    started.send(for_app("shop")).await.unwrap();
    assert_eq!(started.sent(), 2);
}

#[tokio::test]
async fn an_unknown_app_is_not_found() {
    let two = two_apps(Some("shop")).await;
    let mut client = two.gateway.client().await;
    for app in [
        "other",
        "Shop",
        "shop ",
        "shop\0",
        "../shop",
        &"x".repeat(10_000),
    ] {
        let error = client.send_message(for_app(app)).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
        let expected = ("APP_NOT_CONFIGURED".to_owned(), "NOT_SENT".to_owned());
        assert_eq!(verdict(&error), expected);
        assert_eq!(error_info(&error).metadata.len(), 1);
    }
    assert_eq!(two.sent(), (0, 0));
}

#[tokio::test]
async fn one_app_s_credentials_are_of_no_concern_to_the_other() {
    let two = two_apps(None).await;
    let mut client = two.gateway.client().await;
    let unauthorized = sandbox::Fault::json(400, "invalid_grant", "client_secret does not match");
    two.shop.script(sandbox::Endpoint::Token, [unauthorized]);
    let error = client.send_message(for_app("shop")).await.unwrap_err();
    assert_eq!(error_info(&error).reason, "EASEMOB_CREDENTIALS_REJECTED");
    client.send_message(for_app("support")).await.unwrap();
    assert_eq!(two.sent(), (0, 1));
}
