//! `easemob-gateway dev --secure DIR`: TLS and a caller's key, as in production, without setting either up.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use secrecy::ExposeSecret as _;

use crate::{
    caller::{self, CallerConfig, Mode, key},
    server::tls,
};

/// Name of the caller whose key is in the folder.
const CALLER: &str = "developer";

/// A folder with what the gateway and its caller need. It is kept from one run to the next, so that
/// clients find what they know.
#[derive(Debug)]
pub(super) struct Secure {
    folder: PathBuf,
}

impl Secure {
    /// In this folder, which is made if it is not there, and filled where it is empty.
    pub(super) fn prepare(folder: &Path) -> anyhow::Result<Self> {
        let secure = Self {
            folder: folder.to_owned(),
        };
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let files = ["ca.crt", "tls.crt", "tls.key"].map(|name| secure.path(name));
        if !files.iter().all(|file| file.is_file()) {
            secure.make_certificate()?;
        }
        if !secure.path("key").is_file() {
            let key = key::generate().map_err(|_| anyhow!("the system gives no random numbers"))?;
            secure.write("key", key.expose_secret())?;
        }
        Ok(secure)
    }

    /// The authority forgets its key at once: it vouches for nobody else.
    fn make_certificate(&self) -> anyhow::Result<()> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = "easemob-gateway dev";
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::IpAddress([0, 0, 0, 0, 0, 0, 0, 1].into()),
        ];
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "localhost");
        let own = KeyPair::generate()?;
        self.write("ca.crt", &authority.pem())?;
        self.write("tls.crt", &params.signed_by(&own, &authority)?.pem())?;
        self.write("tls.key", &own.serialize_pem())
    }

    /// For its owner's eyes alone.
    fn write(&self, name: &str, content: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The gateway's certificate.
    pub(super) fn tls(&self) -> tls::Config {
        tls::Config {
            cert_file: Some(self.path("tls.crt")),
            key_file: Some(self.path("tls.key")),
            ..tls::Config::default()
        }
    }

    /// One caller, by the key in the folder, who may use this app.
    pub(super) fn auth(&self, app: &str) -> anyhow::Result<caller::Config> {
        let path = self.path("key");
        let key = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let digest = key::sha256(key.trim_ascii());
        let caller = CallerConfig {
            key_sha256: vec![key::hex(&digest)],
            apps: vec![app.to_owned()],
            ..CallerConfig::default()
        };
        Ok(caller::Config {
            mode: Mode::ApiKey,
            callers: [(CALLER.to_owned(), caller)].into(),
            ..caller::Config::default()
        })
    }

    /// What a shell needs for the commands and the examples to reach the gateway at this address.
    pub(super) fn variables(&self, port: u16) -> String {
        format!(
            "export EASEMOB_GATEWAY_URL=https://localhost:{port} \\\n         \
             EASEMOB_GATEWAY_CA={ca} \\\n         \
             EASEMOB_GATEWAY_KEY_FILE={key}",
            ca = self.path("ca.crt").display(),
            key = self.path("key").display(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_what_clients_know_and_shows_it_to_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        let first = Secure::prepare(folder.path()).unwrap();
        let (ca, key) = (read("ca.crt"), read("key"));
        let second = Secure::prepare(folder.path()).unwrap();
        assert_eq!((read("ca.crt"), read("key")), (ca, key));
        assert_eq!(first.auth("demo").unwrap(), second.auth("demo").unwrap());
        for name in ["key", "tls.key"] {
            let mode = fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }
}
