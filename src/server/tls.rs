//! TLS on the ports that callers use, with certificates that may change while it is served.

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use rustls::{
    CertificateError, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::connection::Port;
use crate::{
    caller::{Audit, Identity, Refusal},
    invalid::Field,
};

/// TLS 1.2 and 1.3 on the ports of gRPC and gRPC-Web. Left out: plaintext, for loopback and for a mesh that encrypts. The
/// files are read again whenever they change; connections that there are keep what they began with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// PEM file with the gateway's certificate, and those between it and its authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/tls/tls.crt")]
    pub cert_file: Option<PathBuf>,
    /// PEM file with the key of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/tls/tls.key")]
    pub key_file: Option<PathBuf>,
    /// PEM file with the authorities that vouch for callers. Where it is set, who has no certificate of
    /// theirs, or one that has expired, gets no connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/tls/ca.crt")]
    pub client_ca_file: Option<PathBuf>,
}

impl Config {
    /// Whether the files make sense together and can be used, as far as that can be known without a peer.
    pub fn check(&self, field: Field<'_>) -> Option<()> {
        match (&self.cert_file, &self.key_file, &self.client_ca_file) {
            (None, None, None) => return Some(()),
            (Some(_), Some(_), _) => {}
            (None, _, _) => return field.child("cert_file").refuse("is required for TLS"),
            (_, None, _) => return field.child("key_file").refuse("is required for TLS"),
        }
        match self.load() {
            Ok(_) => Some(()),
            Err(error) => field
                .child("cert_file")
                .refuse(format!("cannot be used: {error:#}")),
        }
    }

    /// The files there are, in the order in which [`Tls::replace`] takes their contents.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        files.into_iter().flatten().cloned().collect()
    }

    fn load(&self) -> anyhow::Result<ServerConfig> {
        let read = self
            .files()
            .into_iter()
            .map(|path| fs::read(&path).with_context(|| format!("cannot read {}", path.display())));
        made_of(&read.collect::<anyhow::Result<Vec<_>>>()?)
    }
}

/// TLS of the ports that callers use.
#[derive(Debug)]
pub(super) struct Tls {
    current: ArcSwap<Sides>,
    audit: Audit,
}

/// The same for both ports but for what is spoken within.
#[derive(Debug)]
struct Sides {
    grpc: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
}

impl From<ServerConfig> for Sides {
    fn from(config: ServerConfig) -> Self {
        let speaks = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        Self {
            grpc: speaks(b"h2"),
            web: speaks(b"http/1.1"),
        }
    }
}

impl Tls {
    /// With what the files hold now; nothing where the settings want plaintext.
    pub(super) fn load(config: &Config) -> anyhow::Result<Option<Arc<Self>>> {
        if config.files().is_empty() {
            return Ok(None);
        }
        let loaded = config.load().context("server.tls cannot be used")?;
        Ok(Some(Arc::new(Self {
            current: ArcSwap::from_pointee(loaded.into()),
            audit: Audit::default(),
        })))
    }

    /// Takes over new contents of the files, for connections from now on.
    pub(super) fn replace(&self, contents: &[Vec<u8>]) -> anyhow::Result<()> {
        self.current.store(Arc::new(made_of(contents)?.into()));
        Ok(())
    }

    /// The TLS handshake; and whom the peer's certificate names, where it had to have one.
    pub(super) async fn accept(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        port: &Port,
    ) -> io::Result<(Box<TlsStream<TcpStream>>, Option<Identity>)> {
        let acceptor = TlsAcceptor::from(match (self.current.load_full(), port) {
            (sides, Port::Grpc) => Arc::clone(&sides.grpc),
            (sides, Port::Web(_)) => Arc::clone(&sides.web),
        });
        let stream = acceptor.accept(socket).await.inspect_err(|error| {
            if let Some(refusal) = refusal(error) {
                self.audit
                    .refused(refusal, None, Some(peer.ip()), "a connection");
            }
        })?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let identity = certificate.map(identity);
        Ok((Box::new(stream), identity))
    }
}

/// Why a peer's certificate was not good enough; nothing where the handshake failed for another cause.
fn refusal(error: &io::Error) -> Option<Refusal> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::NoCertificatesPresented => Some(Refusal::NoCertificate),
        rustls::Error::InvalidCertificate(error) => Some(match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Refusal::ExpiredCertificate
            }
            // The latter: an authority that calls itself as one of ours does.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Refusal::ForeignCertificate
            }
            _ => Refusal::BadCertificate,
        }),
        _ => None,
    }
}

/// The names in a certificate that has been verified. One that cannot be read names nobody.
fn identity(certificate: &CertificateDer<'_>) -> Identity {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else {
        return Identity::default();
    };
    Identity {
        uris: certificate.valid_uri_names().map(str::to_owned).collect(),
        dns_names: certificate.valid_dns_names().map(str::to_owned).collect(),
    }
}

/// Certificate, key and, where callers need a certificate, their authorities. The errors quote nothing.
fn made_of(contents: &[Vec<u8>]) -> anyhow::Result<ServerConfig> {
    let [certificates, key, authorities @ ..] = contents else {
        bail!("certificate or key is missing");
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match authorities.first() {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates_in(authorities).context("client_ca_file")? {
                roots.add(authority).context("client_ca_file")?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    // The library's text would quote the lines around a fault.
    let Ok(key) = PrivateKeyDer::from_pem_slice(key) else {
        bail!("key_file holds no private key in PEM");
    };
    let mut config = builder
        .with_single_cert(certificates_in(certificates).context("cert_file")?, key)
        .context("certificate and key")?;
    // A resumed session would go by the certificates of its beginning, and live on after these have expired
    // or changed. Connections here are few and long, so each can afford a whole handshake.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn certificates_in(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => bail!("holds no certificate in PEM"),
    }
}
