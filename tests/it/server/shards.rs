//! How connections are dealt to shards, and what a shard's service learns of its callers.

use easemob_gateway::{
    metrics::Registry,
    server::{Listener, Readiness, Shard, serve},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::support::{
    http2::Connection,
    server::{ECHO, Server, config},
    soon,
};

/// A connection that has been served, and the shard it is on.
async fn connect(server: &Server) -> (Connection, usize) {
    let mut caller = Connection::open(server.grpc).await;
    soon("an answer", caller.call(1, ECHO, b"")).await.unwrap();
    let calls = server.notes.calls.lock().unwrap();
    let &(shard, peer) = calls.last().unwrap();
    assert_eq!(peer, Some(caller.local()));
    drop(calls);
    (caller, shard)
}

#[tokio::test]
async fn connections_go_to_the_shard_that_has_the_fewest() {
    let server = Server::start(config()).await;
    let mut connections = [const { Vec::new() }; 2];
    for _ in 0..6 {
        let (connection, shard) = connect(&server).await;
        connections[shard].push(connection);
    }
    assert_eq!(connections.each_ref().map(Vec::len), [3, 3]);

    // The next ones go where some have left.
    for mut leaving in connections[1].drain(..) {
        leaving.finish().await;
    }
    for _ in 0..3 {
        assert_eq!(connect(&server).await.1, 1);
    }
}

async fn start_with(
    factory: impl Fn(&Shard) -> anyhow::Result<Routes> + Send + Sync + 'static,
) -> String {
    let listener = Listener::bind(&config()).await.unwrap();
    let (readiness, shutdown) = (Readiness::new(), CancellationToken::new());
    let registry = Registry::unexported().unwrap();
    let error = serve(
        listener,
        &config(),
        &readiness,
        &registry,
        factory,
        shutdown,
    )
    .await;
    format!("{:#}", error.unwrap_err())
}

#[tokio::test]
async fn a_service_that_cannot_be_built_ends_the_start_with_its_reason() {
    let error = start_with(|_| anyhow::bail!("no such certificate")).await;
    assert_eq!(error, "cannot build shard 0: no such certificate");
}

#[tokio::test]
async fn a_panic_while_a_service_is_built_ends_the_start() {
    let error = start_with(|shard| panic!("in shard {}", shard.index)).await;
    assert!(error.starts_with("shard 0 panicked"), "{error}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_key() {
    let taken = Listener::bind(&config()).await.unwrap();
    let listen = taken.local_addr().unwrap();
    let config = easemob_gateway::server::Config { listen, ..config() };
    let error = Listener::bind(&config).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "cannot listen on {listen} (server.listen): end what listens there, or set another port"
        )
    );
}
