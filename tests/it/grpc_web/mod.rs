//! gRPC-Web: what a page can do, what it is told, and what it cannot do to others.

mod bounds;
mod pages;

use std::collections::HashMap;

use bytes::Bytes;
use easemob_gateway::{
    sandbox::{self, Sandbox},
    server,
};
use http::HeaderMap;
use prost::Message;
use reqwest::{Client, Method, RequestBuilder};
use tonic::{Code, Status};

use crate::support::{
    gateway::{Setup, TestGateway},
    soon,
};

/// The page that may call.
const PAGE: &str = "https://console.acme.example";
const SEND: &str = "SendMessage";

struct Started {
    easemob: Sandbox,
    gateway: TestGateway,
    http: Client,
}

async fn start() -> Started {
    start_with(|setup| setup).await
}

async fn start_with(change: impl FnOnce(Setup) -> Setup) -> Started {
    let easemob = Sandbox::start(sandbox::Config::for_tests()).unwrap();
    let setup = Setup::at(easemob.base_url()).server(|server| server.grpc_web = config());
    let gateway = change(setup).start().await;
    // Whichever test is first; reqwest asks for it, TLS or not.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let http = Client::builder().no_proxy().build().unwrap();
    Started {
        easemob,
        gateway,
        http,
    }
}

fn config() -> server::grpc_web::Config {
    server::grpc_web::Config {
        listen: Some(([127, 0, 0, 1], 0).into()),
        allowed_origins: vec![PAGE.into()],
        ..Default::default()
    }
}

impl Started {
    fn request(&self, method: Method, rpc: &str) -> RequestBuilder {
        let web = self.gateway.web.unwrap();
        let url = format!("http://{web}/easemob.messaging.v1.MessagingService/{rpc}");
        self.http.request(method, url)
    }

    /// As a library for browsers calls it, from the page that may.
    fn post(&self, rpc: &str, messages: &[impl Message]) -> RequestBuilder {
        self.request(Method::POST, rpc)
            .header("origin", PAGE)
            .header("content-type", "application/grpc-web+proto")
            .header("x-grpc-web", "1")
            .body(framed(messages))
    }

    /// What the page hears.
    async fn call(&self, rpc: &str, messages: &[impl Message]) -> Heard {
        hear(self.post(rpc, messages)).await
    }
}

/// Messages as gRPC puts them into a body.
fn framed(messages: &[impl Message]) -> Vec<u8> {
    let mut body = Vec::new();
    for message in messages {
        let length = u32::try_from(message.encoded_len()).unwrap();
        body.push(0);
        body.extend(length.to_be_bytes());
        message.encode(&mut body).unwrap();
    }
    body
}

/// An answer, as far as the page can read it.
struct Heard {
    headers: HeaderMap,
    messages: Vec<Bytes>,
    status: Status,
}

impl Heard {
    #[track_caller]
    fn message<M: Message + Default>(&self) -> M {
        assert_eq!(self.status.code(), Code::Ok, "{:?}", self.status);
        assert_eq!(self.messages.len(), 1);
        M::decode(self.messages[0].clone()).unwrap()
    }
}

async fn hear(request: RequestBuilder) -> Heard {
    try_hear(request).await.unwrap()
}

/// None of it, where the connection ended while the page was still writing.
async fn try_hear(request: RequestBuilder) -> reqwest::Result<Heard> {
    let answer = soon("an answer", request.send()).await?;
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().clone();
    let body = soon("its end", answer.bytes()).await?;
    Ok(told(headers, body))
}

/// The status is in the last frame, or in the headers where there is none.
fn told(headers: HeaderMap, mut body: Bytes) -> Heard {
    let mut messages = Vec::new();
    let mut trailers = headers.clone();
    while !body.is_empty() {
        let head = body.split_to(5);
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let frame = body.split_to(usize::try_from(length).unwrap());
        if head[0] == 0 {
            messages.push(frame);
            continue;
        }
        assert_eq!((head[0], body.len()), (0x80, 0), "trailers come last");
        let lines = std::str::from_utf8(&frame).unwrap().lines();
        let lines = lines.map(|line| line.split_once(':').unwrap());
        let lines: HashMap<_, _> = lines
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        trailers = HeaderMap::try_from(&lines).unwrap();
    }
    let status = Status::from_header_map(&trailers).expect("a status");
    Heard {
        headers,
        messages,
        status,
    }
}
