//! What changes while calls run: certificates and callers. No call may fail for it.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use easemob_gateway::{caller::Mode, proto::messaging_service_client::MessagingServiceClient};
use tokio::{task::JoinSet, time::interval};
use tonic::{Code, transport::Channel};

use super::{AMY, digest, sandbox, send_with, setup};
use crate::support::{gateway::TestGateway, soon, times, tls::TlsFiles};

/// A file of callers in which `cat`, who may use `shop`, has these keys.
fn callers(keys: &[&str]) -> String {
    let digests: Vec<_> = keys.iter().map(|key| digest(key)).collect();
    format!("[cat]\nkey_sha256 = {digests:?}\napps = ['shop']\n")
}

struct Rotating {
    files: TlsFiles,
    gateway: TestGateway,
    _easemob: easemob_gateway::sandbox::Sandbox,
}

async fn start(interval: Duration) -> Rotating {
    let files = TlsFiles::new();
    files.write("callers.toml", &callers(&["key-0"]));
    let easemob = sandbox();
    let gateway = setup(&easemob, Mode::ApiKey)
        .auth(|auth| auth.callers_file = Some(files.path("callers.toml")))
        .server(|server| {
            server.tls = files.config(false);
            server.reload_interval = interval;
        })
        .start()
        .await;
    Rotating {
        files,
        gateway,
        _easemob: easemob,
    }
}

impl Rotating {
    async fn client(&self) -> MessagingServiceClient<Channel> {
        let tls = self.files.trusting();
        let channel = self.gateway.tls_channel(tls).await.unwrap();
        MessagingServiceClient::new(channel)
    }

    /// Waits until this key is good, or no longer.
    async fn key(&self, key: &str, is_good: bool) {
        let mut client = self.client().await;
        soon("the key to be what it should be", async {
            loop {
                let sent = client.send_message(send_with(key, "shop")).await;
                match sent {
                    Ok(_) if is_good => return,
                    Err(status) if !is_good && status.code() == Code::Unauthenticated => return,
                    Ok(_) => {}
                    Err(status) => assert_eq!(status.code(), Code::Unauthenticated, "{status:?}"),
                }
            }
        })
        .await;
    }

    /// The certificate that a new connection sees.
    async fn certificate(&self) -> Vec<u8> {
        let config = crate::support::tls::client(self.files.roots(), &[&rustls::version::TLS13]);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let socket = tokio::net::TcpStream::connect(self.gateway.addr).await;
        let stream = connector.connect(self.gateway.addr.ip().into(), socket.unwrap());
        let stream = stream.await.unwrap();
        let certificates = stream.get_ref().1.peer_certificates().unwrap();
        certificates[0].to_vec()
    }

    /// Has all files looked at, to the end: the files of callers come after the certificates, so that the
    /// second look at those follows the first at these.
    async fn look_twice(&self) {
        for _ in 0..2 {
            let before = self.certificate().await;
            self.files.renew();
            self.gateway.reload();
            self.certificate_after(&before).await;
        }
    }

    /// Waits until new connections see another certificate than this one.
    async fn certificate_after(&self, old: &[u8]) -> Vec<u8> {
        soon("another certificate", async {
            loop {
                let seen = self.certificate().await;
                if seen != old {
                    return seen;
                }
            }
        })
        .await
    }
}

/// Each changed three times by writing in place, with nobody telling the gateway; a hundred new connections and
/// 200 calls a second meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_keys_change_under_load_and_no_call_fails() {
    let rotating = start(Duration::from_millis(200)).await;
    let load = Arc::new(Load::default());
    let mut running = JoinSet::new();
    let (tls, addr) = (rotating.files.trusting(), rotating.gateway.addr);
    running.spawn(run(Arc::clone(&load), tls, addr));

    for round in 1..=3 {
        let (old, new) = (format!("key-{}", round - 1), format!("key-{round}"));
        // As it should be done: both are good while callers change over.
        rotating
            .files
            .write("callers.toml", &callers(&[&old, &new]));
        rotating.key(&new, true).await;
        load.key.store(round, Ordering::Release);
        load.settle().await;
        rotating.files.write("callers.toml", &callers(&[&new]));
        rotating.key(&old, false).await;

        let before = rotating.certificate().await;
        rotating.files.renew();
        rotating.certificate_after(&before).await;
        load.settle().await;
    }
    load.ends.store(true, Ordering::Release);
    soon("the load to end", running.join_next())
        .await
        .unwrap()
        .unwrap();
    let (calls, failed) = (load.calls(), load.failed.load(Ordering::Acquire));
    assert!(
        calls >= usize::try_from(times(200, 2_000)).unwrap(),
        "{calls}"
    );
    assert_eq!(failed, 0, "of {calls}");
}

