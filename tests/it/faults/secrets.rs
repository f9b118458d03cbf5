//! Secrets and content stay where they belong: not in logs of any crate at any level, not in errors,
//! not in `Debug` texts. Everything secret here has one word in it, and the word is looked for.

use std::{fmt::Debug, sync::Arc};

use easemob_gateway::{
    app::{App, Apps},
    invalid::Violations,
    message::Message,
    metrics::Registry,
    proto::{self, file_ref::Location, message::Content, message::Extension},
    server::Gateway,
};
use prost_types::{Struct, Value, value::Kind};

use crate::support::{
    binary::{Binary, command, settings},
    easemob::{Easemob, Script, UNAUTHORIZED},
    gateway::Setup,
    request::{message, request, users},
    tls::Authority,
};

const WORD: &str = "CANARY";

/// The word, in any form that a careless print gives it.
pub fn leaks(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let forms = [
        "canary",
        // In base64, at each of three offsets.
        "q0foqvjz",
        "nbtkfsw",
        "dqu5bul",
        // As bytes, in decimal and in hexadecimal.
        "67, 65, 78, 65, 82, 89",
        "43414e415259",
    ];
    let at = forms.iter().find_map(|form| lower.find(form))?;
    let line = lower[..at].rfind('\n').map_or(0, |end| end + 1);
    Some(lower[line..].lines().next().unwrap_or_default().to_owned())
}

#[track_caller]
pub fn assert_tight(what: &str, text: &str) {
    assert_eq!(leaks(text), None, "{what}");
}

pub fn secret(what: &str) -> String {
    format!("{WORD}-{what}")
}

fn file(name: &str) -> Option<proto::FileRef> {
    Some(proto::FileRef {
        location: Some(Location::Url(format!(
            "https://example.com/{}",
            secret(name)
        ))),
        secret: secret("share-secret"),
    })
}

