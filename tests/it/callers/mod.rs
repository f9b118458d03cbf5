//! Who may send what: callers, their keys and certificates, and the apps that they may use.

mod cli;
mod matrix;
mod rotation;
mod secrets;
mod tls;

use easemob_gateway::{
    caller::{CallerConfig, Mode, key},
    proto::SendMessageRequest,
    sandbox::{self, Sandbox},
};
use tonic::Request;

use crate::support::{gateway::Setup, request::text_to};

/// The keys of two callers: `amy` may use `shop`, `ben` may use `support`.
const AMY: &str = "egk_of-amy";
const BEN: &str = "egk_of-ben";

/// The SPIFFE IDs of the same.
const AMY_ID: &str = "spiffe://acme.example/amy";
const BEN_ID: &str = "spiffe://acme.example/ben";

fn digest(key: &str) -> String {
    key::hex(&key::sha256(key.as_bytes()))
}

fn caller(key: &str, identity: &str, app: &str) -> CallerConfig {
    CallerConfig {
        key_sha256: vec![digest(key)],
        identity: Some(identity.into()),
        apps: vec![app.into()],
        ..CallerConfig::default()
    }
}

/// A gateway with the apps `shop` and `support`, both at this sandbox, and two callers.
fn setup(easemob: &Sandbox, mode: Mode) -> Setup {
    let mut setup = Setup::at(easemob.base_url()).auth(|auth| {
        auth.mode = mode;
        auth.callers = [
            ("amy".to_owned(), caller(AMY, AMY_ID, "shop")),
            ("ben".to_owned(), caller(BEN, BEN_ID, "support")),
        ]
        .into();
    });
    let support = setup.apps[0].1.clone();
    setup.apps.push(("support".into(), support));
    setup
}

fn sandbox() -> Sandbox {
    Sandbox::start(sandbox::Config::for_tests()).unwrap()
}

/// A send by whoever has this key.
fn send_with(key: &str, app: &str) -> Request<SendMessageRequest> {
    let mut request = Request::new(SendMessageRequest {
        app: app.into(),
        ..text_to(&["bob"])
    });
    let key = format!("Bearer {key}").parse().unwrap();
    request.metadata_mut().insert("authorization", key);
    request
}
