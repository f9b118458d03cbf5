//! The real server, on free ports, in front of whatever plays Easemob.

use std::{net::SocketAddr, thread};

use easemob_gateway::{
    app::{self, App, Apps},
    delivery,
    invalid::Violations,
    media,
    proto::messaging_service_client::MessagingServiceClient,
    server::{self, DrainReport, Gateway, Listener},
    store,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// How a gateway under test is set up.
pub struct Setup {
    pub apps: Vec<(String, app::Config)>,
    pub default_app: Option<String>,
    pub server: server::Config,
    pub delivery: delivery::Config,
    pub media: media::Config,
    pub store: store::Config,
}

impl Setup {
    /// One app, `shop`, whose Easemob is at this base URL; the sandbox's account.
    pub fn at(base_url: impl Into<String>) -> Self {
        let app = app::Config {
            base_url: base_url.into(),
            org_name: Some("sandbox".into()),
            app_name: Some("demo".into()),
            client_id: "sandbox-client-id".into(),
            client_secret: Some("sandbox-client-secret".into()),
            ..app::Config::default()
        };
        let server = server::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            operations_listen: ([127, 0, 0, 1], 0).into(),
            shards: std::num::NonZeroUsize::new(2),
            ..server::Config::default()
        };
        Self {
            apps: vec![("shop".into(), app)],
            default_app: None,
            server,
            delivery: delivery::Config::default(),
            media: media::Config::default(),
            store: store::Config::default(),
        }
    }

    /// Changes the settings of the (first) app.
    pub fn app(mut self, change: impl FnOnce(&mut app::Config)) -> Self {
        change(&mut self.apps[0].1);
        self
    }

    /// Changes the settings of the server.
    pub fn server(mut self, change: impl FnOnce(&mut server::Config)) -> Self {
        change(&mut self.server);
        self
    }

    /// Changes how much is sent at once.
    pub fn delivery(mut self, change: impl FnOnce(&mut delivery::Config)) -> Self {
        change(&mut self.delivery);
        self
    }

    /// Changes the bounds of uploads and downloads.
    pub fn media(mut self, change: impl FnOnce(&mut media::Config)) -> Self {
        change(&mut self.media);
        self
    }

    /// Changes where request IDs are remembered.
    pub fn store(mut self, change: impl FnOnce(&mut store::Config)) -> Self {
        change(&mut self.store);
        self
    }

    /// Starts the gateway, and returns when it is ready.
    pub async fn start(self) -> TestGateway {
        let (started, is_started) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(self.run(started, token))
        });
        let (addr, operations) = is_started.await.expect("the gateway starts");
        let gateway = TestGateway {
            addr,
            operations,
            shutdown,
            thread: Some(thread),
        };
        // Waits in the listener's queue until there is somebody to answer.
        let mut health = HealthClient::new(gateway.channel().await);
        health.check(HealthCheckRequest::default()).await.unwrap();
        gateway
    }

    async fn run(
        self,
        started: oneshot::Sender<(SocketAddr, SocketAddr)>,
        shutdown: CancellationToken,
    ) -> DrainReport {
        let violations = Violations::default();
        let apps: Option<Vec<App>> = self
            .apps
            .iter()
            .map(|(name, config)| App::new(name, config, violations.root()))
            .collect();
        let apps = apps.unwrap_or_else(|| panic!("{:?}", violations.into_vec()));
        let apps = Apps::new(apps, self.default_app.as_deref());
        let listener = Listener::bind(&self.server).await.unwrap();
        let addresses = (
            listener.local_addr().unwrap(),
            listener.operations_addr().unwrap(),
        );
        let gateway =
            Gateway::new(apps, self.server, self.delivery, self.media, &self.store).unwrap();
        started.send(addresses).unwrap();
        gateway.serve(listener, shutdown).await.unwrap()
    }
}

/// A running gateway. Dropped, it is told to shut down, and not waited for.
pub struct TestGateway {
    pub addr: SocketAddr,
    pub operations: SocketAddr,
    shutdown: CancellationToken,
    thread: Option<thread::JoinHandle<DrainReport>>,
}

impl TestGateway {
    /// In front of an Easemob at this base URL, with the settings that everybody has.
    pub async fn start(base_url: impl Into<String>) -> Self {
        Setup::at(base_url).start().await
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        Endpoint::try_from(format!("http://{}", self.addr))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    /// A client on a connection of its own.
    pub async fn client(&self) -> MessagingServiceClient<Channel> {
        MessagingServiceClient::new(self.channel().await)
    }

    /// The status of a page of the operations port.
    pub async fn page(&self, page: &str) -> u16 {
        let mut socket = TcpStream::connect(self.operations).await.unwrap();
        let request = format!("GET /{page} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// What SIGTERM does.
    pub fn begin_drain(&self) {
        self.shutdown.cancel();
    }

    /// Drains, and tells how that went.
    pub async fn drained(mut self) -> DrainReport {
        self.begin_drain();
        let thread = self.thread.take().expect("drained once");
        tokio::task::spawn_blocking(|| thread.join().unwrap())
            .await
            .unwrap()
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
