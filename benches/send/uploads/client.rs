//! A gRPC client that uploads a file, as one writes it with tonic: it reads the file in chunks.

use std::{fs::File, io::Read, time::Instant};

use anyhow::Context;
use easemob_gateway::proto::{
    UploadFileHeader, UploadFileRequest, UploadFinish, UploadOptions,
    messaging_service_client::MessagingServiceClient, upload_file_request::Part,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// What became of the uploads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// From the first connection's start to the last answer.
    pub(crate) seconds: f64,
    pub(crate) stored: usize,
    /// Status of the last one that was refused.
    pub(crate) refused: Option<String>,
}

/// Uploads a file, so many times at once, each over a connection of its own; prints what became of it.
pub(crate) async fn run(order: &[&str]) -> anyhow::Result<()> {
    let [address, times, chunk, path, sha256] = *order else {
        anyhow::bail!("what to upload?");
    };
    let sha256 = hex(sha256)?;
    let begin = Instant::now();
    let mut uploads = JoinSet::new();
    for _ in 0..times.parse()? {
        let file = File::open(path).context("no file")?;
        let parts = Parts::new(file, chunk.parse()?, sha256.clone())?;
        let mut client = MessagingServiceClient::connect(format!("http://{address}")).await?;
        uploads.spawn(async move { client.upload_file(tokio_stream::iter(parts)).await });
    }
    let mut outcome = Outcome {
        seconds: 0.0,
        stored: 0,
        refused: None,
    };
    while let Some(upload) = uploads.join_next().await {
        match upload? {
            Ok(_stored) => outcome.stored += 1,
            Err(status) => {
                outcome.refused = Some(format!("{:?}: {}", status.code(), status.message()));
            }
        }
    }
    outcome.seconds = begin.elapsed().as_secs_f64();
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// The stream of one upload. Reads on the thread that sends: the file is in the page cache.
struct Parts {
    file: File,
    chunk: usize,
    left: u64,
    header: Option<UploadFileHeader>,
    finish: Option<UploadFinish>,
}

impl Parts {
    fn new(file: File, chunk: usize, sha256: Vec<u8>) -> anyhow::Result<Self> {
        let size_bytes = file.metadata()?.len();
        Ok(Self {
            file,
            chunk,
            left: size_bytes,
            header: Some(UploadFileHeader {
                filename: "file.bin".to_owned(),
                upload: Some(UploadOptions {
                    size_bytes: Some(size_bytes),
                    ..UploadOptions::default()
                }),
                ..UploadFileHeader::default()
            }),
            finish: Some(UploadFinish {
                size_bytes: Some(size_bytes),
                sha256: sha256.into(),
            }),
        })
    }
}

impl Iterator for Parts {
    type Item = UploadFileRequest;

    fn next(&mut self) -> Option<UploadFileRequest> {
        let part = if let Some(header) = self.header.take() {
            Part::Header(header)
        } else if self.left > 0 {
            let mut bytes = Vec::with_capacity(self.chunk);
            // A file that cannot be read ends the stream early, which the gateway tells.
            let chunk = (&self.file).take(self.chunk as u64);
            let read = { chunk }
                .read_to_end(&mut bytes)
                .ok()
                .filter(|read| *read > 0)?;
            self.left = self.left.saturating_sub(read as u64);
            Part::Chunk(bytes.into())
        } else {
            Part::Finish(self.finish.take()?)
        };
        Some(UploadFileRequest { part: Some(part) })
    }
}

fn hex(text: &str) -> anyhow::Result<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    let byte = |at| u8::from_str_radix(text.get(at..at + 2).unwrap_or_default(), 16);
    Ok(pairs.map(byte).collect::<Result<_, _>>()?)
}
