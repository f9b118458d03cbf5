//! What all shards share of one app's way to Easemob: its tokens, and how it fares.

use std::sync::Arc;

use super::{breaker::Breaker, pause::Pauses, retry::Budget};
use crate::{app::App, easemob::Tokens};

/// One app's way to Easemob, as far as all shards share it.
#[derive(Debug)]
pub struct Upstream {
    pub(super) app: Arc<App>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) budget: Budget,
    pub(super) breaker: Breaker,
    pub(super) pauses: Pauses,
}

impl Upstream {
    /// For an app, with its tokens.
    pub fn new(app: Arc<App>, tokens: Arc<Tokens>) -> Arc<Self> {
        Arc::new(Self {
            app,
            tokens,
            budget: Budget::new(),
            breaker: Breaker::default(),
            pauses: Pauses::default(),
        })
    }

    /// The app.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Its tokens.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }
}
