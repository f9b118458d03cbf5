//! One connection: requests are read, written down, and done with as the script says.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, TcpStream},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Instant,
};

use socket2::SockRef;

use super::{
    Received, Shared, TOKEN,
    script::{Step, UNAUTHORIZED, http},
};

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Closed when the last one is gone.
struct Socket(Arc<TcpStream>);

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(bytes)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

/// The connection is over.
struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    number: usize,
    to: IpAddr,
    socket: Arc<TcpStream>,
    stream: Box<dyn Stream>,
    /// Read, and not yet part of a request that is done with.
    buffer: Vec<u8>,
    /// The request in the buffer is written down.
    noted: bool,
    /// It was refused before that.
    refused: bool,
}

pub(super) fn serve(shared: &Shared, number: usize, socket: Arc<TcpStream>) {
    socket.set_nodelay(true).unwrap();
    let plain = Socket(Arc::clone(&socket));
    let stream: Box<dyn Stream> = match &shared.tls {
        None => Box::new(plain),
        Some(config) => {
            let tls = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
            Box::new(rustls::StreamOwned::new(tls, plain))
        }
    };
    let mut connection = Connection {
        shared,
        number,
        to: socket.local_addr().unwrap().ip(),
        socket,
        stream,
        buffer: Vec::new(),
        noted: false,
        refused: false,
    };
    while connection.request().is_ok() {}
}

