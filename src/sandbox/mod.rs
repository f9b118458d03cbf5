//! A local Easemob for developers and for tests.
//!
//! It answers as the REST reference says, not as our client expects: it uses nothing else of this
//! crate, so that a misunderstanding on one side cannot be met by the same one on the other.
//!
//! A call comes in by [`wire`], passes [`front`], and is answered by [`token`], [`send`] or [`mod@file`];
//! what was sent is looked at by [`inspect`] over HTTP and by [`Sandbox`] from a test. `docs/sandbox.md`
//! tells what is checked.

mod agora;
mod answer;
mod calls;
mod clock;
mod config;
mod data;
mod endpoint;
mod fault;
mod file;
mod front;
mod inspect;
mod messages;
mod pace;
mod quota;
mod refusal;
mod ring;
mod send;
mod settings;
#[cfg(test)]
mod testing;
mod token;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot, watch};
use uuid::Uuid;

pub use answer::Answer;
pub use calls::Call;
pub use clock::Clock;
pub use config::{Config, Keep, Quota, Quotas, Rate, TokenUnit};
pub use endpoint::Endpoint;
pub use fault::{Fault, Then};
pub use file::{File, Part, Upload, UploadState};
pub use messages::{Filter, Message};
pub use pace::Pace;
pub use refusal::REASON_HEADER;

/// A running sandbox, on a thread and a runtime of its own. Dropping it ends both, and every
/// connection with them.
pub struct Sandbox {
    addr: SocketAddr,
    state: Arc<State>,
    runtime: Handle,
    // Never sent: dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What all calls share.
struct State {
    config: Config,
    /// What of it holds now.
    settings: ArcSwap<settings::Settings>,
    /// The UUID of the app, as answers give it.
    application: String,
    script: fault::Script,
    calls: calls::Calls,
    messages: messages::Messages,
    tokens: token::Tokens,
    quotas: quota::Quotas,
    ids: send::Ids,
    files: file::Files,
    uploads: file::Ledger,
    upload_pace: watch::Sender<Pace>,
    /// Nobody listens for so long, beginning with the change.
    outage: watch::Sender<Duration>,
    /// Places of those who watch the events.
    watchers: Arc<Semaphore>,
}

impl Sandbox {
    /// Binds the address and serves; fails where the address or the folder cannot be had.
    pub fn start(config: Config) -> io::Result<Self> {
        let listener = wire::bind(config.listen, config.receive_buffer)?.listen()?;
        let addr = listener.local_addr()?;
        let (data, left) = match &config.data {
            Some(folder) => {
                let (data, left) = data::Data::open(folder, config.keep)?;
                (Some(data), left)
            }
            None => (None, data::Left::default()),
        };
        let state = Arc::new(State {
            settings: ArcSwap::from_pointee(settings::Settings::new(&config)),
            application: Uuid::new_v4().to_string(),
            script: fault::Script::new(),
            calls: calls::Calls::new(config.keep),
            messages: messages::Messages::new(config.keep, left.messages, data.clone()),
            tokens: token::Tokens::new(&config.client_secret),
            quotas: quota::Quotas::new(config.quotas),
            ids: send::Ids::new(),
            files: file::Files::new(config.keep, left.files, data),
            uploads: file::Ledger::new(config.keep),
            upload_pace: watch::Sender::new(config.upload_pace),
            outage: watch::Sender::new(Duration::ZERO),
            watchers: Arc::new(Semaphore::new(inspect::WATCHERS)),
            config,
        });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let router = front::router(Arc::clone(&state));
        let outage = state.outage.subscribe();
        let buffer = state.config.receive_buffer;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    _ = wire::serve(listener, router, outage, buffer) => {}
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("sandbox".into())
            .spawn(serve)?;
        Ok(Self {
            addr,
            state,
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and the address, without a path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// As it was started.
    pub fn config(&self) -> &Config {
        &self.state.config
    }

    /// Appends faults, one for each of the next requests to this endpoint, in order. What comes
    /// after the last is answered as usual.
    pub fn script(&self, endpoint: Endpoint, faults: impl IntoIterator<Item = Fault>) {
        self.state.script.add(endpoint, faults);
    }

    /// How many scripted faults still wait for their request.
    pub fn script_left(&self, endpoint: Endpoint) -> usize {
        self.state.script.left(endpoint)
    }

    /// Drops every scripted fault that was not used.
    pub fn clear_script(&self) {
        self.state.script.clear();
    }

    /// The requests to this endpoint that were read to their end, oldest first, as many as are
    /// kept.
    pub fn calls(&self, endpoint: Endpoint) -> Vec<Arc<Call>> {
        self.state.calls.list(endpoint)
    }

    /// How many there were since the start or the last [`Sandbox::clear_calls`], kept or not.
    pub fn call_count(&self, endpoint: Endpoint) -> u64 {
        self.state.calls.count(endpoint)
    }

    /// Forgets all calls, and counts from 0 again.
    pub fn clear_calls(&self) {
        self.state.calls.clear();
    }

    /// Waits until the endpoint has had so many calls; false where they did not come in time.
    pub async fn wait_for_calls(&self, endpoint: Endpoint, count: u64, timeout: Duration) -> bool {
        let state = Arc::clone(&self.state);
        let reached = async move { state.calls.reach(endpoint, count).await };
        self.in_time(timeout, reached).await.is_some()
    }

    /// The messages accepted, oldest first, as many as are kept.
    pub fn messages(&self) -> Vec<Arc<Message>> {
        self.state.messages.newest(&Filter::all(), usize::MAX)
    }

    /// Forgets all messages.
    pub fn clear_messages(&self) {
        self.state.messages.clear();
    }

    /// The first message that matches: the oldest that is here, else the next to come in time.
    pub async fn next_message(&self, filter: &Filter, timeout: Duration) -> Option<Arc<Message>> {
        let state = Arc::clone(&self.state);
        let filter = filter.clone();
        let first = async move { state.messages.first(&filter).await };
        self.in_time(timeout, first).await
    }

    /// The files stored, oldest first, as many as are kept.
    pub fn files(&self) -> Vec<Arc<File>> {
        self.state.files.list()
    }

    /// Forgets all files.
    pub fn clear_files(&self) {
        self.state.files.clear();
    }

    /// How each upload stands whose headers were read, oldest first, as many as are kept.
    pub fn uploads(&self) -> Vec<Upload> {
        self.state.uploads.list()
    }

    /// Forgets all uploads, also those under way, which go on.
    pub fn clear_uploads(&self) {
        self.state.uploads.clear();
    }

    /// Waits until so many uploads match; false where they did not in time.
    pub async fn wait_for_uploads(
        &self,
        count: usize,
        matches: impl Fn(&Upload) -> bool + Send + Sync + 'static,
        timeout: Duration,
    ) -> bool {
        let state = Arc::clone(&self.state);
        let reached = async move { state.uploads.reach(count, matches).await };
        self.in_time(timeout, reached).await.is_some()
    }

    /// How fast uploads are read from now on, those under way included. What has come in before
    /// may still be seen.
    pub fn set_upload_pace(&self, pace: Pace) {
        self.state.upload_pace.send_replace(pace);
    }

    /// Refuses every token issued so far.
    pub fn revoke_tokens(&self) {
        self.state.tokens.revoke_all();
    }

    /// Takes this client secret from now on and no other; tokens stay good.
    pub fn set_client_secret(&self, secret: impl Into<String>) {
        self.state.tokens.set_client_secret(secret.into());
    }

    /// Makes every token from now on live so long, whatever a request asks for; `None` ends that.
    pub fn set_token_ttl(&self, ttl: impl Into<Option<Duration>>) {
        self.state.tokens.force_ttl(ttl.into());
    }

    /// Moves the time on by which tokens and files age and quotas refill.
    pub fn advance(&self, by: Duration) {
        self.state.config.clock.advance(by);
    }

    /// Waits on our own runtime, so that a test with paused time does not time out at once.
    async fn in_time<T: Send + 'static>(
        &self,
        timeout: Duration,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let waiting = async move { tokio::time::timeout(timeout, future).await.ok() };
        self.runtime.spawn(waiting).await.ok().flatten()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It panicked, if at all, on its own: there is nothing left to end.
            let _ = thread.join();
        }
    }
}

/// Locks what no code can leave half-changed, so a panic elsewhere does not matter.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::{connect, send, text_to, token};
    use super::*;

