//! FLOOR 4: the one way in. `MessagingService` as tonic serves it: one short method per RPC.

mod auth;
mod language;
mod layer;
mod media;
mod peer;
pub mod reason;
mod route;
mod send;
mod send_messages;
pub mod status;
mod timeout;
mod web;

use std::{convert::Infallible, sync::Arc};

use tokio::sync::Semaphore;
use tonic::{
    Request, Response, Status, Streaming, body::Body, codec::CompressionEncoding, service::Routes,
};
use tower::Service;

pub use self::{auth::Auth, peer::Peer, timeout::Timeouts, web::Pages};
use self::{route::Route, status::Problem};
use crate::{
    app::Apps,
    delivery::Delivery,
    metrics::Rpc,
    proto::{
        self,
        messaging_service_server::{MessagingService, MessagingServiceServer},
    },
    trace::Tracer,
};

/// What the service is made of. One for each shard.
#[derive(Debug, Clone)]
pub struct Messaging {
    /// The apps that callers may name.
    pub apps: Arc<Apps>,
    /// Who may use them.
    pub auth: Auth,
    /// What sends.
    pub delivery: Arc<Delivery>,
    /// Bounds of deadlines that are no RPC's: of a request on a stream, of the send after an upload.
    pub timeouts: Timeouts,
    /// Places for streams of sends, shared by all shards.
    pub streams: Arc<Semaphore>,
    /// Places for requests under way, as in [`Bounds`]: those on a stream need one each.
    pub in_flight: Arc<Semaphore>,
    /// Requests of one stream under way at once.
    pub requests_per_stream: usize,
}

/// What holds for the service as a whole, shared by all shards.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Places for requests under way.
    pub in_flight: Arc<Semaphore>,
    /// Largest request in bytes.
    pub max_request_bytes: usize,
    /// Bounds of the callers' deadlines.
    pub timeouts: Timeouts,
    /// What begins the traces of requests.
    pub tracer: Arc<Tracer>,
}

/// Everything that is served on the gRPC port, with the layers that hold for every RPC.
pub fn service<H>(
    messaging: Messaging,
    bounds: &Bounds,
    rpc: &Rpc,
    health: H,
) -> impl Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static
+ use<H>
where
    H: Service<http::Request<Body>, Error = Infallible>
        + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    H::Response: axum::response::IntoResponse,
    H::Future: Send + 'static,
{
    let auth = messaging.auth.clone();
    let messaging = MessagingServiceServer::new(messaging)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(bounds.max_request_bytes);
    let others = Routes::new(health)
        .add_service(reflection_v1())
        .add_service(reflection_v1alpha())
        .prepare();
    // From the outside in.
    tower::ServiceBuilder::new()
        // Outermost: every answer names its trace, also those of the layers below.
        .layer(layer::TraceLayer::new(Arc::clone(&bounds.tracer)))
        // Around all others: it measures what the caller sees, and knows the trace.
        .layer(layer::MetricsLayer::new(rpc))
        // Around whatever makes errors.
        .layer(layer::LanguageLayer)
        // Next: whatever is refused below gets an ErrorInfo, and a panic ends in an answer.
        .layer(layer::ErrorsLayer)
        // Before any work is done for the request, and so that nobody takes a place who may not.
        .layer(layer::CallerLayer::new(auth))
        .layer(layer::InFlightLayer::new(Arc::clone(&bounds.in_flight)))
        .layer(layer::ArrivalLayer::new(bounds.timeouts))
        .layer(layer::UploadBodyLayer::new(bounds.max_request_bytes))
        .service(Route::new(messaging, others))
}

fn reflection_v1() -> tonic_reflection::server::v1::ServerReflectionServer<
    impl tonic_reflection::server::v1::ServerReflection,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made by the build")
}

fn reflection_v1alpha() -> tonic_reflection::server::v1alpha::ServerReflectionServer<
    impl tonic_reflection::server::v1alpha::ServerReflection,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1alpha()
        .expect("the descriptors were made by the build")
}

#[tonic::async_trait]
impl MessagingService for Messaging {
    type SendMessagesStream = send_messages::Answers;
    type DownloadFileStream = media::DownloadStream;

    async fn send_message(
        &self,
        request: Request<proto::SendMessageRequest>,
    ) -> Result<Response<proto::SendMessageResponse>, Status> {
        let order = send::order(self, request)?;
        Ok(Response::new(send::send(self, order).await?))
    }

    async fn send_messages(
        &self,
        request: Request<Streaming<proto::SendMessagesRequest>>,
    ) -> Result<Response<Self::SendMessagesStream>, Status> {
        web::no_stream(&request)?;
        send_messages::send_messages(self, request)
    }

    async fn send_media_message(
        &self,
        request: Request<Streaming<proto::SendMediaMessageRequest>>,
    ) -> Result<Response<proto::SendMediaMessageResponse>, Status> {
        web::no_stream(&request)?;
        media::send_media_message(self, request).await
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<proto::UploadFileRequest>>,
    ) -> Result<Response<proto::UploadFileResponse>, Status> {
        web::no_stream(&request).map_err(Problem::without_send_state)?;
        media::upload_file(self, request).await
    }

    async fn download_file(
        &self,
        request: Request<proto::DownloadFileRequest>,
    ) -> Result<Response<Self::DownloadFileStream>, Status> {
        media::download_file(self, request).await
    }
}
