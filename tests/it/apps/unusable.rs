//! What an app's settings name is missing or broken when the gateway starts: that app says so, the others
//! work, and it recovers by itself.

use easemob_gateway::sandbox::{self, Endpoint, Sandbox};
use tonic::{Code, Status};

use super::{File, for_app, recovers, two_apps};
use crate::support::{binary::Binary, easemob::Easemob, request::verdict, tls::Authority};

#[track_caller]
fn assert_not_sent(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(verdict(status), (reason.to_owned(), "NOT_SENT".to_owned()));
}

#[tokio::test]
async fn an_app_without_its_secret_harms_no_other_and_works_once_it_is_there() {
    let easemob = Sandbox::start(sandbox::Config::for_tests()).unwrap();
    let secret = File::missing();
    let gateway = two_apps(easemob.base_url(), easemob.base_url())
        .app(|shop| secret.is_secret_of(shop))
        .start()
        .await;
    let mut client = gateway.client().await;

    for _ in 0..2 {
        let status = client.send_message(for_app("shop")).await.unwrap_err();
        assert_not_sent(
            &status,
            Code::FailedPrecondition,
            "EASEMOB_CREDENTIALS_REJECTED",
        );
        let told = status.message();
        assert!(
            told.contains("cannot read the secret of this app"),
            "{told}"
        );
        assert!(told.contains("operator has to correct"), "{told}");
        // Where it is, is the operator's business.
        assert!(!told.contains(secret.path.to_str().unwrap()), "{told}");
        client.send_message(for_app("support")).await.unwrap();
    }
    // Nobody was asked with no secret.
    assert_eq!(easemob.call_count(Endpoint::Token), 1);

    secret.write("sandbox-client-secret\n");
    recovers(&mut client, "shop").await;
}

#[tokio::test]
async fn an_app_without_its_authorities_harms_no_other_and_works_once_they_are_there() {
    let authority = Authority::new();
    let (shop, support) = (Easemob::start_tls(authority.server()), Easemob::start());
    for broken in [None, Some("no certificate"), Some("\u{0}")] {
        let ca = match broken {
            None => File::missing(),
            Some(content) => File::holding(content),
        };
        let gateway = two_apps(shop.url(), support.url())
            .app(|shop| shop.ca_file = Some(ca.path.clone()))
            .start()
            .await;
        let mut client = gateway.client().await;

        let status = client.send_message(for_app("shop")).await.unwrap_err();
        assert_not_sent(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");
        let told = status.message();
        assert!(
            told.contains("cannot read the certificate authorities"),
            "{told}"
        );
        client.send_message(for_app("support")).await.unwrap();

        ca.write(&std::fs::read_to_string(authority.file()).unwrap());
        recovers(&mut client, "shop").await;
    }
}

#[tokio::test]
async fn other_authorities_are_trusted_from_the_next_connection_on() {
    let authority = Authority::new();
    let shop = Easemob::start_tls(authority.server());
    let ca = File::holding(&std::fs::read_to_string(Authority::new().file()).unwrap());
    let gateway = two_apps(shop.url(), shop.url())
        .app(|shop| shop.ca_file = Some(ca.path.clone()))
        .start()
        .await;
    let mut client = gateway.client().await;
    let status = client.send_message(for_app("shop")).await.unwrap_err();
    assert_not_sent(&status, Code::Unavailable, "EASEMOB_UNREACHABLE");

    ca.write(&std::fs::read_to_string(authority.file()).unwrap());

    recovers(&mut client, "shop").await;
}

#[tokio::test]
async fn the_process_starts_and_says_which_app_it_cannot_use() {
    let easemob = Easemob::start();
    let app = |name: &str, secret: &str| {
        format!(
            "[apps.{name}]\nbase_url = '{}'\norg_name = 'o'\napp_name = 'a'\nclient_id = 'i'\n{secret}\n",
            easemob.url()
        )
    };
    let settings = [
        app("shop", "client_secret_file = '/no/such/file'"),
        app("support", "client_secret_env = 'SUPPORT_SECRET'"),
        app("vip", "client_secret_env = 'NO_SUCH_VARIABLE'"),
    ];
    let gateway = Binary::serve(&settings.concat(), &[("SUPPORT_SECRET", "s")]).await;
    let mut client = gateway.client().await;

    client.send_message(for_app("support")).await.unwrap();
    for app in ["shop", "vip"] {
        let status = client.send_message(for_app(app)).await.unwrap_err();
        assert_not_sent(
            &status,
            Code::FailedPrecondition,
            "EASEMOB_CREDENTIALS_REJECTED",
        );
    }

    gateway.terminate();
    let (_, said) = gateway.ended().await;
    let errors: Vec<_> = said
        .lines()
        .filter(|line| line.contains(r#""level":"ERROR""#))
        .collect();
    for cause in [
        "apps.shop.client_secret_file cannot be read: /no/such/file",
        "apps.vip.client_secret_env names the variable NO_SUCH_VARIABLE, which is not set",
    ] {
        assert!(errors.iter().any(|line| line.contains(cause)), "{said}");
    }
}
