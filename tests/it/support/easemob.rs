//! An Easemob that does what a test says, byte by byte: the faults that no HTTP server makes.
//!
//! Left alone it gives tokens and accepts sends. A test tells it what to do with the next ones:
//!
//! ```ignore
//! let easemob = Easemob::start();
//! easemob.on_send(Script::read().reset());                        // all of it read, then RST
//! easemob.on_send(Script::unread().answer(413, "").fin());        // answered before it is read
//! easemob.on_token(Script::read().answer(500, "<html>"));
//! let gateway = TestGateway::start(easemob.url()).await;
//!
//! gateway.client().await.send_message(text_to(&["bob"])).await.unwrap_err();
//!
//! assert_eq!(easemob.seen().sends.len(), 1);                      // POSTs that arrived whole
//! easemob.until("the connection ends", |seen| seen.ended > 0).await;
//! ```
//!
//! When it goes, the rule of `ledger.rs` is checked for all that it was sent.
//!
//! It can also be away ([`Closed`], [`Easemob::down`]), deaf ([`Easemob::black_hole`]), and speak TLS
//! ([`Easemob::start_tls`]). It runs on threads and blocking sockets, and shares no code with the
//! gateway or the sandbox, so that a misunderstanding cannot cancel itself out.

mod chance;
mod connection;
mod script;

use std::{
    collections::{HashSet, VecDeque},
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, Weak},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::{sync::watch, time::timeout};

pub use self::script::{ACCEPTED_JSON, Gate, STORED_JSON, Script, UNAUTHORIZED, http};
use super::ledger::Book;

/// The token it gives, with a number after it that counts them, from 1.
pub const TOKEN: &str = "CANARY-token-";

/// What has happened so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Connections opened.
    pub connections: usize,
    /// Connections ended, by whichever side.
    pub ended: usize,
    /// Bytes of requests, after decryption.
    pub bytes_in: usize,
    /// Bytes of answers that the gateway took, or the kernel for it.
    pub bytes_out: usize,
    /// POSTs for a token that arrived whole.
    pub tokens: Vec<Received>,
    /// POSTs of messages that arrived whole.
    pub sends: Vec<Received>,
    /// POSTs of files that arrived whole.
    pub uploads: Vec<Received>,
    /// GETs of files.
    pub downloads: Vec<Received>,
}

impl Seen {
    /// The texts that arrived, in order: each test message has its own.
    pub fn texts(&self) -> Vec<&str> {
        self.sends.iter().map(Received::text).collect()
    }

    /// Those that arrived more than once, but for what was refused; of files their names.
    pub fn twice(&self) -> Vec<&str> {
        let mut had = HashSet::new();
        let sends = self.sends.iter().filter(|send| !send.refused);
        let names = sends.map(|send| {
            let filename = send.body["body"]["filename"].as_str();
            filename.unwrap_or_else(|| send.text())
        });
        names.filter(|name| !had.insert(*name)).collect()
    }
}

/// A request that arrived whole.
#[derive(Debug, Clone)]
pub struct Received {
    /// Number of its connection, from 0.
    pub connection: usize,
    /// The address that was called.
    pub to: IpAddr,
    /// When its last byte was read.
    pub at: Instant,
    /// Request line and headers.
    pub head: String,
    /// What it says.
    pub body: serde_json::Value,
    /// It was answered with a whole 4xx that says that nothing was sent.
    pub refused: bool,
    /// Its body as it came, without the frames of a chunked one.
    pub bytes: Vec<u8>,
}

impl Received {
    pub fn text(&self) -> &str {
        self.body["body"]["msg"].as_str().unwrap_or_default()
    }
}

/// What is done with the requests to one endpoint.
#[derive(Debug)]
struct Scripts {
    next: VecDeque<Script>,
    /// When there is no next.
    always: Always,
}

/// Gives a script for whatever comes.
struct Always(Box<dyn FnMut() -> Script + Send>);

impl fmt::Debug for Always {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Always")
    }
}

impl From<Script> for Always {
    fn from(script: Script) -> Self {
        Self(Box::new(move || script.clone()))
    }
}

impl Scripts {
    fn new(always: Script) -> Mutex<Self> {
        Mutex::new(Self {
            next: VecDeque::new(),
            always: always.into(),
        })
    }

    fn next(&mut self) -> Script {
        self.next.pop_front().unwrap_or_else(&mut self.always.0)
    }
}

