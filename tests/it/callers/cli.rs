//! The commands as callers of a gateway that asks who they are; and `key new`.

use std::process::Output;

use easemob_gateway::{
    caller::{CallerConfig, Mode},
    sandbox::Sandbox,
};
use tokio::process::Command;

use super::{AMY, AMY_ID, sandbox, setup};
use crate::support::{
    binary::command,
    gateway::TestGateway,
    soon,
    tls::{TlsFiles, uri},
};

async fn run(mut command: Command) -> (Option<i32>, String) {
    let output: Output = soon("the command to end", command.output()).await.unwrap();
    let mut said = String::from_utf8(output.stdout).unwrap();
    said += &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

fn send(gateway: &TestGateway, scheme: &str) -> Command {
    let mut command = command();
    command.args(["send", "text", "--app", "shop", "--to", "bob", "hello"]);
    command.env(
        "EASEMOB_GATEWAY_URL",
        format!("{scheme}://{}", gateway.addr),
    );
    command
}

fn sent(easemob: &Sandbox) -> usize {
    easemob.messages().len()
}

#[tokio::test]
async fn a_key_comes_from_the_environment_or_a_file() {
    let easemob = sandbox();
    let gateway = setup(&easemob, Mode::ApiKey).start().await;
    let (code, said) = run(send(&gateway, "http")).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("CALLER_UNAUTHENTICATED"), "{said}");

    let mut command = send(&gateway, "http");
    command.env("EASEMOB_GATEWAY_KEY", AMY);
    assert_eq!(run(command).await.0, Some(0));
    let files = TlsFiles::new();
    files.write("key", &format!("{AMY}\n"));
    let mut command = send(&gateway, "http");
    command.arg("--key-file").arg(files.path("key"));
    assert_eq!(run(command).await.0, Some(0));
    assert_eq!(sent(&easemob), 2);

    // What is no key is not sent, nor printed.
    let mut command = send(&gateway, "http");
    command.env("EASEMOB_GATEWAY_KEY", "two words\u{e9}");
    let (code, said) = run(command).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("EASEMOB_GATEWAY_KEY") && !said.contains("two words"),
        "{said}"
    );
}

#[tokio::test]
async fn certificates_come_from_files() {
    let files = TlsFiles::new();
    let easemob = sandbox();
    let gateway = setup(&easemob, Mode::Mtls)
        .server(|server| server.tls = files.config(true))
        .start()
        .await;
    let amy = files.authority.issue([uri(AMY_ID)], |_| ());
    files.write("amy.crt", &amy.certificate);
    files.write("amy.key", &amy.key);
    let mut good = send(&gateway, "https");
    good.arg("--ca").arg(files.path("ca.crt"));
    good.arg("--cert").arg(files.path("amy.crt"));
    good.arg("--cert-key").arg(files.path("amy.key"));
    let (code, said) = run(good).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(sent(&easemob), 1);

    // The system does not know the authority; and the gateway wants a certificate.
    let (code, said) = run(send(&gateway, "https")).await;
    assert_eq!(code, Some(4), "{said}");
    let mut without = send(&gateway, "https");
    without.arg("--ca").arg(files.path("ca.crt"));
    let (code, said) = run(without).await;
    assert_ne!(code, Some(0), "{said}");
    let mut plain = send(&gateway, "http");
    plain.arg("--ca").arg(files.path("ca.crt"));
    let (code, said) = run(plain).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("https://"), "{said}");
    assert_eq!(sent(&easemob), 1);
}

#[tokio::test]
async fn a_new_key_opens_the_door_with_the_lines_that_come_with_it() {
    let mut new = command();
    new.args(["key", "new", "--name", "billing"]);
    let output = new.output().await.unwrap();
    let key = String::from_utf8(output.stdout).unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!told.contains(key.trim()), "{told}");
    let lines: Vec<_> = told
        .lines()
        .skip_while(|line| !line.contains("[auth"))
        .collect();
    let settings = lines.join("\n").replace("APP", "shop");
    let settings: toml::Table = toml::from_str(&settings).unwrap();
    let caller: CallerConfig = settings["auth"]["callers"]["billing"]
        .clone()
        .try_into()
        .unwrap();

    let easemob = sandbox();
    let setup = setup(&easemob, Mode::ApiKey)
        .auth(|auth| auth.callers = [("billing".to_owned(), caller)].into());
    let gateway = setup.start().await;
    let mut command = send(&gateway, "http");
    command.env("EASEMOB_GATEWAY_KEY", key.trim());
    assert_eq!(run(command).await.0, Some(0));
}
