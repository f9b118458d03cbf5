//! The connection to a gateway: TLS, and the caller's key.

use std::{env, fs};

use anyhow::Result;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig},
};

use crate::v1::messaging_service_client::MessagingServiceClient;

pub type Client = MessagingServiceClient<InterceptedService<Channel, Key>>;

/// A caller's key, sent with each call.
#[derive(Clone)]
pub struct Key(Option<MetadataValue<Ascii>>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

/// To the gateway that the environment names; with this key in place of the one there. It connects with the
/// first call, and again whenever it has to.
pub fn connect(key: Option<&str>) -> Result<Client> {
    let url = env::var("EASEMOB_GATEWAY_URL").unwrap_or("http://127.0.0.1:50051".into());
    let mut endpoint = Channel::from_shared(url.clone())?;
    if url.starts_with("https:") {
        let tls = ClientTlsConfig::new();
        endpoint = endpoint.tls_config(match env::var("EASEMOB_GATEWAY_CA") {
            Ok(file) => tls.ca_certificate(Certificate::from_pem(fs::read(file)?)),
            Err(_) => tls.with_native_roots(),
        })?;
    }
    let key = match key {
        Some(key) => Some(key.to_owned()),
        None => caller_key()?,
    };
    let key = key.map(|key| format!("Bearer {key}").parse()).transpose()?;
    Ok(MessagingServiceClient::with_interceptor(
        endpoint.connect_lazy(),
        Key(key),
    ))
}

fn caller_key() -> Result<Option<String>> {
    match env::var("EASEMOB_GATEWAY_KEY_FILE") {
        Ok(file) => Ok(Some(fs::read_to_string(file)?.trim().to_owned())),
        Err(_) => Ok(env::var("EASEMOB_GATEWAY_KEY").ok()),
    }
}
