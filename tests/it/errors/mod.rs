//! One walk over every error: each reason is provoked through the real server, and so is what the framework
//! refuses by itself, and what Easemob says at length.

mod framework;
mod internal;
mod long;
mod provoke;

use easemob_gateway::{
    grpc::reason::{self, Row, TABLE},
    proto::{ErrorReason, messaging_service_client::MessagingServiceClient},
    sandbox::{self, Sandbox},
};
use tonic::{Code, Request, Status, service::interceptor::InterceptedService, transport::Channel};
use tonic_types::StatusExt;

use self::provoke::provoke;
use crate::support::{
    gateway::{Setup, TestGateway},
    request::error_info,
};

type InChinese = fn(Request<()>) -> Result<Request<()>, Status>;
type Client = MessagingServiceClient<InterceptedService<Channel, InChinese>>;

/// An error, and how a test came by it.
struct Provoked {
    how: &'static str,
    status: Status,
    /// Where it is not the one of the table.
    code: Option<Code>,
    /// Whether it tells of a send.
    of_send: bool,
}

impl Provoked {
    fn send<T>(how: &'static str, result: Result<T, Status>) -> Self {
        let status = result.err().unwrap_or_else(|| panic!("{how}: no error"));
        Self {
            how,
            status,
            code: None,
            of_send: true,
        }
    }

    fn transfer<T>(how: &'static str, result: Result<T, Status>) -> Self {
        Self {
            of_send: false,
            ..Self::send(how, result)
        }
    }

    fn with_code(self, code: Code) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// Everything that holds for every error; that it is documented and small enough is asked there, too.
    fn assert_is(&self, row: &Row) {
        let Self { how, status, .. } = self;
        let info = error_info(status);
        let name = reason::name(row.reason);
        assert_eq!(info.reason, name, "{how}: {status:?}");
        assert_eq!(status.code(), self.code.unwrap_or(row.code), "{how}");
        let state = info.metadata.get("send_state").map(String::as_str);
        let documented = row.state.as_str_name().strip_prefix("SEND_STATE_");
        assert_eq!(
            state,
            documented.filter(|_| self.of_send),
            "{how}: {status:?}"
        );
        let details = status.get_error_details();
        let url = &details.help().expect("a link").links[0].url;
        assert_eq!(
            *url,
            format!("docs/errors.zh-CN.md#{}", name.to_lowercase())
        );
        let told = details.localized_message().expect("Chinese was asked for");
        assert!(told.locale.starts_with("zh"), "{how}: {told:?}");
        assert!(told.message.contains(row.chinese.advice), "{how}: {told:?}");
    }
}

/// A new reason does not compile until [`provoke`] has a row for it.
#[tokio::test]
async fn every_reason_reaches_its_caller_as_the_table_says() {
    for row in TABLE {
        let provoked = provoke(row.reason).await;
        assert!(!provoked.is_empty(), "{:?}", row.reason);
        for error in provoked {
            error.assert_is(row);
        }
    }
}

fn row(reason: ErrorReason) -> &'static Row {
    reason::row(reason)
}

fn sandbox() -> Sandbox {
    Sandbox::start(sandbox::Config::for_tests()).unwrap()
}

/// A gateway, what plays Easemob for it, and a client that would like to read Chinese.
struct Started<E> {
    easemob: E,
    gateway: TestGateway,
    client: Client,
}

async fn started<E>(easemob: E, setup: Setup) -> Started<E> {
    let gateway = setup.start().await;
    let client = chinese(gateway.channel().await);
    Started {
        easemob,
        gateway,
        client,
    }
}

/// In front of a sandbox.
async fn start_with(change: impl FnOnce(Setup) -> Setup) -> Started<Sandbox> {
    let easemob = sandbox();
    let setup = change(Setup::at(easemob.base_url()));
    started(easemob, setup).await
}

async fn start() -> Started<Sandbox> {
    start_with(|setup| setup).await
}

fn chinese(channel: Channel) -> Client {
    let in_chinese: InChinese = |mut request| {
        let language = "zh-CN".parse().expect("ASCII");
        request.metadata_mut().insert("accept-language", language);
        Ok(request)
    };
    MessagingServiceClient::with_interceptor(channel, in_chinese)
}
