//! Several apps in one gateway: what one of them lacks or suffers is of no concern to the others.

mod agora;
mod rotation;
mod silent;
mod unusable;

use std::{fs, path::PathBuf, time::Duration};

use easemob_gateway::{app, proto::SendMessageRequest};
use tempfile::TempDir;

use crate::support::{gateway::Setup, ledger::Client, request::text_to, soon};

/// A gateway that looks at its files often, with a second app `support` beside `shop`.
fn two_apps(shop: impl Into<String>, support: impl Into<String>) -> Setup {
    let mut setup = Setup::at(shop).server(|server| {
        server.reload_interval = Duration::from_millis(20);
    });
    let (_, support) = Setup::at(support).apps.remove(0);
    setup.apps.push(("support".into(), support));
    setup
}

/// A file that a test writes anew.
struct File {
    path: PathBuf,
    _dir: TempDir,
}

impl File {
    /// Not there yet.
    fn missing() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        Self { path, _dir: dir }
    }

    fn holding(content: &str) -> Self {
        let file = Self::missing();
        file.write(content);
        file
    }

    /// As those do it who care: no reader sees half of it.
    fn write(&self, content: &str) {
        let new = self.path.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(&new, &self.path).unwrap();
    }

    /// The client secret of an app, in place of the one that is given.
    fn is_secret_of(&self, app: &mut app::Config) {
        app.client_secret = None;
        app.client_secret_file = Some(self.path.clone());
    }
}

fn for_app(app: &str) -> SendMessageRequest {
    SendMessageRequest {
        app: app.into(),
        ..text_to(&["bob"])
    }
}

/// Sends until it succeeds.
async fn recovers(client: &mut Client, app: &str) {
    soon("the app works", async {
        while client.send_message(for_app(app)).await.is_err() {}
    })
    .await;
}