impl Connection<'_> {
    /// One request, from its first byte to the last step of its script.
    fn request(&mut self) -> Result<(), Over> {
        let line = loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                break String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            }
            self.more()?;
        };
        let scripts = match Kind::of(&line) {
            Kind::Token => &self.shared.tokens,
            Kind::Send => &self.shared.sends,
            Kind::Upload => &self.shared.uploads,
            Kind::Download => &self.shared.downloads,
        };
        let script = scripts.lock().unwrap().next();
        for step in script.0 {
            self.play(step)?;
        }
        self.read_whole()?;
        let (head, body) = parse(&self.buffer).expect("it was read whole");
        self.buffer.drain(..head + body);
        (self.noted, self.refused) = (false, false);
        Ok(())
    }

    fn play(&mut self, step: Step) -> Result<(), Over> {
        match step {
            Step::Read => self.read_whole(),
            Step::ReadAtLeast(bytes) => {
                while self.buffer.len() < bytes {
                    self.more()?;
                }
                Ok(())
            }
            Step::Accept => {
                self.read_whole()?;
                let answer = accepted(&self.buffer);
                self.write(&answer)
            }
            Step::AcceptWith(number) => {
                self.read_whole()?;
                let token = format!("authorization: Bearer {TOKEN}{number}\r\n");
                let answer = if String::from_utf8_lossy(&self.buffer).contains(&token) {
                    accepted(&self.buffer)
                } else {
                    http(401, UNAUTHORIZED)
                };
                self.note_refusal(&answer);
                self.write(&answer)
            }
            Step::GiveToken => {
                let number = self.shared.seen.borrow().tokens.len();
                let body = format!(r#"{{"access_token":"{TOKEN}{number}","expires_in":86400}}"#);
                self.write(&http(200, &body))
            }
            Step::Write(bytes) => {
                self.note_refusal(&bytes);
                self.write(&bytes)
            }
            Step::Drip(bytes, pause) => {
                for byte in bytes {
                    self.write(&[byte])?;
                    thread::sleep(pause);
                }
                Ok(())
            }
            Step::Flood(bytes) => loop {
                self.write(&bytes)?;
            },
            Step::Wait(gate) => {
                gate.pass();
                Ok(())
            }
            Step::Stay(time) => {
                thread::sleep(time);
                Ok(())
            }
            Step::Silence => loop {
                self.more()?;
            },
            Step::Fin => {
                let _ = self.socket.shutdown(Shutdown::Write);
                // Bytes left unread would make a reset of it.
                while self.more().is_ok() {}
                Err(Over)
            }
            Step::Reset => {
                SockRef::from(&*self.socket)
                    .set_linger(Some(std::time::Duration::ZERO))
                    .unwrap();
                Err(Over)
            }
        }
    }

    /// An answer that proves that the request had no effect.
    fn note_refusal(&mut self, answer: &[u8]) {
        if !answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 408") {
            return;
        }
        self.refused = true;
        if !self.noted {
            return;
        }
        self.shared.seen.send_modify(|seen| {
            let last = seen.sends.iter_mut().rev();
            let mut mine = last.filter(|send| send.connection == self.number);
            if let Some(send) = mine.next() {
                send.refused = true;
            }
        });
    }

    fn read_whole(&mut self) -> Result<(), Over> {
        while parse(&self.buffer).is_none() {
            self.more()?;
        }
        Ok(())
    }

    /// Reads what comes next, and writes down a request that is now whole.
    fn more(&mut self) -> Result<(), Over> {
        let mut bytes = [0; 16 * 1024];
        let count = self.stream.read(&mut bytes)?;
        if count == 0 {
            return Err(Over);
        }
        self.buffer.extend(&bytes[..count]);
        let whole = parse(&self.buffer).filter(|_| !self.noted);
        self.noted |= whole.is_some();
        let received = whole.map(|(head, body)| {
            let (head, body) = (&self.buffer[..head], &self.buffer[head..head + body]);
            let head = String::from_utf8_lossy(head).into_owned();
            Received {
                connection: self.number,
                to: self.to,
                at: Instant::now(),
                body: serde_json::from_slice(body).unwrap_or_default(),
                bytes: match is_chunked(&head) {
                    true => dechunk(body).expect("it was read whole").1,
                    false => body.to_vec(),
                },
                head,
                refused: self.refused,
            }
        });
        self.shared.seen.send_modify(|seen| {
            seen.bytes_in += count;
            if let Some(received) = received {
                match Kind::of(&received.head) {
                    Kind::Token => seen.tokens.push(received),
                    Kind::Send => seen.sends.push(received),
                    Kind::Upload => seen.uploads.push(received),
                    Kind::Download => seen.downloads.push(received),
                }
            }
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.stream.write_all(bytes)?;
        self.stream.flush()?;
        let count = bytes.len();
        self.shared.seen.send_modify(|seen| seen.bytes_out += count);
        Ok(())
    }
}

/// What a request asks for.
enum Kind {
    Token,
    Send,
    Upload,
    Download,
}

impl Kind {
    /// By the request line.
    fn of(head: &str) -> Self {
        let path = head.split(' ').nth(1).unwrap_or_default();
        match () {
            () if path.ends_with("/token") => Self::Token,
            () if path.ends_with("/chatfiles") => Self::Upload,
            () if path.contains("/chatfiles/") => Self::Download,
            () => Self::Send,
        }
    }
}

fn is_chunked(head: &str) -> bool {
    head.to_ascii_lowercase()
        .contains("\r\ntransfer-encoding: chunked\r\n")
}

/// Lengths of head and body, if all of it is there.
fn parse(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if is_chunked(&text) {
        let (body, _) = dechunk(&bytes[head..])?;
        return Some((head, body));
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let body = match length {
        Some(length) => length.trim().parse().unwrap(),
        None if text.starts_with("get ") => 0,
        None => panic!("the gateway tells how long its requests are: {text}"),
    };
    (bytes.len() >= head + body).then_some((head, body))
}

/// Length of a chunked body and what it holds, if all of it is there.
fn dechunk(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut content) = (0, Vec::new());
    loop {
        let line = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        at += line + 2;
        let chunk = bytes.get(at..at + size + 2)?;
        assert_eq!(&chunk[size..], b"\r\n");
        content.extend_from_slice(&chunk[..size]);
        at += size + 2;
        if size == 0 {
            return Some((at, content));
        }
    }
}

/// An ID for every recipient of the request.
fn accepted(request: &[u8]) -> Vec<u8> {
    let (head, body) = parse(request).expect("it was read whole");
    let body: serde_json::Value = serde_json::from_slice(&request[head..head + body]).unwrap();
    let to = body["to"].as_array().unwrap();
    let ids = to.iter().map(|to| {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed).to_string();
        (to.as_str().unwrap().to_owned(), id.into())
    });
    let ids: serde_json::Map<_, _> = ids.collect();
    let answer = serde_json::json!({ "data": ids, "timestamp": 1_700_000_000_000_u64 });
    http(200, &answer.to_string())
}

static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
