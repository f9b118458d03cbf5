//! The gateway under test, and its settings: the defaults, but for quotas and bounds high enough to
//! refuse nothing, and a sink for Easemob.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use easemob_gateway::caller::key;

use crate::{
    call::{self, Options},
    collector::{self, Manner},
    peer::{self, Peer},
};

/// What of the gateway is switched on. What is not here cannot be switched off: checks, deadlines, retries
/// and metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policies {
    /// So many shards; left out, as many as it takes by itself.
    pub(crate) shards: Option<usize>,
    /// Easemob's quotas are counted, and are never reached.
    pub(crate) quota: bool,
    /// Spans go to a collector: those of so many of a thousand sends.
    pub(crate) traced: Option<u16>,
    /// How that collector behaves.
    pub(crate) collector: Manner,
    pub(crate) calls: Options,
}

impl Policies {
    /// Quotas, and no more than cannot be switched off.
    pub(crate) const PLAIN: Self = Self {
        shards: None,
        quota: true,
        traced: None,
        collector: Manner::Prompt,
        calls: Options::PLAIN,
    };

    /// All that a send in production has: quotas, one trace in a hundred, and a caller with a key.
    pub(crate) const EVERYTHING: Self = Self {
        shards: None,
        quota: true,
        traced: Some(10),
        collector: Manner::Prompt,
        calls: Options {
            callers: 1,
            ..Options::PLAIN
        },
    };

    pub(crate) const fn on_one_shard(mut self) -> Self {
        self.shards = Some(1);
        self
    }

    pub(crate) const fn without_quota(mut self) -> Self {
        self.quota = false;
        self
    }

    pub(crate) const fn traced(mut self, per_mille: Option<u16>) -> Self {
        self.traced = per_mille;
        self
    }

    /// All sends are traced, and this is what becomes of the spans.
    pub(crate) const fn traced_to(mut self, collector: Manner) -> Self {
        self.traced = Some(1000);
        self.collector = collector;
        self
    }

    pub(crate) const fn with_callers(mut self, callers: usize) -> Self {
        self.calls.callers = callers;
        self
    }

    pub(crate) const fn with_apps(mut self, apps: usize) -> Self {
        self.calls.apps = apps;
        self
    }

    pub(crate) const fn with_recipients(mut self, recipients: usize) -> Self {
        self.calls.recipients = recipients;
        self
    }

    pub(crate) const fn with_request_ids(mut self) -> Self {
        self.calls.request_ids = true;
        self
    }

    /// Starts it in front of a sink; `under` another program, such as valgrind.
    pub(crate) fn start(self, sink: &Peer, under: Option<Command>) -> anyhow::Result<Peer> {
        self.start_with(sink, &[], under)
    }

    /// The same with more settings, such as `("SERVER__SHARDS", "1")`.
    pub(crate) fn start_with(
        self,
        sink: &Peer,
        more: &[(&str, String)],
        under: Option<Command>,
    ) -> anyhow::Result<Peer> {
        let collector = self
            .traced
            .map(|_| collector::start(self.collector))
            .transpose()?;
        let mut command = peer::command(binary(), under);
        command.args(["serve", "--config"]);
        command.arg(self.write(sink, collector.as_ref())?);
        command.env("BENCH_SECRET", "secret");
        // OpenTelemetry's own default. Where valgrind makes all slow, shorter ones would be empty.
        command.env("OTEL_BSP_SCHEDULE_DELAY", "5000");
        for (key, value) in more {
            command.env(format!("EASEMOB_GATEWAY__{key}"), value);
        }
        let mut gateway = Peer::start(command)?;
        gateway.collector = collector.map(Box::new);
        Ok(gateway)
    }

    /// Writes the settings to a file of their own.
    fn write(self, sink: &Peer, collector: Option<&Peer>) -> anyhow::Result<PathBuf> {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("gateway-{number}.toml"));
        fs::write(&path, self.settings(sink, collector)?)?;
        Ok(path)
    }

    fn settings(self, sink: &Peer, collector: Option<&Peer>) -> anyhow::Result<String> {
        let mut text = String::new();
        text += "[server]\nlisten = \"127.0.0.1:0\"\noperations_listen = \"127.0.0.1:0\"\n";
        text += "max_requests_in_flight = 10000\n";
        if let Some(shards) = self.shards {
            writeln!(text, "shards = {shards}")?;
        }
        text += "[server.http2]\nmax_concurrent_streams = 1000\n";
        text += "[delivery]\nqueue = 10000\n";
        // Room for two million records.
        text += "[store]\nmemory_bytes = 268435456\n";
        if let (Some(collector), Some(per_mille)) = (collector, self.traced) {
            writeln!(
                text,
                "[telemetry]\notlp_endpoint = \"http://{}\"",
                collector.address
            )?;
            writeln!(text, "sample_ratio = {}", f64::from(per_mille) / 1000.0)?;
        }
        let named = (0..self.calls.apps).map(|app| format!("app-{app}"));
        let apps: Vec<_> = match self.calls.apps {
            0 => vec!["shop".to_owned()],
            _ => named.collect(),
        };
        if self.calls.callers > 0 {
            text += "[auth]\nmode = \"api_key\"\n";
        }
        for caller in 0..self.calls.callers {
            let digest = key::hex(&key::sha256(call::key(caller).as_bytes()));
            writeln!(text, "[auth.callers.caller-{caller}]")?;
            writeln!(text, "key_sha256 = [\"{digest}\"]\napps = {apps:?}")?;
        }
        let (calls, messages) = if self.quota {
            (10_000_000, 600_000_000)
        } else {
            (0, 0)
        };
        for app in apps {
            writeln!(text, "[apps.{app}]\nbase_url = \"http://{}\"", sink.address)?;
            writeln!(text, "org_name = \"acme\"\napp_name = \"{app}\"")?;
            writeln!(
                text,
                "client_id = \"bench\"\nclient_secret_env = \"BENCH_SECRET\""
            )?;
            writeln!(text, "[apps.{app}.quota.users]\ncalls_per_second = {calls}")?;
            writeln!(text, "messages_per_minute = {messages}")?;
            writeln!(text, "[apps.{app}.quota.files]\ncalls_per_second = {calls}")?;
        }
        Ok(text)
    }
}

/// The gateway as this build made it, or the one that `BENCH_GATEWAY` names.
fn binary() -> PathBuf {
    let named = env::var_os("BENCH_GATEWAY").map(PathBuf::from);
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_easemob-gateway").into())
}
