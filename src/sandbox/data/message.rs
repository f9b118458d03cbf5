//! Messages, a line each; in two files, so that the older half can go at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::sandbox::config::Keep;
use crate::sandbox::endpoint::Endpoint;
use crate::sandbox::messages::Message;
use crate::sandbox::send::KEPT_HEADERS;

const NEW: &str = "messages.jsonl";
const OLD: &str = "messages.old.jsonl";

/// A message as it is written. Its content stands in the request.
#[derive(Serialize, Deserialize)]
struct Line {
    endpoint: String,
    from: String,
    to: Vec<String>,
    members: Vec<String>,
    kind: String,
    ids: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    token: Option<String>,
    path: String,
    /// Milliseconds since 1970.
    received: u64,
    request: String,
}

#[derive(Deserialize)]
struct Content {
    body: Box<RawValue>,
    ext: Option<Box<RawValue>>,
}

/// What is left of earlier runs; lines that cannot be read are left out.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Message>> {
    let mut messages = Vec::new();
    for name in [OLD, NEW] {
        let file = match File::open(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        for line in BufReader::new(file).split(b'\n') {
            let line: Option<Line> = serde_json::from_slice(&line?).ok();
            messages.extend(line.and_then(message));
        }
    }
    Ok(messages)
}

fn message(line: Line) -> Option<Message> {
    let endpoints = Endpoint::SENDS.into_iter();
    let endpoint = { endpoints }.find(|endpoint| endpoint.path() == line.endpoint)?;
    let Content { body, ext } = serde_json::from_str(&line.request).ok()?;
    let headers = line.headers.into_iter();
    let headers = headers.filter_map(|(name, value)| {
        let name = KEPT_HEADERS.into_iter().find(|kept| *kept == name)?;
        Some((name, value))
    });
    Some(Message {
        sequence: 0,
        ids: line.ids,
        endpoint,
        from: line.from,
        to: line.to,
        members: line.members,
        kind: line.kind,
        headers: headers.collect(),
        token: line.token,
        path: line.path,
        received: UNIX_EPOCH + Duration::from_millis(line.received),
        request: line.request.into(),
        body,
        ext,
    })
}

impl Line {
    fn of(message: &Message) -> Self {
        let headers = message.headers.iter();
        let headers = headers.map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self {
            endpoint: message.endpoint.path().to_owned(),
            from: message.from.clone(),
            to: message.to.clone(),
            members: message.members.clone(),
            kind: message.kind.clone(),
            ids: message.ids.clone(),
            headers: headers.collect(),
            token: message.token.clone(),
            path: message.path.clone(),
            received: milliseconds(message.received),
            request: String::from_utf8_lossy(&message.request).into_owned(),
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The file that grows.
pub(super) struct Log {
    folder: PathBuf,
    keep: Keep,
    file: File,
    lines: usize,
    bytes: usize,
}

impl Log {
    pub(super) fn open(folder: &Path, keep: Keep) -> io::Result<Self> {
        let path = folder.join(NEW);
        let written = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            written => written?,
        };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if written.last().is_some_and(|last| *last != b'\n') {
            // The last line was cut off: the next one is to be a line of its own.
            file.write_all(b"\n")?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            keep,
            file,
            lines: written.iter().filter(|byte| **byte == b'\n').count(),
            bytes: written.len(),
        })
    }

    pub(super) fn append(&mut self, message: &Message) -> io::Result<()> {
        if self.lines >= self.keep.messages || self.bytes >= self.keep.message_bytes {
            fs::rename(self.folder.join(NEW), self.folder.join(OLD))?;
            self.begin()?;
        }
        let mut line = serde_json::to_vec(&Line::of(message))?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.lines += 1;
        self.bytes += line.len();
        Ok(())
    }

    pub(super) fn clear(&mut self) -> io::Result<()> {
        super::remove(self.folder.join(OLD))?;
        self.begin()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.file = File::create(self.folder.join(NEW))?;
        self.lines = 0;
        self.bytes = 0;
        Ok(())
    }
}
