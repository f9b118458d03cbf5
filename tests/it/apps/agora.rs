//! Agora's credentials: the gateway makes the token, and the sandbox, which shares no code with it,
//! takes it apart.

use easemob_gateway::{
    app::{self, CredentialKind},
    sandbox::{self, Call, Endpoint, Sandbox},
};
use tonic::Code;

use super::{for_app, two_apps};
use crate::support::request::{error_info, verdict};

fn easemob() -> Sandbox {
    Sandbox::start(sandbox::Config::for_tests()).unwrap()
}

fn authorization(call: &Call) -> &str {
    call.headers["authorization"].to_str().unwrap()
}

/// Agora's credentials of the sandbox's app.
fn with_agora(app: &mut app::Config) {
    app.credentials = CredentialKind::Agora;
    app.client_id = String::new();
    app.client_secret = None;
    app.app_id = Some("a".repeat(32));
    app.app_certificate = Some("c".repeat(32).into());
}

#[tokio::test]
async fn a_token_made_here_is_sent_as_it_is() {
    let easemob = easemob();
    let gateway = two_apps(easemob.base_url(), easemob.base_url())
        .app(with_agora)
        .start()
        .await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        client.send_message(for_app("shop")).await.unwrap();
    }
    assert_eq!(easemob.call_count(Endpoint::Token), 0);
    let calls = easemob.calls(Endpoint::SendToUsers);
    let tokens: Vec<_> = calls.iter().map(|call| authorization(call)).collect();
    assert!(tokens[0].starts_with("Bearer 007"), "{tokens:?}");
    assert!(tokens.iter().all(|token| token == &tokens[0]));
    assert_eq!(calls[0].path, "/sandbox/demo/messages/users");
}

#[tokio::test]
async fn a_token_made_here_is_exchanged_where_the_settings_say_so() {
    let easemob = easemob();
    let gateway = two_apps(easemob.base_url(), easemob.base_url())
        .app(with_agora)
        .app(|app| {
            app.exchange_token = true;
            app.org_name = None;
            app.app_name = None;
        })
        .start()
        .await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        client.send_message(for_app("shop")).await.unwrap();
    }
    let tokens = easemob.calls(Endpoint::Token);
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].path, format!("/app-id/{}/token", "a".repeat(32)));
    let expected = serde_json::json!({"grant_type": "agora"});
    assert_eq!(tokens[0].json(), Some(expected));
    let made = authorization(&tokens[0]);
    assert!(made.starts_with("Bearer 007"), "{made}");
    let sent = easemob.calls(Endpoint::SendToUsers)[0].clone();
    let exchanged = authorization(&sent);
    assert!(exchanged.starts_with("Bearer YWMt"), "{exchanged}");
}

#[tokio::test]
async fn another_certificate_is_no_credential() {
    for exchange in [false, true] {
        let easemob = easemob();
        let gateway = two_apps(easemob.base_url(), easemob.base_url())
            .app(with_agora)
            .app(|app| {
                app.exchange_token = exchange;
                app.app_certificate = Some("d".repeat(32).into());
            })
            .start()
            .await;
        let mut client = gateway.client().await;
        let status = client.send_message(for_app("shop")).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        let expected = ("EASEMOB_CREDENTIALS_REJECTED".into(), "NOT_SENT".into());
        assert_eq!(verdict(&status), expected);
        let info = error_info(&status);
        assert_eq!(info.metadata["easemob_error"], "auth_bad_access_token");
        assert_eq!(easemob.messages().len(), 0);
        client.send_message(for_app("support")).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_that_has_expired_is_made_anew() {
    let easemob = easemob();
    let gateway = two_apps(easemob.base_url(), easemob.base_url())
        .app(with_agora)
        .start()
        .await;
    let mut client = gateway.client().await;
    client.send_message(for_app("shop")).await.unwrap();
    // By the sandbox's clock it is a day later: what the gateway makes now is as old as what it has.
    easemob.advance(std::time::Duration::from_secs(24 * 3_600 + 1));
    let status = client.send_message(for_app("shop")).await.unwrap_err();
    assert_eq!(error_info(&status).reason, "EASEMOB_CREDENTIALS_REJECTED");
    let calls = easemob.calls(Endpoint::SendToUsers);
    let token = |at: usize| authorization(&calls[at]);
    assert_eq!(calls.len(), 3);
    assert_eq!(token(1), token(0));
    assert_ne!(token(2), token(1));
}
