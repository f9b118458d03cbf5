//! Where Redis is: one server, the master that Sentinels name, or a Cluster.

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisFuture,
    RedisResult, TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType},
};
use tokio::sync::Mutex;

use crate::store::Config;

/// How to get a connection.
pub(super) enum Node {
    Single(Box<Client>),
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

/// A connection that many calls share.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Node {
    /// As configured. Nothing is connected yet.
    pub(super) fn new(config: &Config) -> Result<Self, SetupError> {
        // One for the process, whoever comes first.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let url = config.url.as_ref().ok_or(SetupError::NoUrl)?;
        let nodes: Result<Vec<ConnectionInfo>, _> = url
            .0
            .split(',')
            .map(|url| url.trim().into_connection_info())
            .collect();
        // The cause may repeat the URL, and the password with it.
        let nodes = nodes.map_err(|_cause| SetupError::Url)?;
        let [first, ..] = nodes.as_slice() else {
            return Err(SetupError::Url);
        };
        let root_cert = match &config.ca_file {
            Some(path) => Some(std::fs::read(path).map_err(SetupError::CaFile)?),
            None => None,
        };
        let certificates = || TlsCertificates {
            client_tls: None,
            root_cert: root_cert.clone(),
        };
        let tls = matches!(first.addr(), redis::ConnectionAddr::TcpTls { .. });
        let made = if let Some(master) = &config.sentinel_master {
            let mut of_master = SentinelNodeConnectionInfo::default()
                .set_redis_connection_info(first.redis_settings().clone());
            if tls {
                of_master = of_master.set_tls_mode(TlsMode::Secure);
            }
            SentinelClient::build(nodes, master, Some(of_master), SentinelServerType::Master)
                .map(|client| Self::Sentinel(Box::new(Mutex::new(client))))
        } else if config.cluster {
            let mut builder = ClusterClientBuilder::new(nodes)
                // What is repeated, and when, is decided by those who ask.
                .retries(0)
                .connection_timeout(config.connect_timeout)
                .response_timeout(config.answer_timeout);
            if tls {
                builder = builder.certs(certificates());
            }
            builder
                .build()
                .map(|client| Self::Cluster(Box::new(client)))
        } else if tls {
            Client::build_with_tls(first.clone(), certificates())
                .map(|client| Self::Single(Box::new(client)))
        } else {
            Client::open(first.clone()).map(|client| Self::Single(Box::new(client)))
        };
        made.map_err(|_cause| SetupError::Url)
    }

    /// A new connection. There is no time limit here but the one for connecting.
    pub(super) async fn connect(&self, config: &Config) -> RedisResult<Connection> {
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(None);
        match self {
            Self::Single(client) => client
                .get_multiplexed_async_connection_with_config(&options)
                .await
                .map(Connection::Single),
            Self::Sentinel(client) => client
                .lock()
                .await
                .get_async_connection_with_config(&options)
                .await
                .map(Connection::Single),
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

/// Why there can be no connection to Redis, whatever Redis does.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no URL.
    #[error("is required where store.kind is \"redis\"")]
    NoUrl,
    /// The URL is none.
    #[error("is no URL of Redis: redis://USER:PASSWORD@HOST:PORT, or rediss:// for TLS")]
    Url,
    /// The file of certificates cannot be read.
    #[error("cannot be read")]
    CaFile(#[source] std::io::Error),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