#[derive(Default)]
struct Load {
    key: AtomicUsize,
    ends: AtomicBool,
    begun: AtomicUsize,
    ended: AtomicUsize,
    failed: AtomicUsize,
}

impl Load {
    fn calls(&self) -> usize {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until all calls that had begun have ended, and some more.
    async fn settle(&self) {
        let enough = self.begun.load(Ordering::Acquire) + 50;
        soon("some calls", async {
            while self.calls() < enough {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// 200 calls a second, each with the key of its time; every second one on a new connection.
async fn run(load: Arc<Load>, tls: tonic::transport::ClientTlsConfig, addr: std::net::SocketAddr) {
    let endpoint = tonic::transport::Endpoint::try_from(format!("https://{addr}")).unwrap();
    let endpoint = endpoint.tls_config(tls).unwrap();
    let kept = MessagingServiceClient::new(endpoint.connect_lazy());
    let mut ticks = interval(Duration::from_millis(5));
    let mut calls = JoinSet::new();
    let mut count = 0;
    while !load.ends.load(Ordering::Acquire) {
        ticks.tick().await;
        count += 1;
        let mut client = match count % 10 {
            0 => MessagingServiceClient::new(endpoint.connect_lazy()),
            _ => kept.clone(),
        };
        let load = Arc::clone(&load);
        calls.spawn(async move {
            load.begun.fetch_add(1, Ordering::AcqRel);
            let key = format!("key-{}", load.key.load(Ordering::Acquire));
            if let Err(status) = client.send_message(send_with(&key, "shop")).await {
                eprintln!("failed: {status:?}");
                load.failed.fetch_add(1, Ordering::AcqRel);
            }
            load.ended.fetch_add(1, Ordering::AcqRel);
        });
        while calls.try_join_next().is_some() {}
    }
    calls.join_all().await;
}

/// Each broken in its way, with a SIGHUP; and then good again.
#[tokio::test]
async fn broken_files_change_nothing() {
    // Nobody looks at them unasked.
    let rotating = start(Duration::from_secs(3600)).await;
    let files = &rotating.files;
    let read = |name| fs::read_to_string(files.path(name)).unwrap();
    let good = read("callers.toml");
    for broken in [
        "[cat",
        "[cat]\nkey_sha256 = ['0']\napps = ['shop']",
        "[cat]\nkey_sha256 = []\napps = ['shop']",
        &good.replace("shop", "no-such-app"),
        &format!("{good}\n[amy]\napps = ['shop']"),
    ] {
        files.write("callers.toml", broken);
        rotating.look_twice().await;
        rotating.key("key-0", true).await;
    }
    fs::remove_file(files.path("callers.toml")).unwrap();
    rotating.look_twice().await;
    rotating.key("key-0", true).await;

    let certificate = rotating.certificate().await;
    let (certificate_pem, key_pem) = (read("tls.crt"), read("tls.key"));
    let other = files.authority.issue_server();
    for (number, (name, broken)) in [
        ("tls.key", "not a key"),
        ("tls.key", &other.key),
        ("tls.crt", ""),
        ("tls.crt", &key_pem),
    ]
    .into_iter()
    .enumerate()
    {
        files.write(name, broken);
        // What is looked at after it tells that it has been looked at.
        let key = format!("after-{number}");
        files.write("callers.toml", &callers(&["key-0", &key]));
        rotating.gateway.reload();
        rotating.key(&key, true).await;
        assert_eq!(rotating.certificate().await, certificate, "{name}");
        files.write("tls.crt", &certificate_pem);
        files.write("tls.key", &key_pem);
    }

    files.write("callers.toml", &callers(&["key-1"]));
    files.renew();
    rotating.gateway.reload();
    rotating.key("key-1", true).await;
    rotating.key("key-0", false).await;
    rotating.key(AMY, true).await;
    rotating.certificate_after(&certificate).await;
}

/// Whoever is taken off the list is out at once, on connections that there are as well.
#[tokio::test]
async fn a_key_that_is_taken_back_is_good_for_no_further_call() {
    let rotating = start(Duration::from_secs(3600)).await;
    let mut client = rotating.client().await;
    client
        .send_message(send_with("key-0", "shop"))
        .await
        .unwrap();
    rotating.files.write("callers.toml", &callers(&["key-1"]));
    rotating.gateway.reload();
    rotating.key("key-1", true).await;
    let error = client.send_message(send_with("key-0", "shop")).await;
    assert_eq!(error.unwrap_err().code(), Code::Unauthenticated);
}
