//! The real server, on free ports, in front of whatever plays Easemob.

use std::{net::SocketAddr, sync::Arc, thread};

use easemob_gateway::{
    app::{self, App, Apps},
    caller, delivery,
    invalid::Violations,
    media,
    metrics::Registry,
    server::{self, DrainReport, Gateway, Listener},
    store,
    trace::{Queue, Tracer},
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::ledger::Client;

/// How a gateway under test is set up.
pub struct Setup {
    pub apps: Vec<(String, app::Config)>,
    pub default_app: Option<String>,
    pub auth: caller::Config,
    pub server: server::Config,
    pub delivery: delivery::Config,
    pub media: media::Config,
    pub store: store::Config,
    pub tracer: Arc<Tracer>,
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
            // Tests of the quota set it.
            quota: no_quota(),
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
            auth: caller::Config::default(),
            server,
            delivery: delivery::Config::default(),
            media: media::Config::default(),
            store: store::Config::default(),
            tracer: Arc::default(),
        }
    }

    /// Changes the settings of the (first) app.
    pub fn app(mut self, change: impl FnOnce(&mut app::Config)) -> Self {
        change(&mut self.apps[0].1);
        self
    }

    /// Changes who may call.
    pub fn auth(mut self, change: impl FnOnce(&mut caller::Config)) -> Self {
        change(&mut self.auth);
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

    /// Records every span, and puts it here when it is over.
    pub fn traced(mut self, spans: &Arc<Queue>) -> Self {
        self.tracer = Arc::new(Tracer::new(Some(Arc::clone(spans)), 1.0));
        self
    }

    /// Starts the gateway, and returns when it is ready.
    pub async fn start(self) -> TestGateway {
        let (started, is_started) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let (reload, has_tls) = (Arc::new(Notify::new()), self.server.tls.cert_file.is_some());
        let asked = Arc::clone(&reload);
        let (apps, redis) = (self.urls(), self.store.url.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(self.run(started, token, asked))
        });
        let (addr, operations, web) = is_started.await.expect("the gateway starts");
        let gateway = TestGateway {
            apps,
            // Replicas know what Redis knows.
            memory: match redis {
                Some(redis) => redis.0,
                None => addr.to_string(),
            },
            addr,
            operations,
            web,
            shutdown,
            reload,
            thread: Some(thread),
        };
        if has_tls {
            // Its clients wait in the listener's queue until there is somebody to answer.
            return gateway;
        }
        let mut health = HealthClient::new(gateway.channel().await);
        health.check(HealthCheckRequest::default()).await.unwrap();
        gateway
    }

    /// Names and base URLs of its apps, the default one first.
    fn urls(&self) -> Vec<(String, String)> {
        let apps = self.apps.iter();
        let mut urls: Vec<_> = apps
            .map(|(name, app)| (name.clone(), app.base_url.clone()))
            .collect();
        urls.sort_by_key(|(name, _)| Some(name) != self.default_app.as_ref());
        urls
    }

    async fn run(
        self,
        started: oneshot::Sender<(SocketAddr, SocketAddr, Option<SocketAddr>)>,
        shutdown: CancellationToken,
        reload: Arc<Notify>,
    ) -> DrainReport {
        let violations = Violations::default();
        let apps: Option<Vec<App>> = self
            .apps
            .iter()
            .map(|(name, config)| App::new(name, config, violations.root()))
            .collect();
        let apps = apps.expect("apps that can be used");
        let apps = Apps::new(apps, self.default_app.as_deref());
        let callers = self
            .auth
            .check(&|app| apps.get(app).is_some(), violations.root());
        let callers = callers.unwrap_or_else(|| panic!("{:?}", violations.into_vec()));
        let listener = Listener::bind(&self.server).await.unwrap();
        let addresses = (
            listener.local_addr().unwrap(),
            listener.operations_addr().unwrap(),
            listener.web_addr().unwrap(),
        );
        let gateway = Gateway::new(
            apps,
            (self.auth, callers),
            self.server,
            self.delivery,
            self.media,
            &self.store,
            Registry::unexported().unwrap(),
        )
        .unwrap();
        started.send(addresses).unwrap();
        let gateway = gateway.reload_when(reload).with_tracer(self.tracer);
        gateway.serve(listener, shutdown).await.unwrap()
    }
}

/// A running gateway. Dropped, it is told to shut down, and not waited for.
pub struct TestGateway {
    apps: Vec<(String, String)>,
    memory: String,
    pub addr: SocketAddr,
    pub operations: SocketAddr,
    /// Where browsers call, if they may.
    pub web: Option<SocketAddr>,
    shutdown: CancellationToken,
    reload: Arc<Notify>,
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

    /// A connection of its own, with TLS.
    pub async fn tls_channel(
        &self,
        tls: ClientTlsConfig,
    ) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::try_from(format!("https://{}", self.addr)).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await
    }

    /// What SIGHUP does.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// A client on a connection of its own.
    pub async fn client(&self) -> Client {
        let apps = self.apps.iter().map(|(name, url)| (&**name, &**url));
        Client::new(self.channel().await, apps, &*self.memory)
    }

    /// The status of a page of the operations port.
    pub async fn page(&self, page: &str) -> u16 {
        super::page(self.operations, page).await.0
    }

    /// Its metrics, as Prometheus reads them.
    pub async fn metrics(&self) -> String {
        let (status, text) = super::page(self.operations, "metrics").await;
        assert_eq!(status, 200, "{text}");
        text
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

/// Everything may go at once.
pub fn no_quota() -> app::Quota {
    let targets = app::TargetQuota {
        calls_per_second: 0,
        messages_per_second: 0,
    };
    app::Quota {
        users: app::UserQuota {
            calls_per_second: 0,
            messages_per_minute: 0,
        },
        groups: app::GroupQuota {
            calls_per_second: 0,
            messages_per_second: 0,
        },
        chatrooms: targets.clone(),
        directed: targets,
        files: app::FileQuota {
            calls_per_second: 0,
        },
    }
}
