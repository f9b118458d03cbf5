//! `easemob-gateway doctor`: each misconfiguration is named, and nothing else is.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
};

use easemob_gateway::sandbox::{Config, Endpoint, Sandbox};
use rcgen::date_time_ymd;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    binary::{command, settings},
    easemob::{Closed, Easemob, Script},
    redis::Redis,
    soon,
    tls::{Authority, TlsFiles, self_signed},
};

/// An app, a gateway, and what a test adds to either.
struct World {
    folder: TempDir,
    base_url: String,
    org: &'static str,
    app: String,
    rest: String,
}

impl World {
    fn at(base_url: impl Into<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self {
            folder,
            base_url: base_url.into(),
            org: "sandbox",
            app: String::new(),
            rest: String::new(),
        };
        world.secret("sandbox-client-secret", 0o400);
        world
    }

    fn secret(&self, text: &str, mode: u32) {
        let path = self.folder.path().join("secret");
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// More of the app's settings.
    fn app(mut self, toml: impl Into<String>) -> Self {
        self.app = toml.into();
        self
    }

    /// More sections.
    fn rest(mut self, toml: impl Into<String>) -> Self {
        self.rest = toml.into();
        self
    }

    fn trusting(self, authority: &Authority) -> Self {
        let file = authority.file();
        self.app(format!("ca_file = '{}'", file.display()))
    }

    fn settings(&self) -> String {
        let secret = self.folder.path().join("secret");
        let server = match self.rest.contains("[server]") {
            true => "",
            false => "[server]\nlisten = '127.0.0.1:0'\noperations_listen = '127.0.0.1:0'\n",
        };
        let credentials = match self.app.contains("agora") {
            true => String::new(),
            false => format!(
                "client_id = 'sandbox-client-id'\nclient_secret_file = '{}'\n",
                secret.display()
            ),
        };
        format!(
            "{server}{}\n[apps.shop]\nbase_url = '{}'\norg_name = '{}'\napp_name = 'demo'\n{credentials}{}\n",
            self.rest, self.base_url, self.org, self.app
        )
    }

    async fn examine(&self) -> Report {
        let mut command = command();
        command.args(["doctor", "--json", "--config"]);
        command.arg(settings(&self.settings()));
        let output = soon("doctor ends", command.output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let json = serde_json::from_slice(&output.stdout);
        Report {
            code: output.status.code(),
            json: json.unwrap_or_else(|error| panic!("{error}: {said}")),
        }
    }
}

struct Report {
    code: Option<i32>,
    json: Value,
}

impl Report {
    fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().unwrap()
    }

    fn with(&self, verdict: &str) -> Vec<&Value> {
        let all = self.findings().iter();
        all.filter(|finding| finding["verdict"] == verdict)
            .collect()
    }

    /// There is nothing to object to.
    #[track_caller]
    fn is_fine(&self) {
        assert_eq!(self.code, Some(0), "{:#}", self.json);
        assert_eq!(self.json["verdict"], "ok", "{:#}", self.json);
        assert!(self.with("problem").is_empty() && self.with("warning").is_empty());
    }

    /// This is the one thing that is wrong, in these words.
    #[track_caller]
    fn names(&self, verdict: &str, subject: &str, check: &str, words: &[&str]) {
        let all = &self.json;
        let wrong = [self.with("problem"), self.with("warning")].concat();
        let [finding] = wrong[..] else {
            panic!("not one finding: {all:#}")
        };
        assert_eq!(finding["verdict"], verdict, "{finding:#}");
        assert_eq!(finding["subject"], subject, "{finding:#}");
        assert_eq!(finding["check"], check, "{finding:#}");
        let text = finding.to_string();
        for word in words {
            assert!(text.contains(word), "no {word} in {finding:#}");
        }
        for key in ["tried", "found", "fault", "change"] {
            assert!(
                finding[key].as_str().is_some_and(|text| !text.is_empty()),
                "no {key} in {finding:#}"
            );
        }
        let code = if verdict == "problem" { 1 } else { 0 };
        assert_eq!(self.code, Some(code), "{all:#}");
        assert!(!all.to_string().contains("sandbox-client-secret"));
    }
}

fn sandbox() -> Sandbox {
    Sandbox::start(Config::for_tests()).unwrap()
}

#[tokio::test]
async fn what_is_right_is_told_so_at_the_cost_of_one_token() {
    let easemob = sandbox();
    let report = World::at(easemob.base_url()).examine().await;
    report.is_fine();
    assert_eq!(easemob.call_count(Endpoint::Token), 1);
    assert_eq!(easemob.messages().len(), 0);
    let checks: Vec<_> = report
        .findings()
        .iter()
        .filter_map(|finding| finding["check"].as_str())
        .collect();
    for check in ["settings", "secret", "dns", "tcp", "credentials", "clock"] {
        assert!(checks.contains(&check), "{checks:?}");
    }
}

#[tokio::test]
async fn agoras_credentials_are_tried_too() {
    let easemob = sandbox();
    let world = |certificate: &str| {
        let world = World::at(easemob.base_url());
        world.secret(certificate, 0o400);
        let file = world.folder.path().join("secret").display().to_string();
        let id = "a".repeat(32);
        world.app(format!(
            "credentials = 'agora'\napp_id = '{id}'\napp_certificate_file = '{file}'"
        ))
    };
    world(&"c".repeat(32)).examine().await.is_fine();
    let report = world(&"d".repeat(32)).examine().await;
    report.names("problem", "app shop", "credentials", &["App Certificate"]);
}

#[tokio::test]
async fn a_wrong_host_name() {
    let report = World::at("https://nobody.invalid").examine().await;
    let words = ["nobody.invalid", "apps.shop.base_url"];
    report.names("problem", "app shop", "dns", &words);
}

#[tokio::test]
async fn a_port_that_refuses() {
    let closed = Closed::new();
    let report = World::at(closed.url()).examine().await;
    report.names("problem", "app shop", "tcp", &["nothing listens there"]);
}

#[tokio::test]
async fn a_self_signed_certificate() {
    let easemob = Easemob::start_tls(self_signed());
    let report = World::at(easemob.url()).examine().await;
    report.names("problem", "app shop", "tls", &["self-signed", "ca_file"]);
}

#[tokio::test]
async fn a_certificate_that_has_expired() {
    let authority = Authority::new();
    let expired = authority.server_with("127.0.0.1", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let easemob = Easemob::start_tls(expired);
    let world = World::at(easemob.url()).trusting(&authority);
    let words = ["has expired at 2021-01-01T00:00:00Z"];
    let report = world.examine().await;
    report.names("problem", "app shop", "tls", &words);
}

#[tokio::test]
async fn a_certificate_of_another_host() {
    let authority = Authority::new();
    let easemob = Easemob::start_tls(authority.server_with("a1.easemob.com", |_| ()));
    let world = World::at(easemob.url()).trusting(&authority);
    let words = ["for another host", "a1.easemob.com"];
    let report = world.examine().await;
    report.names("problem", "app shop", "tls", &words);
}

#[tokio::test]
async fn an_authority_that_nobody_knows() {
    let easemob = Easemob::start_tls(Authority::new().server());
    let report = World::at(easemob.url()).examine().await;
    let words = ["an authority that is not trusted", "apps.shop.ca_file"];
    report.names("problem", "app shop", "tls", &words);
}

#[tokio::test]
async fn https_where_plain_http_is_spoken() {
    let easemob = sandbox();
    let url = easemob.base_url().replace("http:", "https:");
    let report = World::at(url).examine().await;
    report.names("problem", "app shop", "tls", &["does not speak TLS"]);
}

#[tokio::test]
async fn a_wrong_org() {
    let easemob = sandbox();
    let mut world = World::at(easemob.base_url());
    world.org = "sandbocks";
    let report = world.examine().await;
    let words = ["no app of this org and name", "org_name"];
    report.names("problem", "app shop", "credentials", &words);
}

#[tokio::test]
async fn a_wrong_secret() {
    let easemob = sandbox();
    let world = World::at(easemob.base_url());
    world.secret("CANARY-secret", 0o400);
    let report = world.examine().await;
    let words = ["refuses client_id or client secret", "client_secret_file"];
    report.names("problem", "app shop", "credentials", &words);
    assert!(!report.json.to_string().contains("CANARY"));
}

#[tokio::test]
async fn a_secret_that_is_not_there() {
    let easemob = sandbox();
    let world = World::at(easemob.base_url());
    fs::remove_file(world.folder.path().join("secret")).unwrap();
    let report = world.examine().await;
    let words = ["apps.shop.client_secret_file cannot be read"];
    report.names("problem", "app shop", "secret", &words);
    assert_eq!(easemob.call_count(Endpoint::Token), 0);
}

#[tokio::test]
async fn a_secret_that_everybody_can_read() {
    let easemob = sandbox();
    let world = World::at(easemob.base_url());
    world.secret("sandbox-client-secret", 0o644);
    let report = world.examine().await;
    report.names("warning", "app shop", "secret", &["mode 0644", "chmod"]);
}

#[tokio::test]
async fn a_clock_that_is_wrong() {
    let easemob = Easemob::start();
    let token = r#"{"access_token":"CANARY","expires_in":3600}"#;
    easemob.on_token(Script::read().write(format!(
        "HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: {}\r\n\r\n{token}",
        token.len()
    )));
    let report = World::at(easemob.url()).examine().await;
    report.names("problem", "app shop", "clock", &["ahead of", "NTP"]);
    assert!(!report.json.to_string().contains("CANARY"));
}

#[tokio::test]
async fn a_proxy_that_refuses() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = proxy.local_addr().unwrap();
    let asked = thread::spawn(move || {
        let (mut socket, _) = proxy.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        socket
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        String::from_utf8(request).unwrap()
    });
    let report = World::at("https://a1.example.com")
        .app(format!("proxy_url = 'http://amy:CANARY@{at}'"))
        .examine()
        .await;
    let words = ["refuses to connect to a1.example.com:443", "HTTP 403"];
    report.names("problem", "app shop", "proxy", &words);
    assert!(!report.json.to_string().contains("CANARY"));
    let asked = asked.join().unwrap();
    assert!(asked.contains("Proxy-Authorization: Basic YW15OkNBTkFSWQ=="));
}

#[tokio::test]
async fn a_port_that_is_taken() {
    let easemob = sandbox();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = other.local_addr().unwrap();
    let report = World::at(easemob.base_url())
        .rest(format!(
            "[server]\nlisten = '{listen}'\noperations_listen = '127.0.0.1:0'"
        ))
        .examine()
        .await;
    let words = ["another process listens", "server.listen"];
    report.names("problem", "gateway", "port", &words);
}

#[tokio::test]
async fn a_collector_that_is_not_there() {
    let easemob = sandbox();
    let closed = Closed::new();
    let report = World::at(easemob.base_url())
        .rest(format!("[telemetry]\notlp_endpoint = '{}'", closed.url()))
        .examine()
        .await;
    let words = ["nothing listens there", "telemetry.otlp_endpoint"];
    report.names("problem", "collector", "tcp", &words);
}

#[tokio::test]
async fn a_collector_that_is_none() {
    let easemob = sandbox();
    let other = sandbox();
    for protocol in ["grpc", "http"] {
        let url = other.base_url();
        let report = World::at(easemob.base_url())
            .rest(format!(
                "[telemetry]\notlp_endpoint = '{url}'\notlp_protocol = '{protocol}'"
            ))
            .examine()
            .await;
        let words = ["does not take OTLP", "telemetry.otlp_protocol"];
        report.names("problem", "collector", "export", &words);
    }
}

#[tokio::test]
async fn a_redis_that_is_not_there_refuses_or_forgets() {
    let easemob = sandbox();
    let redis = Redis::start_with(&["--requirepass", "right"]).await;
    let address = redis.url().replace("redis://", "");
    let closed = Closed::new().url().replace("http://", "redis://");
    let at = |url: String| {
        let world = World::at(easemob.base_url());
        world.rest(format!("[store]\nkind = 'redis'\nurl = '{url}'"))
    };
    let report = at(closed).examine().await;
    report.names(
        "problem",
        "redis",
        "redis",
        &["no connection", "NetworkPolicy"],
    );
    let report = at(format!("redis://:CANARY@{address}")).examine().await;
    report.names(
        "problem",
        "redis",
        "redis",
        &["refuses the user or the password", "store.url"],
    );
    // Started for tests, it keeps nothing on disk.
    let report = at(format!("redis://:right@{address}")).examine().await;
    report.names(
        "warning",
        "redis",
        "redis",
        &["appendonly is off", "set appendonly yes"],
    );
}

fn with_tls(easemob: &Sandbox, folder: &Path) -> World {
    let folder = folder.display();
    World::at(easemob.base_url()).rest(format!(
        "[server]\nlisten = '127.0.0.1:0'\noperations_listen = '127.0.0.1:0'\n[server.tls]\n\
         cert_file = '{folder}/tls.crt'\nkey_file = '{folder}/tls.key'"
    ))
}

fn close(files: &TlsFiles) {
    fs::set_permissions(files.path("tls.key"), fs::Permissions::from_mode(0o400)).unwrap();
}

#[tokio::test]
async fn a_key_of_another_certificate() {
    let (easemob, files) = (sandbox(), TlsFiles::new());
    close(&files);
    with_tls(&easemob, files.folder.path())
        .examine()
        .await
        .is_fine();
    let other = files.authority.issue_server();
    files.write("tls.crt", &other.certificate);
    let report = with_tls(&easemob, files.folder.path()).examine().await;
    let words = ["does not belong to server.tls.cert_file"];
    report.names("problem", "gateway", "certificate", &words);
}

#[tokio::test]
async fn a_certificate_of_ours_that_has_expired() {
    let (easemob, files) = (sandbox(), TlsFiles::new());
    let expired = files.authority.issue([], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    files.write("tls.crt", &expired.certificate);
    files.write("tls.key", &expired.key);
    close(&files);
    let report = with_tls(&easemob, files.folder.path()).examine().await;
    let words = ["has expired at 2021-01-01"];
    report.names("problem", "gateway", "certificate", &words);
}

#[tokio::test]
async fn for_people_it_is_words_and_no_colour_in_a_pipe() {
    let mut world = World::at(Closed::new().url());
    world.org = "acme";
    let mut command = command();
    command.args(["doctor", "--config"]);
    command.arg(settings(&world.settings()));
    let output = soon("doctor ends", command.output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in [
        "problem  app shop, tcp: ",
        "fault   ",
        "change  ",
        "1 problem",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_exit_code_2() {
    let mut command = command();
    command.args(["doctor", "--json", "--config", "/nowhere.toml"]);
    let output = soon("doctor ends", command.output()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nowhere.toml"), "{said}");
}
