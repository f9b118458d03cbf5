//! The call: one request, one answer. What the gateway does not tell, this file does.

use tonic::{Code, Request, Status};

use crate::{
    cli::{
        gateway::{self, Gateway},
        problem::{Problem, is_from_gateway},
    },
    proto::{SendMessageRequest, SendMessageResponse},
};

/// Sends the request once. Never again by itself: whether that is safe is for the caller to judge.
pub(super) async fn send(
    request: SendMessageRequest,
    gateway: &Gateway,
) -> Result<SendMessageResponse, Problem> {
    let mut connection = gateway.connect(gateway::SEND).await?;
    let left = connection.left;
    let mut request = Request::new(request);
    request.set_timeout(left);
    let answer = tokio::time::timeout(left, connection.client.send_message(request)).await;
    match answer {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) if is_from_gateway(&status) => Err(Problem::from(&status)),
        // The request is out, and nobody tells what became of it.
        Ok(Err(status)) if !connection.is_overdue() => Err(untold(gateway, &status)),
        Ok(Err(_)) | Err(_) => Err(silence(gateway, &gateway.time(gateway::SEND))),
    }
}

/// What to do about a message that may have been sent.
const LOOK: &str = "Look whether it arrived before you send it again";

/// No answer in time.
pub(super) fn silence(gateway: &Gateway, time: &str) -> Problem {
    let what = format!(
        "{} gave no answer within {time}, so nothing tells whether the message was sent. {LOOK}.",
        gateway.name()
    );
    Problem::maybe_sent(Code::DeadlineExceeded, what)
}

/// Ctrl-C after the last byte of an upload.
pub(super) fn interrupted() -> Problem {
    let what = format!(
        "interrupted after the last byte, so nothing tells whether the message was sent. {LOOK}."
    );
    Problem::maybe_sent(Code::Cancelled, what)
}

/// An error that was made on the way, and not by a gateway.
pub(super) fn untold(gateway: &Gateway, status: &Status) -> Problem {
    let text = format!(
        "{what}. No easemob-gateway said this, so nothing tells whether the message was sent. {LOOK}, and whether \
         {name} is a gateway's gRPC port{tls}.",
        what = gateway::untold(status),
        name = gateway.name(),
        tls = match gateway.url.scheme_str() {
            Some("http") => ", and one without TLS: if it has TLS, write https://",
            _ => "",
        },
    );
    Problem::maybe_sent(status.code(), text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::{server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpListener;

    use super::*;
    use crate::cli::{problem::State, trace::Trace};

    fn gateway(listener: &TcpListener, timeout: Duration) -> Gateway {
        let url = format!("http://{}", listener.local_addr().unwrap());
        Gateway {
            url: url.parse().unwrap(),
            timeout: Some(timeout),
            trace: Trace::default(),
            credentials: Default::default(),
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
        assert_eq!(problem.send_state, Some(State::NotSent));
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
        assert_eq!(problem.send_state, Some(State::MaybeSent));
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
        assert_eq!(problem.send_state, Some(State::MaybeSent));
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
        assert_eq!(problem.send_state, Some(State::NotSent));
        assert_eq!(problem.code, "DEADLINE_EXCEEDED");
    }
}
