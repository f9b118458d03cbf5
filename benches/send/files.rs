//! The sink's `/chatfiles`: reads the form, counts the bytes of its file and, where asked, hashes them.
//! Or it takes them slowly, or not at all.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use ring::digest;
use tokio::time::{Instant, sleep_until};

/// Pages that set how files are taken (`/files/count`, …) and tell what came (`/files/`).
pub(crate) const PAGE: &str = "/files/";
/// What a slow sink takes in a second.
pub(crate) const SLOW: u64 = 40 << 20;

const STORED: &str = r#"{"action":"post","entities":[{"uuid":"5fd74830-10d9-11e4-ba7a-8f8ba9a9ec4b","type":"chatfile"}]}"#;

/// How files are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Manner {
    #[default]
    Count,
    Hash,
    Slow,
    Stall,
}

/// What came since the manner was set.
#[derive(Debug, Default)]
struct Came {
    manner: Manner,
    files: u64,
    bytes: u64,
    sha256: String,
}

/// All files of the sink.
#[derive(Debug, Default)]
pub(crate) struct Files(Mutex<Came>);

impl Files {
    fn with<T>(&self, look: impl FnOnce(&mut Came) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers one of the pages: whole files, their bytes, and the sum of the last one.
    pub(crate) fn tell(&self, word: &str) -> String {
        let manner = match word {
            "count" => Manner::Count,
            "hash" => Manner::Hash,
            "slow" => Manner::Slow,
            "stall" => Manner::Stall,
            _ => return self.with(|came| format!("{} {} {}", came.files, came.bytes, came.sha256)),
        };
        self.with(|came| {
            *came = Came {
                manner,
                ..Came::default()
            }
        });
        String::new()
    }

    /// Takes a file.
    pub(crate) async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let manner = self.with(|came| came.manner);
        if manner == Manner::Stall {
            return std::future::pending().await;
        }
        let (status, body) = match read(request, manner).await {
            Ok((bytes, sha256)) => {
                self.with(|came| {
                    came.files += 1;
                    came.bytes += bytes;
                    came.sha256 = sha256;
                });
                (StatusCode::OK, Bytes::from_static(STORED.as_bytes()))
            }
            Err(error) => (StatusCode::BAD_REQUEST, Bytes::from(error.to_string())),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response
    }
}

/// Size of the form's file, and its SHA-256 where it is to be hashed.
async fn read(request: Request<Incoming>, manner: Manner) -> anyhow::Result<(u64, String)> {
    let (head, mut body) = request.into_parts();
    let (length, boundary) = form(&head.headers)?;
    let begin = Instant::now();
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut bytes = 0;
    // The form's own bytes; the head of its part comes in the first piece of the body.
    let mut file = 0..0;
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame?.into_data() else {
            bail!("trailers");
        };
        let start = bytes;
        bytes += data.len() as u64;
        if start == 0 {
            let head = data.windows(4).position(|four| four == b"\r\n\r\n");
            let head = head.context("a part without a head")? as u64 + 4;
            file = head..length - (boundary as u64 + 8);
        }
        if manner == Manner::Hash {
            let end = usize::try_from(file.end.saturating_sub(start))?;
            data.truncate(end);
            let skip = usize::try_from(file.start.saturating_sub(start))?;
            hash.update(data.get(skip..).unwrap_or_default());
        } else if manner == Manner::Slow {
            sleep_until(begin + Duration::from_micros(bytes * 1_000_000 / SLOW)).await;
        }
    }
    ensure!(bytes == length, "{bytes} bytes, and {length} were declared");
    let sum = hash.finish();
    let sum = sum.as_ref().iter().map(|byte| format!("{byte:02x}"));
    Ok((file.end - file.start, sum.collect()))
}

/// Length of the form, and of its boundary.
fn form(headers: &HeaderMap) -> anyhow::Result<(u64, usize)> {
    let text = |name| anyhow::Ok(headers.get(name).context("no form")?.to_str()?);
    let length = text(header::CONTENT_LENGTH)?.parse()?;
    let content_type = text(header::CONTENT_TYPE)?;
    let (_, boundary) = content_type.split_once("boundary=").context("no form")?;
    Ok((length, boundary.len()))
}