/// What listener, connections and test share.
#[derive(Debug)]
struct Shared {
    seen: watch::Sender<Seen>,
    tokens: Mutex<Scripts>,
    sends: Mutex<Scripts>,
    uploads: Mutex<Scripts>,
    downloads: Mutex<Scripts>,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Open ones, to be cut when the end comes.
    sockets: Mutex<Vec<Weak<TcpStream>>>,
    deaf: Mutex<Deaf>,
    deaf_changes: Condvar,
}

/// Whether nobody is accepted.
#[derive(Debug, Default)]
struct Deaf {
    asked: bool,
    is: bool,
}

/// A port that refuses connections, until Easemob is started on it.
pub struct Closed {
    socket: Socket,
    addr: SocketAddr,
}

impl Closed {
    /// A free port, held from now on.
    pub fn new() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    fn at(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&addr.into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        Self { socket, addr }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Starts Easemob here.
    pub fn open(self) -> Easemob {
        self.open_with(None)
    }

    fn open_with(self, tls: Option<Arc<rustls::ServerConfig>>) -> Easemob {
        let shared = Arc::new(Shared {
            seen: watch::Sender::default(),
            tokens: Scripts::new(Script::read().give_token()),
            sends: Scripts::new(Script::read().accept()),
            uploads: Scripts::new(Script::read().store()),
            downloads: Scripts::new(Script::read().answer(200, "{}")),
            tls,
            sockets: Mutex::default(),
            deaf: Mutex::default(),
            deaf_changes: Condvar::new(),
        });
        let listener = self.listen(&shared);
        let scheme = if shared.tls.is_some() {
            "https"
        } else {
            "http"
        };
        Easemob {
            book: Book::open(&format!("{scheme}://{}", self.addr)),
            addr: self.addr,
            shared,
            listener: Mutex::new(listener),
            elsewhere: Mutex::default(),
            crowd: Mutex::default(),
        }
    }

    fn listen(&self, shared: &Arc<Shared>) -> Arc<TcpListener> {
        self.socket.listen(128).unwrap();
        let listener: Arc<TcpListener> = Arc::new(self.socket.try_clone().unwrap().into());
        thread::spawn({
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(shared));
            move || accept(&listener, &shared)
        });
        listener
    }
}

/// See the module.
pub struct Easemob {
    book: Arc<Book>,
    addr: SocketAddr,
    shared: Arc<Shared>,
    listener: Mutex<Arc<TcpListener>>,
    /// Where else it is to be found.
    elsewhere: Mutex<Vec<Arc<TcpListener>>>,
    /// What fills the queue while it is deaf.
    crowd: Mutex<Vec<TcpStream>>,
}

impl Easemob {
    /// On a free port, without TLS.
    pub fn start() -> Self {
        Closed::new().open()
    }