    #[test]
    fn a_message_is_accepted_and_kept() {
        let sandbox = Sandbox::start(Config::for_tests()).unwrap();
        let token = token(&sandbox);
        let message = text_to(Endpoint::SendToUsers, &["Bob"]);

        let reply = send(&sandbox, Endpoint::SendToUsers, &token, &message);

        assert_eq!(reply.status, 200);
        let messages = sandbox.messages();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].from, "admin");
        assert_eq!(messages[0].to, ["Bob"]);
        assert_eq!(messages[0].json(), message);
        assert_eq!(messages[0].body(), json!({"msg": "hello"}));
        let (user, id) = &messages[0].ids[0];
        assert_eq!(reply.json()["data"], json!({user: id}));
    }

    #[test]
    fn a_dropped_sandbox_ends_its_connections() {
        use std::io::Read;

        let sandbox = Sandbox::start(Config::for_tests()).unwrap();
        let mut open = connect(&sandbox);
        drop(sandbox);
        // FIN or RST: either way it ends.
        assert!(matches!(open.read(&mut [0; 1]), Ok(0) | Err(_)));
    }

    #[test]
    fn an_address_in_use_is_an_error() {
        let first = Sandbox::start(Config::for_tests()).unwrap();
        let taken = Config {
            listen: first.addr(),
            ..Config::for_tests()
        };
        assert_eq!(
            Sandbox::start(taken).err().map(|error| error.kind()),
            Some(io::ErrorKind::AddrInUse)
        );
    }
}
