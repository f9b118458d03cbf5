//! Certificates, good and bad, made for a test.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use easemob_gateway::server::tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// A certificate authority of our own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A PEM file with its certificate.
    pub fn file(&self) -> PathBuf {
        pem_file(&self.0.as_ref().pem())
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A certificate with these names, good for today unless changed, and its key.
    pub fn issue(
        &self,
        names: impl IntoIterator<Item = SanType>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pem {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.into_iter().collect();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Pem {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate of 127.0.0.1.
    pub fn issue_server(&self) -> Pem {
        self.issue([SanType::IpAddress([127, 0, 0, 1].into())], |_| ())
    }

    /// What a server on 127.0.0.1 needs.
    pub fn server(&self) -> Arc<rustls::ServerConfig> {
        self.server_with("127.0.0.1", |_| ())
    }

    /// The same with a certificate for another host, or one that is bad in another way.
    pub fn server_with(
        &self,
        host: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<rustls::ServerConfig> {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        config(&certificate, &key)
    }
}

/// A certificate and its key.
pub struct Pem {
    pub certificate: String,
    pub key: String,
}

/// A SPIFFE ID or another URI in a certificate.
pub fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

/// A DNS name in a certificate.
pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// The files of a gateway with TLS.
pub struct TlsFiles {
    pub folder: TempDir,
    pub authority: Authority,
}

impl TlsFiles {
    /// With a certificate of 127.0.0.1 by an authority that vouches for callers as well.
    pub fn new() -> Self {
        let files = Self {
            folder: TempDir::new().unwrap(),
            authority: Authority::new(),
        };
        files.write("ca.crt", &files.authority.pem());
        files.renew();
        files
    }

    /// Another certificate of the same authority.
    pub fn renew(&self) {
        let Pem { certificate, key } = self.authority.issue_server();
        self.write("tls.crt", &certificate);
        self.write("tls.key", &key);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// In place, as the least careful of tools does it.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The section `server.tls`.
    pub fn config(&self, callers_need_certificates: bool) -> tls::Config {
        tls::Config {
            cert_file: Some(self.path("tls.crt")),
            key_file: Some(self.path("tls.key")),
            client_ca_file: callers_need_certificates.then(|| self.path("ca.crt")),
        }
    }

    /// What a client trusts.
    pub fn trusting(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.authority.pem()))
            .domain_name("127.0.0.1")
    }

    /// A client that trusts the gateway and shows this certificate.
    pub fn showing(&self, pem: &Pem) -> ClientTlsConfig {
        self.trusting()
            .identity(Identity::from_pem(&pem.certificate, &pem.key))
    }

    /// For clients made by hand: what rustls needs to trust the gateway.
    pub fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.0.as_ref().der().clone()).unwrap();
        roots
    }
}

/// Puts TLS around plain connections: what connects to the address it gives reaches the server.
pub async fn tunnel(server: SocketAddr, config: rustls::ClientConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let connector = connector.clone();
            tokio::spawn(async move {
                let socket = TcpStream::connect(server).await.unwrap();
                let name = IpAddr::from([127, 0, 0, 1]).into();
                let mut inner = connector.connect(name, socket).await.unwrap();
                // Whoever closes, closes both.
                let _ = tokio::io::copy_bidirectional(&mut plain, &mut inner).await;
            });
        }
    });
    addr
}

/// A TLS client made by hand, of these versions.
pub fn client(
    roots: rustls::RootCertStore,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A server on 127.0.0.1 that nobody vouches for.
pub fn self_signed() -> Arc<rustls::ServerConfig> {
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    config(&params.self_signed(&key).unwrap(), &key)
}

fn config(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        );
    Arc::new(config.unwrap())
}

fn pem_file(pem: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ca-{}-{number}.pem", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, pem).unwrap();
    path
}