    /// On a free port, with TLS.
    pub fn start_tls(config: Arc<rustls::ServerConfig>) -> Self {
        Closed::new().open_with(Some(config))
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.addr)
    }

    /// Also listens on this address, at the same port.
    pub fn also_at(&self, address: Ipv4Addr) {
        let other = Closed::at((address, self.addr.port()).into());
        self.elsewhere
            .lock()
            .unwrap()
            .push(other.listen(&self.shared));
    }

    /// Its base URL by a name that the gateway looks up.
    pub fn known_as(&self, host: &str) -> String {
        let url = format!("http://{host}:{}", self.addr.port());
        Book::list(&url, &self.book);
        url
    }

    /// What to do with the next message; several calls make a queue.
    pub fn on_send(&self, script: Script) {
        self.shared.sends.lock().unwrap().next.push_back(script);
    }

    /// Does nothing of what was asked for with the next messages.
    pub fn forget_scripts(&self) {
        self.shared.sends.lock().unwrap().next.clear();
    }

    /// What to do with the next request for a token.
    pub fn on_token(&self, script: Script) {
        self.shared.tokens.lock().unwrap().next.push_back(script);
    }

    /// What to do with the next upload.
    pub fn on_upload(&self, script: Script) {
        self.shared.uploads.lock().unwrap().next.push_back(script);
    }

    /// What to do with the next download.
    pub fn on_download(&self, script: Script) {
        self.shared.downloads.lock().unwrap().next.push_back(script);
    }

    /// What to do with every message from now on.
    pub fn always_on_send(&self, script: Script) {
        self.shared.sends.lock().unwrap().always = script.into();
    }

    /// What to do with every request for a token from now on.
    pub fn always_on_token(&self, script: Script) {
        self.shared.tokens.lock().unwrap().always = script.into();
    }

    /// Whatever comes from now on meets what chance has for it.
    pub fn by_chance(&self, mut rng: Rng) {
        let mut chance = |scripts: &Mutex<Scripts>, any: fn(&mut Rng) -> Script| {
            let mut rng = rng.fork();
            scripts.lock().unwrap().always = Always(Box::new(move || any(&mut rng)));
        };
        chance(&self.shared.sends, Script::any_send);
        chance(&self.shared.uploads, Script::any_upload);
        chance(&self.shared.tokens, Script::any_token);
    }

    /// What has happened so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen.borrow().clone()
    }

    /// Waits until something has happened.
    pub async fn until(&self, what: &str, happened: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.shared.seen.subscribe();
        let limit = Duration::from_secs(10);
        if timeout(limit, seen.wait_for(happened)).await.is_err() {
            panic!("not in time: {what}: {:?}", self.seen());
        }
        self.seen()
    }

    /// Goes away: connections end, new ones are refused.
    pub fn down(&self) {
        // This also ends the thread that accepts.
        let _ = SockRef::from(&**self.listener.lock().unwrap()).shutdown(std::net::Shutdown::Both);
        self.cut();
    }

    /// Is back, where it was.
    pub fn up(&self) {
        *self.listener.lock().unwrap() = Closed::at(self.addr).listen(&self.shared);
    }

    /// Connections end, and new ones neither succeed nor fail.
    pub fn black_hole(&self) {
        let mut deaf = self.shared.deaf.lock().unwrap();
        deaf.asked = true;
        // The thread that accepts notices with the next one, which this is.
        let waker = TcpStream::connect(self.addr).unwrap();
        drop(self.shared.deaf_changes.wait_while(deaf, |deaf| !deaf.is));
        self.cut();
        SockRef::from(&**self.listener.lock().unwrap())
            .listen(0)
            .unwrap();
        let mut crowd = vec![waker];
        // The kernel leaves unanswered what has no room in the queue.
        while let Ok(one) = TcpStream::connect_timeout(&self.addr, Duration::from_millis(100)) {
            assert!(crowd.len() < 100, "the queue never fills");
            crowd.push(one);
        }
        *self.crowd.lock().unwrap() = crowd;
    }

    /// Accepts again.
    pub fn end_black_hole(&self) {
        self.crowd.lock().unwrap().clear();
        SockRef::from(&**self.listener.lock().unwrap())
            .listen(128)
            .unwrap();
        self.hear();
    }

    fn hear(&self) {
        self.shared.deaf.lock().unwrap().asked = false;
        self.shared.deaf_changes.notify_all();
    }

    fn cut(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            if let Some(socket) = socket.upgrade() {
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}

impl Drop for Easemob {
    fn drop(&mut self) {
        self.down();
        for listener in self.elsewhere.lock().unwrap().drain(..) {
            let _ = SockRef::from(&*listener).shutdown(std::net::Shutdown::Both);
        }
        self.hear();
        match self.book.check(&self.seen()) {
            // The test has failed for another cause already.
            Err(broken) if thread::panicking() => eprintln!("and the ledger says: {broken}"),
            checked => checked.unwrap(),
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let mut deaf = shared.deaf.lock().unwrap();
        deaf.is = deaf.asked;
        shared.deaf_changes.notify_all();
        let changes = &shared.deaf_changes;
        deaf = changes.wait_while(deaf, |deaf| deaf.asked).unwrap();
        deaf.is = false;
        drop(deaf);
        let socket = match listener.accept() {
            Ok((socket, _)) => Arc::new(socket),
            // Shut down.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => panic!("{error}"),
        };
        if shared.deaf.lock().unwrap().asked {
            continue;
        }
        shared.sockets.lock().unwrap().push(Arc::downgrade(&socket));
        let mut number = 0;
        shared.seen.send_modify(|seen| {
            number = seen.connections;
            seen.connections += 1;
        });
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            connection::serve(&shared, number, socket);
            shared.seen.send_modify(|seen| seen.ended += 1);
        });
    }
}
