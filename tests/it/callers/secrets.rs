//! S4 at the door: no key, whole or in part, reaches a log at any level, an error or a page of settings; and
//! what the log does say of those who were refused.

use easemob_gateway::proto::messaging_service_client::MessagingServiceClient;
use rustix::process::Signal;
use serde_json::Value;
use tonic::{Code, Request, transport::Endpoint};

use super::{digest, sandbox, send_with};
use crate::{
    faults::secrets::{assert_tight, leaks, secret},
    support::{binary::Binary, request::text_to, soon, tls::TlsFiles},
};

/// The settings of a process: TLS, a file of callers, and everything logged.
fn settings(files: &TlsFiles, easemob: &str) -> String {
    format!(
        "reload_interval = '1h'\n\
         tls.cert_file = '{}'\ntls.key_file = '{}'\n\
         [telemetry]\nlog_filter = 'trace'\n\
         [auth]\nmode = 'api_key'\ncallers_file = '{}'\n\
         [apps.shop]\nbase_url = '{easemob}'\norg_name = 'sandbox'\napp_name = 'demo'\n\
         client_id = 'sandbox-client-id'\nclient_secret_env = 'SHOP_SECRET'\n",
        files.path("tls.crt").display(),
        files.path("tls.key").display(),
        files.path("callers.toml").display(),
    )
}

fn callers(key: &str) -> String {
    let digest = digest(key);
    format!("[amy]\nkey_sha256 = ['{digest}']\napps = ['shop']\n")
}

/// A key of ours with the word in it, and no more like one than it has to be.
fn key(what: &str) -> String {
    format!("egk_{}", secret(what))
}

#[tokio::test]
async fn keys_reach_no_log_and_refusals_do() {
    let files = TlsFiles::new();
    let easemob = sandbox();
    let good = key("good");
    files.write("callers.toml", &callers(&good));
    let settings = settings(&files, &easemob.base_url());
    let env = [("SHOP_SECRET", "sandbox-client-secret")];
    let gateway = Binary::serve(&settings, &env).await;
    let endpoint = Endpoint::try_from(format!("https://{}", gateway.grpc)).unwrap();
    let endpoint = endpoint.tls_config(files.trusting()).unwrap();
    let mut client = MessagingServiceClient::new(endpoint.connect().await.unwrap());

    let mut seen = String::new();
    client.send_message(send_with(&good, "shop")).await.unwrap();
    let unknown = key("unknown");
    for _ in 0..100 {
        let error = client.send_message(send_with(&unknown, "shop")).await;
        seen += &format!("{:?}", error.unwrap_err());
    }
    let other_app = secret("Other app");
    for app in ["other-app", &other_app] {
        let error = client.send_message(send_with(&good, app)).await;
        seen += &format!("{:?}", error.unwrap_err());
    }
    // In the wrong form, and in the wrong place.
    for (name, value) in [
        ("authorization", format!("Basic {}", secret("basic"))),
        ("authorization", secret("bare")),
        ("x-api-key", secret("elsewhere")),
    ] {
        let mut request = Request::new(text_to(&["bob"]));
        request.metadata_mut().insert(name, value.parse().unwrap());
        let error = client.send_message(request).await;
        seen += &format!("{:?}", error.unwrap_err());
    }
    // Keys where digests belong, and a private key that is none.
    for broken in [
        format!("[amy]\nkey_sha256 = ['{good}']\napps = ['shop']"),
        format!("[amy]\nkey_sha256 = '{good}'\napps = ['shop']"),
        format!("[amy]\nkey_sha256 = ['{good}"),
        format!("'{good}' = 1"),
        format!("[amy]\n'{good}' = 1"),
    ] {
        files.write("callers.toml", &broken);
        files.write("tls.key", &format!("-----BEGIN {}", secret("key")));
        gateway.signal(Signal::HUP);
        client.send_message(send_with(&good, "shop")).await.unwrap();
    }
    // Once another key is good, all of the above has been looked at.
    let next = key("next");
    files.write("callers.toml", &callers(&next));
    gateway.signal(Signal::HUP);
    soon("the next key to be good", async {
        while let Err(status) = client.send_message(send_with(&next, "shop")).await {
            assert_eq!(status.code(), Code::Unauthenticated);
        }
    })
    .await;
    gateway.terminate();
    let (status, said) = gateway.ended().await;
    assert!(status.success(), "{status}");

    assert_tight("errors", &seen);
    assert_tight("logs", &said);
    assert!(leaks(&good).is_some(), "the word is not even in the key");
    for part in ["h2::", "rustls", "hyper", "easemob_gateway"] {
        assert!(said.contains(part), "nothing of {part} in the logs");
    }
    assert!(said.contains("cannot be used: the gateway goes on with what it had"));

    let lines: Vec<Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["target"] == "audit")
        .collect();
    let about =
        |why: &str| -> Vec<&Value> { lines.iter().filter(|line| line["why"] == why).collect() };
    // A hundred refusals, and the time for a second line has not come.
    let unknown = about("unknown key");
    assert!((1..=3).contains(&unknown.len()), "{unknown:?}");
    assert_eq!(unknown[0]["from"], "127.0.0.1");
    assert_eq!(unknown[0]["asked"], "SendMessage");
    assert_eq!(unknown[0]["level"], "WARN");
    assert_eq!(about("no key").len(), 1);
    let apps = about("app forbidden or unknown");
    assert_eq!(apps[0]["caller"], "amy");
    assert_eq!(apps[0]["asked"], "other-app");
}

#[tokio::test]
async fn refused_certificates_are_in_the_log() {
    let files = TlsFiles::new();
    let easemob = sandbox();
    files.write("callers.toml", &callers("egk_1"));
    let settings = settings(&files, &easemob.base_url()).replace(
        "[telemetry]\nlog_filter = 'trace'",
        &format!(
            "tls.client_ca_file = '{}'\n[telemetry]",
            files.path("ca.crt").display()
        ),
    );
    let env = [("SHOP_SECRET", "sandbox-client-secret")];
    let gateway = Binary::serve(&settings, &env).await;
    let foreign = crate::support::tls::Authority::new().issue([], |_| ());
    let expired = files.authority.issue([], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    for tls in [
        files.trusting(),
        files.showing(&foreign),
        files.showing(&expired),
    ] {
        let endpoint = Endpoint::try_from(format!("https://{}", gateway.grpc)).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await;
        if let Ok(channel) = channel {
            let mut client = MessagingServiceClient::new(channel);
            let sent = client.send_message(send_with("egk_1", "shop")).await;
            sent.expect_err("a refusal");
        }
    }
    gateway.terminate();
    let (_, said) = gateway.ended().await;
    for why in [
        "no certificate",
        "certificate of a foreign authority",
        "expired certificate",
    ] {
        let line = format!("\"why\":\"{why}\"");
        assert_eq!(said.matches(&line).count(), 1, "{why}: {said}");
    }
}
