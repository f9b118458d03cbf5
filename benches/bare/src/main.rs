//! What the gateway is compared with: tonic servers without anything that makes a gateway, written as one
//! would write them first.
//!
//! `bare echo` answers by itself; `bare pass-through URL` passes each send on.

use std::{collections::HashMap, env, net::Ipv4Addr};

use proto::easemob::messaging::v1::{
    Accepted, DownloadFileRequest, DownloadFileResponse, SendMediaMessageRequest,
    SendMediaMessageResponse, SendMessageRequest, SendMessageResponse, SendMessagesRequest,
    SendMessagesResponse, UploadFileRequest, UploadFileResponse,
    message::{Content, Target},
    messaging_service_server::{MessagingService, MessagingServiceServer},
};
use serde::Deserialize;
use serde_json::json;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

mod proto {
    #![allow(dead_code, clippy::all, clippy::pedantic, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Stream<T> = tokio_stream::Empty<Result<T, Status>>;

/// A server, and what it does with a send.
#[derive(Debug)]
enum Bare {
    /// Answers by itself: the price of gRPC alone.
    Echo,
    /// Passes the send on.
    PassThrough {
        client: reqwest::Client,
        base_url: String,
    },
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let bare = match *arguments {
        ["echo"] => Bare::Echo,
        ["pass-through", base_url] => Bare::pass_through(base_url.to_owned())?,
        _ => return Err("bare echo | bare pass-through URL".into()),
    };
    bare.serve().await
}

#[derive(Deserialize)]
struct Reply {
    data: HashMap<String, String>,
}

impl Bare {
    /// A pass-through to Easemob at this base URL, of organization and app.
    fn pass_through(base_url: String) -> Result<Self, Error> {
        // reqwest is built without a TLS provider of its own, and wants one even for plain HTTP.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        Ok(Self::PassThrough {
            client: reqwest::Client::builder().build()?,
            base_url,
        })
    }

    /// Serves until the process is ended.
    async fn serve(self) -> Result<(), Error> {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?.with_nodelay(Some(true));
        // As the gateway tells it.
        let address = incoming.local_addr()?;
        eprintln!(r#"{{"grpc":"{address}"}}"#);
        Server::builder()
            .add_service(MessagingServiceServer::new(self))
            .serve_with_incoming(incoming)
            .await?;
        Ok(())
    }
}

async fn pass(
    client: &reqwest::Client,
    base_url: &str,
    request: SendMessageRequest,
) -> Result<HashMap<String, String>, Status> {
    let Some(message) = request.message else {
        return Err(Status::invalid_argument("no message"));
    };
    let (Some(Target::Users(users)), Some(Content::Text(text))) = (message.target, message.content)
    else {
        return Err(Status::unimplemented("text to users only"));
    };
    let body = json!({
        "from": message.from_user_id,
        "to": users.user_ids,
        "type": "txt",
        "body": { "msg": text.text },
    });
    let unavailable = |error: reqwest::Error| Status::unavailable(error.to_string());
    // `.json()` on both sides would be the same, by a feature of reqwest that nothing else needs.
    let response = client
        .post(format!("{base_url}/messages/users"))
        .bearer_auth("YWMtbench")
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(unavailable)?;
    let body = response.bytes().await.map_err(unavailable)?;
    let reply: Reply =
        serde_json::from_slice(&body).map_err(|error| Status::unknown(error.to_string()))?;
    Ok(reply.data)
}

#[tonic::async_trait]
impl MessagingService for Bare {
    type SendMessagesStream = Stream<SendMessagesResponse>;
    type DownloadFileStream = Stream<DownloadFileResponse>;

    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let ids = match self {
            Self::Echo => HashMap::from([("bob".to_owned(), "1029457500870543736".to_owned())]),
            Self::PassThrough { client, base_url } => {
                pass(client, base_url, request.into_inner()).await?
            }
        };
        let accepted = ids.into_iter().map(|(recipient, message_id)| Accepted {
            recipient,
            message_id,
            accept_time: None,
        });
        Ok(Response::new(SendMessageResponse {
            accepted: accepted.collect(),
            ..SendMessageResponse::default()
        }))
    }

    async fn send_messages(
        &self,
        _request: Request<Streaming<SendMessagesRequest>>,
    ) -> Result<Response<Self::SendMessagesStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn send_media_message(
        &self,
        _request: Request<Streaming<SendMediaMessageRequest>>,
    ) -> Result<Response<SendMediaMessageResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    // Reads it, and that is all: how fast a client can be.
    async fn upload_file(
        &self,
        request: Request<Streaming<UploadFileRequest>>,
    ) -> Result<Response<UploadFileResponse>, Status> {
        let mut parts = request.into_inner();
        while parts.message().await?.is_some() {}
        Ok(Response::new(UploadFileResponse::default()))
    }

    async fn download_file(
        &self,
        _request: Request<DownloadFileRequest>,
    ) -> Result<Response<Self::DownloadFileStream>, Status> {
        Err(Status::unimplemented(""))
    }
}