/// Messages of which everything is secret but who gets them.
fn messages() -> Vec<proto::Message> {
    let filename = secret("filename");
    let contents = [
        Content::Text(proto::TextContent {
            text: secret("text"),
        }),
        Content::Image(proto::ImageContent {
            file: file("image"),
            filename: filename.clone(),
            ..Default::default()
        }),
        Content::Audio(proto::AudioContent {
            file: file("audio"),
            filename: filename.clone(),
            duration_seconds: Some(1),
        }),
        Content::Video(proto::VideoContent {
            file: file("video"),
            filename: filename.clone(),
            thumbnail: file("thumbnail"),
            duration_seconds: Some(1),
            size_bytes: Some(1),
        }),
        Content::File(proto::FileContent {
            file: file("file"),
            filename,
        }),
        Content::Location(proto::LocationContent {
            latitude: Some(1.0),
            longitude: Some(1.0),
            address: secret("address"),
        }),
        Content::Command(proto::CommandContent {
            action: secret("action"),
        }),
        Content::Custom(proto::CustomContent {
            event: secret("event"),
            attributes: [("key".to_owned(), secret("attribute"))].into(),
        }),
    ];
    let value = Value {
        kind: Some(Kind::StringValue(secret("ext"))),
    };
    let ext = Struct {
        fields: [("key".to_owned(), value)].into(),
    };
    let extensions = [
        Extension::Ext(ext),
        Extension::ExtJson(format!(r#"{{"key":"{}"}}"#, secret("ext-json"))),
    ];
    let extensions = extensions.into_iter().cycle();
    let with = |(content, extension)| proto::Message {
        extension: Some(extension),
        ..message(users(&["bob"]), content)
    };
    contents.into_iter().zip(extensions).map(with).collect()
}

/// The same, and each wrong in a way that the gateway finds out.
fn wrong_messages() -> Vec<proto::Message> {
    let bad_file = |location| proto::FileRef {
        location: Some(location),
        secret: secret("share-secret"),
    };
    let files = [
        Location::Uuid(secret("no uuid")),
        Location::Url(secret("no url")),
        Location::Url(format!("https://{}\n.example.com", secret("url"))),
        Location::Url(format!("gopher://{}", secret("url"))),
        Location::Url(format!(
            "https://example.com/{}",
            secret(&"x".repeat(3_000))
        )),
    ];
    let mut wrong: Vec<_> = files
        .into_iter()
        .map(|location| {
            let content = Content::File(proto::FileContent {
                file: Some(bad_file(location)),
                filename: format!("{}\u{7}", secret("filename")),
            });
            message(users(&["bob"]), content)
        })
        .collect();
    let [first, ..] = &messages()[..] else {
        unreachable!();
    };
    for ext in [
        secret("no json"),
        format!(r#"["{}"]"#, secret("no object")),
        format!(r#"{{"{}":}}"#, secret("key")),
        format!(r#"{{"key":"{}"#, secret("no end")),
    ] {
        wrong.push(proto::Message {
            extension: Some(Extension::ExtJson(ext)),
            ..first.clone()
        });
    }
    // Too large.
    let text = secret(&"x".repeat(4_000));
    wrong.push(message(
        users(&["bob"]),
        Content::Text(proto::TextContent { text }),
    ));
    wrong
}

#[tokio::test]
async fn neither_logs_nor_errors_hold_secrets_or_content_whatever_happens() {
    let authority = Authority::new();
    // With TLS, so that its library has something to log as well.
    let easemob = Easemob::start_tls(authority.server());
    let proxy = Easemob::start();
    let env_proxy = Easemob::start();
    let settings = format!(
        "[telemetry]\nlog_filter = 'trace'\n\
         [apps.shop]\nbase_url = '{}'\norg_name = 'o'\napp_name = 'a'\nclient_id = 'i'\n\
         client_secret_env = 'SHOP_SECRET'\nca_file = '{}'\n\
         [apps.shop.timeouts]\nattempt = '500ms'\n\
         [apps.proxied]\nbase_url = 'http://proxied.invalid'\ninsecure_http = true\n\
         org_name = 'o'\napp_name = 'a'\nclient_id = 'i'\nclient_secret_env = 'SHOP_SECRET'\n\
         proxy_url = 'http://user:{}@{}'\n",
        easemob.url(),
        authority.file().display(),
        secret("proxy-password"),
        proxy.url().trim_start_matches("http://"),
    );
    let client_secret = secret("client-secret");
    let elsewhere = env_proxy.url();
    let gateway = Binary::serve(
        &settings,
        &[
            ("SHOP_SECRET", &client_secret),
            ("HTTP_PROXY", &elsewhere),
            ("http_proxy", &elsewhere),
            ("HTTPS_PROXY", &elsewhere),
            ("ALL_PROXY", &elsewhere),
        ],
    )
    .await;
    let mut client = gateway.client().await;
    let to_shop = |message: proto::Message| proto::SendMessageRequest {
        app: "shop".into(),
        // Each message has its own.
        request_id: fastrand::u64(..).to_string(),
        ..request(message)
    };
    let mut seen = String::new();
    let mut look = |result: &dyn Debug| seen += &format!("{result:?}\n");

    for message in messages() {
        let sent = client.send_message(to_shop(message)).await.unwrap();
        look(&sent);
    }
    let quoting = format!(
        r#"{{"error":"json_parse","error_description":"Unexpected token: {}"}}"#,
        secret("text")
    );
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"data\":{\"CANARY";
    let faults = [
        Script::read().fin(),
        Script::read().reset(),
        Script::read().silence(),
        Script::read().write(half).fin(),
        Script::read().answer(200, &secret("no json")),
        Script::read().answer(200, r#"{"data":{}}"#),
        Script::read().answer(500, &secret("html")),
        Script::read().answer(503, &format!(r#"{{"data":"{}"}}"#, secret("data"))),
        Script::read().answer(400, &quoting),
        Script::read().answer(413, ""),
        Script::read().answer(429, r#"{"error":"resource_limited"}"#),
        Script::read().write(format!(
            "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
            secret("location")
        )),
    ];
    for fault in faults {
        easemob.on_send(fault);
        let message = messages().swap_remove(0);
        look(&client.send_message(to_shop(message)).await.unwrap_err());
    }
    for message in wrong_messages() {
        look(&client.send_message(to_shop(message)).await.unwrap_err());
    }
    // A token is refused, and a new one as well.
    easemob.always_on_send(Script::read().answer(401, UNAUTHORIZED));
    let message = messages().swap_remove(0);
    look(
        &client
            .send_message(to_shop(message.clone()))
            .await
            .unwrap_err(),
    );
    easemob.down();
    look(
        &client
            .send_message(to_shop(message.clone()))
            .await
            .unwrap_err(),
    );
    // Through a proxy that wants a password, and then is not there.
    let mut proxied = to_shop(message);
    proxied.app = "proxied".into();
    look(&client.send_message(proxied.clone()).await.unwrap());
    proxy.down();
    proxied.request_id = "another".into();
    look(&client.send_message(proxied).await.unwrap_err());

    gateway.terminate();
    let (status, said) = gateway.ended().await;

    assert!(status.success(), "{status}");
    assert_tight("errors", &seen);
    assert_tight("logs", &said);
    // All of it was logged, and sent.
    for part in ["hyper_util", "h2::", "reqwest", "easemob_gateway"] {
        assert!(said.contains(part), "nothing of {part} in the logs");
    }
    let requests = easemob.seen();
    assert!(format!("{:?}", requests.tokens).contains(&client_secret));
    assert!(format!("{:?}", requests.sends).contains("share-secret"));
    // What the environment says about proxies is not for the gateway.
    assert_eq!(env_proxy.seen().connections, 0);
    assert_eq!(proxy.seen().sends.len(), 1);
}

#[tokio::test]
async fn settings_are_printed_without_secrets() {
    let path = settings(&format!(
        "[apps.shop]\nbase_url = 'https://a1.easemob.com'\norg_name = 'o'\napp_name = 'a'\n\
         client_id = 'i'\nclient_secret_env = 'SHOP_SECRET'\n\
         proxy_url = 'http://user:{}@127.0.0.1:1'\n",
        secret("proxy-password")
    ));
    for subcommand in ["print", "check"] {
        let mut command = command();
        command.args(["config", subcommand, "--config"]).arg(&path);
        command.env("SHOP_SECRET", secret("client-secret"));
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_tight(subcommand, &String::from_utf8(output.stdout).unwrap());
        assert_tight(subcommand, &String::from_utf8(output.stderr).unwrap());
    }
}

#[tokio::test]
async fn debug_texts_hold_neither_secrets_nor_content() {
    let setup = Setup::at("http://127.0.0.1:1").app(|app| {
        app.client_secret = Some(secret("client-secret").into());
    });
    let (name, config) = &setup.apps[0];
    let violations = Violations::default();
    let app = App::new(name, config, violations.root()).unwrap();
    assert_tight("settings", &format!("{config:?}"));
    assert_tight("app", &format!("{app:?}"));
    for message in messages() {
        assert_tight("contract", &format!("{:?}", request(message.clone())));
        let checked = Message::check(message, &app, violations.root()).unwrap();
        let json = String::from_utf8(checked.to_json(&checked.target.recipients)).unwrap();
        assert!(leaks(&json).is_some(), "it is not even in the message");
        assert_tight("message", &format!("{checked:?}"));
    }
    for message in wrong_messages() {
        let violations = Violations::default();
        let _too_large_is_not_found_here = Message::check(message, &app, violations.root());
        assert_tight("violations", &format!("{:?}", violations.into_vec()));
    }
    let apps = Apps::new([app], None);
    assert_tight("apps", &format!("{apps:?}"));
    let gateway = Gateway::new(
        apps,
        Default::default(),
        setup.server,
        setup.delivery,
        setup.media,
        &setup.store,
        Registry::unexported().unwrap(),
    )
    .unwrap();
    assert_tight("gateway", &format!("{:?}", Arc::new(gateway)));
}
