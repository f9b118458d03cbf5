//! The call: a connection, one request, one answer. What the gateway does not tell, this file does.

use std::{error::Error, io, time::Instant};

use tonic::{Code, Request, Status, transport::Endpoint};

use super::{
    option::Gateway,
    outcome::{Problem, is_from_gateway},
};
use crate::proto::{
    SendMessageRequest, SendMessageResponse, messaging_service_client::MessagingServiceClient,
};

/// Sends the request once. Never again by itself: whether that is safe is for the caller to judge.
pub(super) async fn send(
    request: SendMessageRequest,
    gateway: &Gateway,
) -> Result<SendMessageResponse, Problem> {
    let started = Instant::now();
    let endpoint = Endpoint::from(gateway.url.clone())
        .user_agent(concat!("easemob-gateway/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| not_connected(gateway, &error))?;
    let time = humantime::format_duration(gateway.timeout);
    // Connected before the request is made: until here, nothing can have been sent.
    let connected = tokio::time::timeout(gateway.timeout, endpoint.connect()).await;
    let left = gateway.timeout.saturating_sub(started.elapsed());
    let channel = match connected {
        Ok(Err(error)) => return Err(not_connected(gateway, &error)),
        Ok(Ok(channel)) if !left.is_zero() => channel,
        Ok(Ok(_)) | Err(_) => {
            let what = format!(
                "no connection to {} within {time}. Check --gateway, or give more --timeout.",
                gateway.name()
            );
            return Err(Problem::not_connected(Code::DeadlineExceeded, what));
        }
    };

    let mut request = Request::new(request);
    request.set_timeout(left);
    let mut client = MessagingServiceClient::new(channel);
    let status = match tokio::time::timeout(left, client.send_message(request)).await {
        Ok(Ok(response)) => return Ok(response.into_inner()),
        Ok(Err(status)) if is_from_gateway(&status) => return Err(Problem::from(&status)),
        Ok(Err(status)) => status,
        Err(_elapsed) => Status::deadline_exceeded("timeout"),
    };
    // The request is out, and nobody tells what became of it. The channel has a timer of its own, and
    // calls what it ends CANCELLED.
    if started.elapsed() >= gateway.timeout {
        let what = format!(
            "{} gave no answer within {time}, so nothing tells whether the message was sent. {LOOK}.",
            gateway.name()
        );
        return Err(Problem::maybe_sent(Code::DeadlineExceeded, what));
    }
    Err(untold(gateway, &status))
}

/// What to do about a message that may have been sent.
const LOOK: &str = "Look whether it arrived before you send it again";

fn not_connected(gateway: &Gateway, error: &(dyn Error + 'static)) -> Problem {
    let root = root_cause(error);
    let refused = root
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    let what = if refused {
        format!(
            "nothing listens at {}. Start a gateway with `easemob-gateway dev`, or name another one by \
             --gateway or EASEMOB_GATEWAY_URL.",
            gateway.name()
        )
    } else {
        format!(
            "no connection to {}: {root}. Check --gateway.",
            gateway.name()
        )
    };
    Problem::not_connected(Code::Unavailable, what)
}

/// An error that was made on the way, and not by a gateway.
fn untold(gateway: &Gateway, status: &Status) -> Problem {
    let mut what = status.message().to_owned();
    if let Some(source) = status.source() {
        what = format!("{what}: {}", root_cause(source));
    }
    let text = format!(
        "{what}. No easemob-gateway said this, so nothing tells whether the message was sent. {LOOK}, and whether \
         {} is a gateway's gRPC port.",
        gateway.name()
    );
    Problem::maybe_sent(status.code(), text)
}

fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::{server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpListener;

    use super::*;
    use crate::cli::send::outcome::State;

    fn gateway(listener: &TcpListener, timeout: Duration) -> Gateway {
        let url = format!("http://{}", listener.local_addr().unwrap());
        Gateway {
            url: url.parse().unwrap(),
            timeout,
        }
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    #[tokio::test]
    async fn where_nothing_listens_nothing_is_sent_and_dev_is_named() {
        let listener = listener().await;
        let gateway = gateway(&listener, Duration::from_secs(5));
        drop(listener);
        let problem = send(SendMessageRequest::default(), &gateway)
            .await
            .unwrap_err();
        assert_eq!(problem.send_state, State::NotSent);
        assert_eq!(problem.code, "UNAVAILABLE");
        assert!(problem.message.contains("easemob-gateway dev"));
    }

    #[tokio::test]
    async fn an_answer_that_no_gateway_makes_is_maybe_sent() {
        let listener = listener().await;
        let gateway = gateway(&listener, Duration::from_secs(5));
        let proxy = async {
            let (stream, _peer) = listener.accept().await.unwrap();
            let answer = service_fn(async |_request| {
                let response = http::Response::builder().status(503);
                response.body(String::from("no upstream"))
            });
            http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await
        };
        let request = SendMessageRequest::default();
        let problem = tokio::select! {
            sent = send(request, &gateway) => sent.unwrap_err(),
            ended = proxy => panic!("the proxy ended first: {ended:?}"),
        };
        assert_eq!(problem.send_state, State::MaybeSent);
        assert_eq!(problem.reason, None);
        assert!(problem.message.contains("before you send it again"));
    }

    #[tokio::test]
    async fn silence_is_maybe_sent_once_the_time_is_over() {
        let listener = listener().await;
        let gateway = gateway(&listener, Duration::from_millis(500));
        let problem = send(SendMessageRequest::default(), &gateway)
            .await
            .unwrap_err();
        assert_eq!(problem.send_state, State::MaybeSent);
        assert_eq!(problem.code, "DEADLINE_EXCEEDED");
        assert!(problem.message.contains("within 500ms"));
    }

    #[tokio::test]
    async fn without_time_nothing_is_sent() {
        let listener = listener().await;
        let gateway = gateway(&listener, Duration::ZERO);
        let problem = send(SendMessageRequest::default(), &gateway)
            .await
            .unwrap_err();
        assert_eq!(problem.send_state, State::NotSent);
        assert_eq!(problem.code, "DEADLINE_EXCEEDED");
    }
}
