//! A way to a server on which answers take their time, and which may lead to another one later: a proxy between two sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// The way; it ends with this value, and with it all connections.
pub struct SlowWay {
    addr: SocketAddr,
    server: watch::Sender<SocketAddr>,
    delay: Arc<watch::Sender<Option<Duration>>>,
    _connections: JoinSet<()>,
}

impl SlowWay {
    /// To this server, with no delay at first.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let delay = Arc::new(watch::Sender::new(Some(Duration::ZERO)));
        let mut connections = JoinSet::new();
        let of_all = Arc::clone(&delay);
        let (server, leads_to) = watch::channel(server);
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                open.spawn(pass(client, leads_to.clone(), Arc::clone(&of_all)));
            }
        });
        Self {
            addr,
            server,
            delay,
            _connections: connections,
        }
    }

    /// Where it begins.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on it leads to that server: connections to the other one end.
    pub fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// What the server says from now on arrives so much later; none: never.
    pub fn delay(&self, delay: Option<Duration>) {
        self.delay.send_replace(delay);
    }
}

async fn pass(
    client: TcpStream,
    mut leads_to: watch::Receiver<SocketAddr>,
    delay: Arc<watch::Sender<Option<Duration>>>,
) {
    let server = *leads_to.borrow_and_update();
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((mut asks, answered), (answers, mut asked)) = (client.into_split(), server.into_split());
    let ask = async { tokio::io::copy(&mut asks, &mut asked).await.map(drop) };
    // Whoever ends it ends both.
    tokio::select! {
        _ = ask => {}
        () = answer(answers, answered, delay) => {}
        _ = leads_to.changed() => {}
    }
}

/// Each piece on its own clock: the delay is one of time, and no narrowness.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Arc<watch::Sender<Option<Duration>>>,
) {
    let (pieces, mut due) = mpsc::unbounded_channel::<(Option<Instant>, Vec<u8>)>();
    let read = async move {
        let mut piece = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let at = delay.borrow().map(|delay| Instant::now() + delay);
            let _ = pieces.send((at, piece[..count].to_vec()));
        }
    };
    let write = async move {
        while let Some((at, piece)) = due.recv().await {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
