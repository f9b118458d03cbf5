//! What a request that is too large costs, in a process of its own.

use easemob_gateway::sandbox::{Config, Sandbox};
use tonic::{Code, codec::CompressionEncoding};

use crate::support::{
    binary::Binary,
    request::{error_info, message, request, text, text_to, users},
};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_request_that_is_too_large_or_swells_to_be_is_refused_in_little_memory() {
    let sandbox = Sandbox::start(Config::for_tests()).unwrap();
    let account = sandbox.config();
    let settings = format!(
        "[apps.shop]\nbase_url = '{}'\norg_name = '{}'\napp_name = '{}'\nclient_id = '{}'\n\
         client_secret_env = 'SECRET'\n",
        sandbox.base_url(),
        account.org,
        account.app,
        account.client_id,
    );
    let gateway = Binary::serve(&settings, &[("SECRET", &account.client_secret)]).await;
    let mut plain = gateway.client().await;
    let mut gzip = gateway
        .client()
        .await
        .send_compressed(CompressionEncoding::Gzip);
    plain.send_message(text_to(&["bob"])).await.unwrap();
    gzip.send_message(text_to(&["bob"])).await.unwrap();
    let before = gateway.peak_memory();

    let zeros = |bytes| request(message(users(&["bob"]), text(&"\0".repeat(bytes))));
    for error in [
        plain.send_message(zeros(5 << 20)).await,
        // 50 MB in 50 KB.
        gzip.send_message(zeros(50 << 20)).await,
    ] {
        let error = error.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
        assert_eq!(error_info(&error).reason, "MESSAGE_TOO_LARGE");
    }

    let grown = gateway.peak_memory() - before;
    assert!(grown < 8 * MIB, "grew by {} KiB", grown / 1024);
    plain.send_message(text_to(&["bob"])).await.unwrap();
}
