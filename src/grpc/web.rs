//! gRPC-Web: as much of gRPC as a browser can speak. Which pages may call, and what they may read.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE, ORIGIN},
};
use tonic::{Code, Request, body::Body};
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;

use super::status::Problem;
use crate::proto::ErrorReason;

/// What a page may say: what its library says of itself, and the metadata that the gateway reads.
const REQUEST_HEADERS: [HeaderName; 9] = [
    CONTENT_TYPE,
    AUTHORIZATION,
    ACCEPT_LANGUAGE,
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// What a page may read beside the answer's body: a status that comes without one stands in the headers.
const ANSWER_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("grpc-retry-pushback-ms"),
    HeaderName::from_static("x-trace-id"),
];

/// How long a browser may remember what it was told of these.
const MAX_AGE: Duration = Duration::from_secs(3600);

const FOREIGN: &str =
    "This page may not call the gateway: its origin is not in server.grpc_web.allowed_origins.\n";
const NOT_WEB: &str = "This port speaks gRPC-Web, and takes POST with the content type application/grpc-web alone.\n\
    gRPC has a port of its own, and so have pages such as /readyz.\n";

/// The pages that may call.
#[derive(Debug, Clone)]
pub struct Pages {
    origins: Arc<[HeaderValue]>,
    cors: CorsLayer,
}

/// Marks a request that came by gRPC-Web.
#[derive(Debug, Clone, Copy)]
struct ByWeb;

impl Pages {
    /// Those of these origins, such as `https://console.acme.example`.
    pub fn new(origins: impl IntoIterator<Item = HeaderValue>) -> Self {
        let origins: Arc<[_]> = origins.into_iter().collect();
        let cors = CorsLayer::new()
            .allow_origin(origins.to_vec())
            .allow_methods([Method::POST])
            .allow_headers(REQUEST_HEADERS)
            .expose_headers(ANSWER_HEADERS)
            // The cookies of what stands in front of the gateway, which reads none itself.
            .allow_credentials(true)
            .max_age(MAX_AGE);
        Self { origins, cors }
    }

    /// The service as it answers these pages, and whatever calls without a browser.
    pub fn serve<S>(
        &self,
        service: S,
    ) -> impl Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + use<S>
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
    {
        let origins = Arc::clone(&self.origins);
        let service = self.cors.layer(GrpcWebLayer::new().layer(service));
        service_fn(move |mut request: http::Request<Body>| {
            // A browser asks first whether a page of another origin may call. Not so where it takes the gateway
            // for the page's own server, whose name was made to point here.
            let origin = request.headers().get(ORIGIN);
            let may_call = origin.is_none_or(|origin| origins.contains(origin));
            request.extensions_mut().insert(ByWeb);
            let answer = may_call.then(|| service.clone().oneshot(request));
            async move {
                let Some(answer) = answer else {
                    return Ok(told(StatusCode::FORBIDDEN, FOREIGN));
                };
                // gRPC's own errors are 200.
                match answer.await? {
                    answer if answer.status().is_client_error() => {
                        Ok(told(answer.status(), NOT_WEB))
                    }
                    answer => Ok(answer),
                }
            }
        })
    }
}

/// For whoever points something else at the port.
fn told(status: StatusCode, text: &'static str) -> http::Response<Body> {
    let mut answer = http::Response::new(Body::new(text.to_owned()));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

/// Refuses a stream of requests that came by gRPC-Web: browsers send nothing before the whole of it is there,
/// and libraries for them have no such call.
pub(super) fn no_stream<T>(request: &Request<T>) -> Result<(), Problem> {
    if request.extensions().get::<ByWeb>().is_none() {
        return Ok(());
    }
    let what = "a stream of requests does not fit into gRPC-Web: from a browser, send a file through a server of yours";
    Err(Problem::new(ErrorReason::InvalidRequest, what).with_code(Code::Unimplemented))
}
