//! A gRPC client that uploads a file in chunks, in a process of its own. It speaks HTTP/2 itself, so that it
//! takes less of the machine than a gRPC library would: what it takes, the gateway lacks.

use std::{fs::File, future::poll_fn, io::Read, net::SocketAddr, time::Instant};

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use easemob_gateway::proto::{
    UploadFileHeader, UploadFileRequest, UploadFinish, UploadOptions, upload_file_request::Part,
};
use h2::{SendStream, client::SendRequest};
use http::{HeaderMap, Request};
use prost::Message;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet};

const METHOD: &str = "/easemob.messaging.v1.MessagingService/UploadFile";

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
    let address: SocketAddr = address.parse()?;
    let chunk = chunk.parse()?;
    let sha256 = Bytes::from(hex(sha256)?);
    let begin = Instant::now();
    let mut uploads = JoinSet::new();
    for _ in 0..times.parse()? {
        let file = File::open(path).context("no file")?;
        let upload = Upload {
            size: file.metadata()?.len(),
            file,
            chunk,
            sha256: sha256.clone(),
        };
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = h2::client::handshake(socket).await?;
        tokio::spawn(async move {
            // What ends a connection ends its upload, which tells.
            let _ = connection.await;
        });
        uploads.spawn(upload.send(sender, address));
    }
    let mut outcome = Outcome {
        seconds: 0.0,
        stored: 0,
        refused: None,
    };
    while let Some(upload) = uploads.join_next().await {
        match upload?? {
            None => outcome.stored += 1,
            refused => outcome.refused = refused,
        }
    }
    outcome.seconds = begin.elapsed().as_secs_f64();
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

struct Upload {
    file: File,
    size: u64,
    chunk: usize,
    sha256: Bytes,
}

impl Upload {
    /// Uploads the file; the status, where it is refused.
    async fn send(
        self,
        sender: SendRequest<Bytes>,
        address: SocketAddr,
    ) -> anyhow::Result<Option<String>> {
        let request = Request::post(format!("http://{address}{METHOD}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut stream) = sender.ready().await?.send_request(request, false)?;
        // An early answer ends the stream: what there is to say, it says.
        let sent = self.send_parts(&mut stream).await;
        let (head, mut body) = match response.await {
            Ok(response) => response.into_parts(),
            Err(error) => return Err(sent.err().unwrap_or(error.into())),
        };
        while let Some(data) = body.data().await {
            let size = data?.len();
            body.flow_control().release_capacity(size)?;
        }
        let trailers = body.trailers().await?;
        // Where there is no message, the status stands among the headers.
        let refused = refusal(trailers.as_ref().unwrap_or(&head.headers));
        ensure!(
            refused.is_some() || sent.is_ok(),
            "stored, and not sent whole"
        );
        Ok(refused)
    }

    async fn send_parts(self, stream: &mut SendStream<Bytes>) -> anyhow::Result<()> {
        let size_bytes = Some(self.size);
        let header = Part::Header(UploadFileHeader {
            filename: "file.bin".to_owned(),
            upload: Some(UploadOptions {
                size_bytes,
                ..UploadOptions::default()
            }),
            ..UploadFileHeader::default()
        });
        let finish = Part::Finish(UploadFinish {
            size_bytes,
            sha256: self.sha256.clone(),
        });
        send_data(stream, message(header)).await?;
        let mut chunks = self.chunks();
        while let Some(chunk) = chunks.recv().await {
            send_data(stream, chunk?).await?;
        }
        send_data(stream, message(finish)).await?;
        Ok(stream.send_data(Bytes::new(), true)?)
    }
}

impl Upload {
    /// The file in messages, one read ahead while another is sent: or the gateway would wait for the file.
    fn chunks(mut self) -> mpsc::Receiver<anyhow::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let mut left = self.size;
            while left > 0 {
                let size = self.chunk.min(usize::try_from(left).unwrap_or(self.chunk));
                left -= size as u64;
                // Whoever does not listen has given up.
                if sender.blocking_send(chunk(&mut self.file, size)).is_err() {
                    break;
                }
            }
        });
        receiver
    }
}

/// Sends bytes as the windows let them go.
async fn send_data(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let capacity = capacity.context("the stream has ended")??;
        stream.send_data(bytes.split_to(capacity.min(bytes.len())), false)?;
    }
    Ok(())
}

fn message(part: Part) -> Bytes {
    let message = UploadFileRequest { part: Some(part) };
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("a small message"));
    message.encode(&mut bytes).expect("the buffer grows");
    bytes.freeze()
}

/// A message with a chunk, read from the file into its place.
fn chunk(file: &mut File, size: usize) -> anyhow::Result<Bytes> {
    // Field 2, with bytes; see the contract.
    let mut field = BytesMut::from(&[0x12][..]);
    prost::encode_length_delimiter(size, &mut field)?;
    let length = u32::try_from(field.len() + size)?.to_be_bytes();
    let mut bytes = Vec::with_capacity(1 + length.len() + field.len() + size);
    bytes.push(0);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&field);
    let read = file.take(size as u64).read_to_end(&mut bytes)?;
    ensure!(read == size, "the file has become shorter");
    Ok(bytes.into())
}

/// The status of an answer, unless it is OK.
fn refusal(headers: &HeaderMap) -> Option<String> {
    let text = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    let message = percent_encoding::percent_decode_str(text("grpc-message")).decode_utf8_lossy();
    let code = tonic::Code::from_bytes(text("grpc-status").as_bytes());
    (code != tonic::Code::Ok).then(|| format!("{code:?}: {message}"))
}

fn hex(text: &str) -> anyhow::Result<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    let byte = |at| u8::from_str_radix(text.get(at..at + 2).unwrap_or_default(), 16);
    Ok(pairs.map(byte).collect::<Result<_, _>>()?)
}
