//! Who calls, as a value in the request's extensions; and the answer to those who may not.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use pin_project_lite::pin_project;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use crate::{
    caller::Refusal,
    grpc::{
        Peer,
        auth::{Auth, Rule},
        send::left_out,
        status::Problem,
    },
    proto::ErrorReason,
};

/// Gives every request its caller, and lets none through that needs one and has none.
#[derive(Debug, Clone)]
pub(crate) struct CallerLayer {
    auth: Auth,
}

impl CallerLayer {
    /// By these rules.
    pub(crate) fn new(auth: Auth) -> Self {
        Self { auth }
    }
}

impl<S> Layer<S> for CallerLayer {
    type Service = CallerService<S>;

    fn layer(&self, inner: S) -> CallerService<S> {
        CallerService {
            inner,
            auth: self.auth.clone(),
        }
    }
}

/// See [`CallerLayer`].
#[derive(Debug, Clone)]
pub(crate) struct CallerService<S> {
    inner: S,
    auth: Auth,
}

impl<S> CallerService<S> {
    fn check(&self, request: &mut http::Request<Body>) -> Result<(), Status> {
        let rule = self.auth.rule(request.uri().path());
        // Nothing further in has a use for the key, and what is not there is not printed.
        let key = take_key(request.headers_mut());
        let peer = request.extensions().get::<Arc<Peer>>().map(Arc::as_ref);
        let checked = match (rule, peer) {
            (Rule::Open, _) => Ok(None),
            (Rule::Off, _) => return Err(switched_off()),
            (Rule::Caller, Some(peer)) => self.auth.caller(key.as_ref(), peer).map(Some),
            (Rule::Caller, None) => return Err(left_out().into()),
        };
        let ip = peer.map(|peer| peer.address.ip());
        match checked {
            Ok(Some(caller)) => {
                request.extensions_mut().insert(caller);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(refusal) => {
                let path = request.uri().path();
                self.auth.refused(refusal, ip, path);
                Err(refused(refusal, path))
            }
        }
    }
}

impl<S> Service<http::Request<Body>> for CallerService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Response<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        match self.check(&mut request) {
            Ok(()) => Response::Admitted {
                response: self.inner.call(request),
            },
            Err(status) => Response::Refused {
                status: Some(status),
            },
        }
    }
}

pin_project! {
    /// The answer to a caller who may ask, or the refusal.
    #[project = ResponseProjection]
    pub(crate) enum Response<F> {
        Admitted { #[pin] response: F },
        Refused { status: Option<Status> },
    }
}

impl<F, E> Future for Response<F>
where
    F: Future<Output = Result<http::Response<Body>, E>>,
{
    type Output = Result<http::Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseProjection::Admitted { response } => response.poll(cx),
            ResponseProjection::Refused { status } => {
                let status = status.take().expect("a future is not polled after its end");
                Poll::Ready(Ok(status.into_http()))
            }
        }
    }
}

/// The one header with a key, which is left empty: to close the gap in the map would cost as much as all else about the
/// key. More than one is nobody's way to send it, and none of them is left.
fn take_key(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let any_twice = headers.len() > headers.keys_len();
    if any_twice && headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
        headers.remove(AUTHORIZATION);
        return None;
    }
    let key = headers.get_mut(AUTHORIZATION)?;
    Some(mem::replace(key, HeaderValue::from_static("")))
}

fn refused(refusal: Refusal, path: &str) -> Status {
    let what = match refusal {
        Refusal::NoKey => {
            "the call has no key: it belongs into the metadata, as authorization: Bearer KEY"
        }
        Refusal::UnknownKey => "the gateway does not know the call's key",
        Refusal::NoCertificate => "the connection has no certificate that names a caller",
        _ => "the connection's certificate names no caller that the gateway knows",
    };
    let problem = Problem::new(ErrorReason::CallerUnauthenticated, what);
    let method = path.rsplit('/').next().unwrap_or_default();
    if method.starts_with("Send") {
        problem.into()
    } else {
        problem.without_send_state().into()
    }
}

fn switched_off() -> Status {
    Problem::new(
        ErrorReason::InvalidRequest,
        "reflection is switched off here",
    )
    .with_code(Code::Unimplemented)
    .without_send_state()
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_in_one_header_and_is_taken_out() {
        for (values, key) in [
            (&[][..], None),
            (&["Bearer 1"], Some("Bearer 1")),
            (&["Bearer 1", "Bearer 1"], None),
            (&["Bearer 1", ""], None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("te", HeaderValue::from_static("trailers"));
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            let taken = take_key(&mut headers);
            assert_eq!(
                taken.as_ref().map(HeaderValue::as_bytes),
                key.map(str::as_bytes)
            );
            // Nothing of it is left but its name.
            let left = headers.get_all(AUTHORIZATION).iter();
            assert!(left.into_iter().all(HeaderValue::is_empty));
            assert_eq!(headers.keys_len(), headers.len());
            assert_eq!(headers["te"], "trailers");
        }
    }
}
