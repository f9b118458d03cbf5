//! FLOOR 2: the one way out. Easemob's REST API as typed methods.

mod access_token;
mod error;
mod fetch;
mod first_byte;
mod media;
mod message;
mod token;
mod transport;

use std::{sync::Arc, time::Duration};

use reqwest::Url;
use tokio::runtime::Handle;

pub use self::{
    error::{Answer, Error, Kind},
    first_byte::FirstByte,
    media::{SharedUpload, Store, Stored, UploadError},
    message::Accepted,
    token::{Token, Tokens},
};
use self::{
    fetch::Source,
    transport::{Call, Transport},
};
use crate::{app::App, message::Kind as TargetKind};

/// The REST API of one app, over connections of its own.
#[derive(Debug)]
pub struct Client {
    app: Arc<App>,
    transport: Transport,
    // Parsed once: one URL a kind of target, in the order of `TargetKind::ALL`.
    urls: [Url; TargetKind::ALL.len()],
    files_url: Url,
}

/// An app's settings that no URL can be made of.
#[derive(Debug, thiserror::Error)]
#[error("app {app}: {what}")]
pub struct SetupError {
    app: String,
    what: String,
}

impl Client {
    /// A client for an app. Its connections belong to the runtime that first uses them.
    pub fn new(app: &Arc<App>) -> Result<Self, SetupError> {
        let url = |kind: TargetKind| parse(app, kind.path());
        let [users, groups, group_members, rooms, room_members] = TargetKind::ALL;
        Ok(Self {
            transport: Transport::new(app),
            files_url: parse(app, "/chatfiles")?,
            urls: [
                url(users)?,
                url(groups)?,
                url(group_members)?,
                url(rooms)?,
                url(room_members)?,
            ],
            app: Arc::clone(app),
        })
    }

    /// Time for all attempts of one call.
    pub fn call_timeout(&self) -> Duration {
        self.app.timeouts.call
    }
}

/// The tokens of an app, fetched on this runtime over connections of their own.
pub fn tokens(app: &Arc<App>, runtime: Handle) -> Result<Arc<Tokens>, SetupError> {
    let source = Arc::new(Source {
        transport: Transport::new(app),
        url: parse(app, "/token")?,
        app: Arc::clone(app),
    });
    Ok(Tokens::new(runtime, move || Arc::clone(&source).fetch()))
}

fn parse(app: &App, path: &str) -> Result<Url, SetupError> {
    // Every segment has been checked with the settings, so that none can leave its place.
    Url::parse(&format!("{}{path}", app.base_url)).map_err(|error| SetupError {
        app: app.name.to_string(),
        what: format!("base_url: {error}"),
    })
}
