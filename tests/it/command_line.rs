//! The command line around its commands: completions, man pages, colours, and what common mistakes are
//! answered with.

use std::{fs, net::TcpListener, process::Output};

use easemob_gateway::{
    caller::{CallerConfig, Mode},
    sandbox::{Config, Sandbox},
};
use tokio::process::Command;

use crate::support::{
    binary::{command, settings},
    easemob::Closed,
    gateway::Setup,
    soon,
    tls::{Authority, TlsFiles},
};

const COMMANDS: [&str; 11] = [
    "dev",
    "serve",
    "sandbox",
    "send",
    "upload",
    "download",
    "config",
    "doctor",
    "key",
    "completions",
    "man",
];

async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output: Output = soon("the command to end", command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn shells_are_told_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(command().args(["completions", shell])).await;
        assert_eq!(code, Some(0));
        for name in COMMANDS {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
}

#[tokio::test]
async fn bash_completes_a_command_and_an_option() {
    let (_, script, _) = run(command().args(["completions", "bash"])).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), script).unwrap();
    for (words, last, completed) in [
        ("easemob-gateway do", "do", "download doctor"),
        ("easemob-gateway doctor --js", "--js", "--json"),
        ("easemob-gateway send loc", "loc", "location"),
    ] {
        let count = words.split(' ').count() - 1;
        let ask = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={count}; \
             function=$(complete -p easemob-gateway | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); \
             $function easemob-gateway {last} ''; echo ${{COMPREPLY[@]}}",
            file.path().display()
        );
        let (_, said, wrong) = run(Command::new("bash").args(["-c", &ask])).await;
        assert_eq!(said.trim(), completed, "{words}: {wrong}");
    }
}

#[tokio::test]
async fn every_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let (code, _, said) = run(command().arg("man").arg(&pages)).await;
    assert_eq!(code, Some(0), "{said}");
    let own = COMMANDS.map(|name| format!("easemob-gateway-{name}.1"));
    let more = ["easemob-gateway.1", "easemob-gateway-send-text.1"].map(str::to_owned);
    for name in own.into_iter().chain(more) {
        let page = fs::read_to_string(pages.join(&name)).expect(&name);
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS"] {
            assert!(page.contains(part), "{name} has no {part}");
        }
    }
    let send = fs::read_to_string(pages.join("easemob-gateway-send-text.1")).unwrap();
    assert!(send.contains("Exit codes") && send.contains("\\-\\-roam\\-ignore"));
}

#[tokio::test]
async fn colours_are_for_terminals_and_never_with_no_color() {
    let file = settings(&format!(
        "[server]\nlisten = '127.0.0.1:0'\noperations_listen = '127.0.0.1:0'\n[apps.shop]\nbase_url = '{}'\n\
         org_name = 'a'\napp_name = 'b'\nclient_id = 'c'\nclient_secret_env = 'SECRET'\n",
        Closed::new().url()
    ));
    let doctor = || {
        let mut command = command();
        command.args(["doctor", "--config"]).arg(&file);
        command
    };
    let mistake = || {
        let mut command = command();
        command.arg("docter");
        command
    };
    for ask in [&doctor as &dyn Fn() -> Command, &mistake] {
        let coloured = async |variables: &[(&str, &str)]| {
            let (_, out, err) = run(ask().envs(variables.iter().copied())).await;
            assert!(!(out.clone() + &err).is_empty());
            (out + &err).contains('\u{1b}')
        };
        assert!(!coloured(&[]).await, "in a pipe");
        assert!(coloured(&[("CLICOLOR_FORCE", "1")]).await, "asked for");
        let both = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
        assert!(!coloured(&both).await, "with NO_COLOR");
    }
}

/// What is said, and what to do about it.
#[track_caller]
fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "no {word} in: {said}");
    }
    assert!(!said.contains("error: error:"), "{said}");
}

#[tokio::test]
async fn settings_that_are_not_there_lead_to_a_file_to_start_from() {
    for words in [&["serve"][..], &["serve", "--config", "/nowhere.toml"]] {
        let (code, _, said) = run(command().args(words)).await;
        assert_eq!(code, Some(1));
        says(&said, &["config reference > gateway.toml", "config check"]);
    }
}

