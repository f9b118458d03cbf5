//! `grpc.health.v1`, through a proper client.

use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::support::{
    server::{Server, config},
    soon,
};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

#[tokio::test]
async fn the_process_and_its_service_are_serving_and_nothing_else_is_known() {
    let server = Server::start(config()).await;
    let mut client = server.client().await;
    for service in ["", "easemob.messaging.v1.MessagingService"] {
        let health = client.check(of(service)).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service}");
    }
    let error = client.check(of("other")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let mut watch = client.watch(of("other")).await.unwrap().into_inner();
    let health = watch.message().await.unwrap().unwrap();
    assert_eq!(health.status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn a_watcher_is_told_of_the_drain_and_does_not_hold_it_up() {
    let server = Server::start(config()).await;
    let mut client = server.client().await;
    let mut watch = client.watch(of("")).await.unwrap().into_inner();
    let health = watch.message().await.unwrap().unwrap();
    assert_eq!(health.status(), ServingStatus::Serving);

    let report = tokio::spawn(server.stop());
    let health = soon("news", watch.message()).await.unwrap().unwrap();
    assert_eq!(health.status(), ServingStatus::NotServing);
    assert!(
        soon("the end of the watch", watch.message())
            .await
            .unwrap()
            .is_none()
    );
    let report = report.await.unwrap();
    assert!(report.in_time, "{report:?}");
}
