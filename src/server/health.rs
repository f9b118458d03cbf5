//! Readiness: whether to send us calls, as grpc.health.v1 and `/readyz` tell it.
//!
//! It speaks of this process alone. Were Easemob or Redis part of it, their bad hour would take all
//! replicas out at once, and with them the errors that say what is wrong.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

use crate::proto::messaging_service_server;

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its parts are being built.
    Starting,
    /// It takes calls.
    Ready,
    /// It finishes what runs and takes no more calls.
    Draining,
}

/// The one place that knows the phase; clones share it.
#[derive(Debug, Clone)]
pub struct Readiness(watch::Sender<Phase>);

impl Readiness {
    /// Of a process that is starting.
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// The `grpc.health.v1.Health` service, which answers for the process as a whole and for the
    /// messaging service alike.
    pub fn health_service(&self) -> HealthServer<impl Health + use<>> {
        HealthServer::new(self.clone())
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.0.send_replace(phase);
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_ours(request.get_ref()) {
            return Err(Status::not_found("no such service"));
        }
        Ok(Response::new(answer(self.phase().into())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let ours = is_ours(request.get_ref());
        let phases = UntilDraining::new(self.0.subscribe());
        Ok(Response::new(Box::pin(phases.map(move |phase| {
            // Not an error here: a watcher may come before the service it asks for.
            Ok(answer(if ours {
                phase.into()
            } else {
                ServingStatus::ServiceUnknown
            }))
        }))))
    }
}

impl From<Phase> for ServingStatus {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Ready => Self::Serving,
            Phase::Starting | Phase::Draining => Self::NotServing,
        }
    }
}

fn is_ours(request: &HealthCheckRequest) -> bool {
    ["", messaging_service_server::SERVICE_NAME].contains(&request.service.as_str())
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

/// Ends once it has told that the process drains: a watcher that stays must not hold up the drain.
struct UntilDraining {
    phases: WatchStream<Phase>,
    told: bool,
}

impl UntilDraining {
    fn new(phases: watch::Receiver<Phase>) -> Self {
        Self {
            phases: WatchStream::new(phases),
            told: false,
        }
    }
}

impl Stream for UntilDraining {
    type Item = Phase;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Phase>> {
        if self.told {
            return Poll::Ready(None);
        }
        let phase = ready!(Pin::new(&mut self.phases).poll_next(cx));
        self.told = phase == Some(Phase::Draining);
        Poll::Ready(phase)
    }
}