#[tokio::test]
async fn a_port_that_is_taken_leads_to_another() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    for (words, advice) in [
        (&["sandbox", "--listen", &taken][..], "--listen takes"),
        (
            &["dev", "--sandbox-listen", &taken, "--listen", free],
            "--sandbox-listen takes",
        ),
        (
            &[
                "dev",
                "--listen",
                &taken,
                "--sandbox-listen",
                free,
                "--operations-listen",
                free,
            ],
            "--listen, --operations-listen and --web-listen take",
        ),
    ] {
        let (code, _, said) = run(command().args(words)).await;
        assert_eq!(code, Some(1));
        says(&said, &["cannot listen on", &taken, advice, "port 0"]);
    }
}

fn send(url: &str) -> Command {
    let mut command = command();
    command.args(["send", "text", "--to", "bob", "hello", "--gateway", url]);
    command
}

#[tokio::test]
async fn a_gateway_that_cannot_be_talked_to_leads_to_the_option_that_helps() {
    let easemob = Sandbox::start(Config::for_tests()).unwrap();
    let plain = Setup::at(easemob.base_url()).start().await;
    let files = TlsFiles::new();
    let secure = Setup::at(easemob.base_url())
        .server(|server| server.tls = files.config(false))
        .start()
        .await;
    let closed = Closed::new().url();
    let (plain, secure) = (plain.addr, secure.addr);
    let (code, _, said) = run(&mut send(&closed)).await;
    assert_eq!(code, Some(4));
    says(
        &said,
        &["nothing listens", "easemob-gateway dev", "--gateway"],
    );

    let (code, _, said) = run(&mut send(&format!("grpc://{plain}"))).await;
    assert_eq!(code, Some(2));
    says(&said, &["http:// or https://"]);

    let (code, _, said) = run(&mut send(&format!("https://{plain}"))).await;
    assert_eq!(code, Some(4));
    says(&said, &["hung up when TLS began", "http://"]);

    let (_, _, said) = run(&mut send(&format!("http://{secure}"))).await;
    says(&said, &["if it has TLS, write https://"]);

    let (code, _, said) = run(&mut send(&format!("https://{secure}"))).await;
    assert_eq!(code, Some(4));
    says(&said, &["not trusted here", "--ca"]);

    let stranger = Authority::new().file();
    let mut command = send(&format!("https://localhost:{}", secure.port()));
    let (code, _, said) = run(command.arg("--ca").arg(files.path("ca.crt"))).await;
    assert_eq!(code, Some(4));
    says(&said, &["for another host"]);
    let mut command = send(&format!("https://{secure}"));
    let (_, _, said) = run(command.arg("--ca").arg(stranger)).await;
    says(&said, &["its certificate is"]);

    let mut command = send(&format!("http://{plain}"));
    let (code, _, said) = run(command.args(["--key-file", "/nowhere"])).await;
    assert_eq!(code, Some(4));
    says(&said, &["/nowhere", "Correct --key-file"]);
    assert_eq!(easemob.messages().len(), 0);
}

#[tokio::test]
async fn a_missing_or_wrong_key_leads_to_where_keys_come_from() {
    let easemob = Sandbox::start(Config::for_tests()).unwrap();
    let caller = CallerConfig {
        key_sha256: vec!["9".repeat(64)],
        apps: vec!["shop".into()],
        ..CallerConfig::default()
    };
    let gateway = Setup::at(easemob.base_url()).auth(|auth| {
        auth.mode = Mode::ApiKey;
        auth.callers = [("amy".to_owned(), caller)].into();
    });
    let gateway = gateway.start().await;
    for key in [None, Some("egk_CANARY")] {
        let mut command = send(&format!("http://{}", gateway.addr));
        command.envs(key.map(|key| ("EASEMOB_GATEWAY_KEY", key)));
        let (code, _, said) = run(&mut command).await;
        assert_eq!(code, Some(4));
        let words = [
            "CALLER_UNAUTHENTICATED",
            "EASEMOB_GATEWAY_KEY",
            "--key-file",
        ];
        says(&said, &words);
        assert!(!said.contains("CANARY"), "{said}");
    }
}
