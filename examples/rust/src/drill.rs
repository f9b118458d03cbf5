//! What the tests try besides: uploads that are refused or given up, and sends while the gateway restarts.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;

use crate::{
    files::{CHUNK, media_parts},
    gateway::Client,
    problem::Problem,
    retry::retrying,
    text,
    v1::{UploadFileHeader, UploadFileRequest, UploadOptions, upload_file_request::Part},
};

const TEN_MB: usize = 10 * 1024 * 1024;

pub async fn run(client: Client, arguments: &[&str]) -> Result<()> {
    match arguments {
        ["refused", times] => refused(client, times.parse()?).await,
        ["cancelled", user] => cancelled(client, user).await,
        ["steady", user, seconds] => steady(client, user, seconds.parse()?).await?,
        _ => bail!("no drill is called so"),
    }
    Ok(())
}

/// Uploads a file that is too large, and counts what it is told.
async fn refused(mut client: Client, times: usize) {
    let mut told = BTreeMap::new();
    for _ in 0..times {
        if let Err(status) = client.upload_file(too_large()).await {
            *told.entry(Problem::from(&status).to_string()).or_insert(0) += 1;
        }
    }
    for (problem, count) in told {
        println!("{count} × {problem}");
    }
}

fn too_large() -> impl tokio_stream::Stream<Item = UploadFileRequest> + Send + 'static {
    let header = UploadFileHeader {
        filename: "large.bin".into(),
        upload: Some(UploadOptions {
            size_bytes: Some(TEN_MB as u64 + 1),
            ..Default::default()
        }),
        ..Default::default()
    };
    let chunks = (0..TEN_MB / CHUNK).map(|_| Part::Chunk(vec![0; CHUNK]));
    let parts = std::iter::once(Part::Header(header)).chain(chunks);
    tokio_stream::iter(parts.map(|part| UploadFileRequest { part: Some(part) }))
}

/// Gives up in the middle of a file.
async fn cancelled(mut client: Client, user: &str) {
    let (on_its_way, is_on_its_way) = oneshot::channel::<()>();
    let half: Vec<_> = media_parts(user).into_iter().take(8).collect();
    let end = async_end(on_its_way);
    let parts = tokio_stream::iter(half).chain(end);
    tokio::select! {
        _ = client.send_media_message(parts) => println!("answered"),
        // Dropped, the call is cancelled.
        _ = is_on_its_way => println!("CANCELLED"),
    }
}

/// Tells that all before was taken, and never ends.
fn async_end<T>(taken: oneshot::Sender<()>) -> impl tokio_stream::Stream<Item = T> + Send
where
    T: Send,
{
    let mut taken = Some(taken);
    tokio_stream::pending().merge(tokio_stream::once(()).filter_map(move |()| {
        taken.take().map(|taken| taken.send(()).ok());
        None
    }))
}

/// Sends for so long, and prints what became of each message.
async fn steady(client: Client, user: &str, seconds: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let workers = (0..4).map(|_| tokio::spawn(send_until(end, client.clone(), user.to_owned())));
    for worker in workers.collect::<Vec<_>>() {
        worker.await?;
    }
    Ok(())
}

async fn send_until(end: Instant, client: Client, user: String) {
    while Instant::now() < end {
        let nonce = uuid::Uuid::new_v4().to_string();
        let mut request = text(&nonce, &[&user]);
        request.request_id = nonce.clone();
        let sent = retrying(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.send_message(request).await }
        });
        match sent.await {
            Ok(_) => println!("ok {nonce}"),
            Err(status) => println!("failed {nonce} {}", Problem::from(&status)),
        }
    }
}
