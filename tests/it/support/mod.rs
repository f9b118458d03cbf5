//! What the tests share.

pub mod binary;
pub mod easemob;
pub mod gateway;
pub mod hosts;
pub mod http2;
pub mod ledger;
pub mod metrics;
pub mod process;
pub mod redis;
pub mod request;
pub mod server;
pub mod slow_way;
pub mod tls;

use std::{env, future::Future, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Whether the long versions of the slow tests are asked for, as `make soak` does.
pub fn soak() -> bool {
    env::var_os("SOAK").is_some()
}

/// Whether figures for the processor can be held to: only in a soak, and in an optimised build.
pub fn is_timed() -> bool {
    soak() && !cfg!(debug_assertions)
}

/// How often to do something that costs: `often` in a soak, else `seldom`.
pub fn times(seldom: u32, often: u32) -> u32 {
    if soak() { often } else { seldom }
}

/// What `future` gives, if it does so in time; else the test fails and says what it waited for.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    timeout(limit, future)
        .await
        .unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

/// The same with a limit that only a bug exceeds.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(Duration::from_secs(20), what, future).await
}

/// Waits until nobody listens there any more.
pub async fn refused(addr: SocketAddr) {
    soon("connections are refused", async {
        while TcpStream::connect(addr).await.is_ok() {}
    })
    .await;
}

/// Status and text of a page of an operations port.
pub async fn page(operations: SocketAddr, page: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(operations).await.unwrap();
    let request = format!("GET /{page} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.to_owned())
}
