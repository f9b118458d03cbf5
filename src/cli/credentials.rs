//! How a command proves to the gateway who it is, and the gateway to it: a key, and TLS.

use std::{env, fs, path::PathBuf};

use clap::Args;
use http::Uri;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
    transport::{Certificate, ClientTlsConfig, Identity},
};

/// Variable with the caller's key. There is no option for it: other users can read command lines.
const KEY: &str = "EASEMOB_GATEWAY_KEY";

/// The options for keys and certificates.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Gateway")]
pub(super) struct Credentials {
    /// File with the caller's key, for a gateway that asks for one. Left out: the key is in the variable
    /// EASEMOB_GATEWAY_KEY, if anywhere.
    #[arg(long, value_name = "FILE", env = "EASEMOB_GATEWAY_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// PEM file with the only authorities to trust for a gateway at https://. Left out: the system's.
    #[arg(long, value_name = "FILE", env = "EASEMOB_GATEWAY_CA")]
    ca: Option<PathBuf>,
    /// PEM file with the caller's certificate, for a gateway that asks for one.
    #[arg(
        long,
        value_name = "FILE",
        env = "EASEMOB_GATEWAY_CERT",
        requires = "cert_key"
    )]
    cert: Option<PathBuf>,
    /// PEM file with the key of the certificate.
    #[arg(
        long,
        value_name = "FILE",
        env = "EASEMOB_GATEWAY_CERT_KEY",
        requires = "cert"
    )]
    cert_key: Option<PathBuf>,
}

impl Credentials {
    /// The caller's key, where there is one. What is wrong is told without it.
    pub(super) fn key(&self) -> Result<Key, String> {
        let (key, place) = match &self.key_file {
            Some(path) => (read(path, "--key-file")?, path.display().to_string()),
            None => match env::var_os(KEY) {
                None => return Ok(Key(None)),
                Some(key) => (key.into_encoded_bytes(), KEY.to_owned()),
            },
        };
        let key = key.trim_ascii();
        let value = [b"Bearer ", key].concat();
        let value = MetadataValue::<Ascii>::try_from(&*value);
        match value {
            Ok(mut value) if !key.is_empty() && key.iter().all(u8::is_ascii_graphic) => {
                value.set_sensitive(true);
                Ok(Key(Some(value)))
            }
            _ => Err(format!(
                "{place} holds no key: it is one word, such as egk_…"
            )),
        }
    }

    /// TLS for this URL; nothing for a plain one.
    pub(super) fn tls(&self, url: &Uri) -> Result<Option<ClientTlsConfig>, String> {
        if url.scheme_str() != Some("https") {
            let given = self.ca.as_ref().or(self.cert.as_ref());
            return match given {
                None => Ok(None),
                Some(_) => Err("--ca and --cert are for a gateway at https://".into()),
            };
        }
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read(path, "--ca")?)),
            None => tls.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.cert_key) {
            tls = tls.identity(Identity::from_pem(
                read(cert, "--cert")?,
                read(key, "--cert-key")?,
            ));
        }
        Ok(Some(tls))
    }
}

fn read(path: &PathBuf, option: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| {
        format!(
            "cannot read {}: {error}. Correct {option}, or the variable in its place.",
            path.display()
        )
    })
}

/// Puts the caller's key, if there is one, into the metadata of every call.
#[derive(Debug, Clone)]
pub(super) struct Key(Option<MetadataValue<Ascii>>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}
