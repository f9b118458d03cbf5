//! An HTTP/2 client whose frames are made by hand, for everything that a proper client would not
//! let us do wrong.
//!
//! Frames to send are bytes ([`headers`], [`data`], …), so that a test can repeat, join and cut
//! them as it likes. [`Connection`] sends them as they are and gives back what the server sends,
//! frame by frame; [`Connection::answer`] puts the frames of one call together.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
};

pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames, as on the wire.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags. `ACK` is that of SETTINGS and PING, the others those of HEADERS and DATA.
pub mod flag {
    pub const NONE: u8 = 0;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// Error codes, for RST_STREAM and GOAWAY.
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// Any frame at all.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Opens a call of the method at `path`; what it sends follows as [`data`].
pub fn headers(stream: u32, path: &str, metadata: &[(&str, &str)]) -> Vec<u8> {
    let flags = flag::END_HEADERS;
    frame(kind::HEADERS, flags, stream, &header_block(path, metadata))
}

/// The headers of a gRPC call, written out without a table, so that they can be repeated.
pub fn header_block(path: &str, metadata: &[(&str, &str)]) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are numbers 3 and 6 of the static table.
    let mut block = vec![0x83, 0x86];
    let usual = [
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in usual.iter().chain(metadata) {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

/// A string as HPACK has it: its length with seven bits a byte at first, then itself.
fn string(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap());
    }
    block.extend(text.as_bytes());
}

/// Bytes of a call; `end` says that they are its last.
pub fn data(stream: u32, payload: &[u8], end: bool) -> Vec<u8> {
    let flags = if end { flag::END_STREAM } else { flag::NONE };
    frame(kind::DATA, flags, stream, payload)
}

/// A gRPC message, ready to go into [`data`].
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![0];
    message.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    message.extend(bytes);
    message
}

/// Takes a call back.
pub fn rst_stream(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, flag::NONE, stream, &code.to_be_bytes())
}

pub fn ping(payload: [u8; 8]) -> Vec<u8> {
    frame(kind::PING, flag::NONE, 0, &payload)
}

/// Room for so many bytes more, on a call or (stream 0) on the connection.
pub fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(
        kind::WINDOW_UPDATE,
        flag::NONE,
        stream,
        &bytes.to_be_bytes(),
    )
}

pub fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(kind::SETTINGS, flag::NONE, 0, &payload)
}

pub fn goaway(last_stream: u32, code: u32) -> Vec<u8> {
    let payload = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
    frame(kind::GOAWAY, flag::NONE, 0, &payload)
}

/// A frame that the server sent.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Of RST_STREAM and GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// Of GOAWAY: the last call that the server will answer.
    pub fn last_stream(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    /// Of SETTINGS: the value of one of them.
    pub fn setting(&self, name: u16) -> Option<u32> {
        self.payload
            .chunks(6)
            .find(|setting| setting[..2] == name.to_be_bytes())
            .map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    }

    /// Of HEADERS.
    pub fn headers(&self) -> Vec<(String, String)> {
        let headers = fluke_hpack::Decoder::new().decode(&self.payload).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        headers
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// How a call ended.
#[derive(Debug, Default)]
pub struct Answer {
    /// Headers and trailers, as they came.
    pub headers: Vec<(String, String)>,
    /// The bytes of its messages, frames of gRPC included.
    pub data: Vec<u8>,
    /// The code, if the server reset the call.
    pub reset: Option<u32>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|header| header.0 == name)
            .map(|header| &*header.1)
    }

    /// `grpc-status`, if the call got as far as that.
    pub fn status(&self) -> Option<i32> {
        self.header("grpc-status")
            .map(|status| status.parse().unwrap())
    }
}

/// A connection, on which nothing happens by itself but the answers to SETTINGS and PING, and
/// those only when the test comes to these frames.
pub struct Connection {
    write: OwnedWriteHalf,
    frames: mpsc::UnboundedReceiver<Frame>,
    reading: JoinHandle<()>,
    /// Leaves the server's PINGs unanswered.
    pub mute: bool,
}

impl Connection {
    /// Connects, and sends preface and SETTINGS.
    pub async fn open(server: SocketAddr) -> Self {
        let connection = Self::dial(server).await;
        Self::greet(connection).await
    }

    /// The same, but takes nothing from the socket, so that the server's buffers fill.
    pub async fn open_deaf(server: SocketAddr) -> Self {
        let connection = Self::dial(server).await;
        connection.reading.abort();
        Self::greet(connection).await
    }

    async fn dial(server: SocketAddr) -> Self {
        let socket = TcpStream::connect(server).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (read, write) = socket.into_split();
        let (frame, frames) = mpsc::unbounded_channel();
        Self {
            write,
            frames,
            reading: tokio::spawn(read_frames(read, frame)),
            mute: false,
        }
    }

    async fn greet(mut connection: Self) -> Self {
        connection.send(PREFACE).await;
        // No table of headers: each block can then be read without the ones before.
        connection.send(&settings(&[(1, 0)])).await;
        connection
    }

    /// The server's address.
    pub fn peer(&self) -> SocketAddr {
        self.write.peer_addr().unwrap()
    }

    /// Our own address.
    pub fn local(&self) -> SocketAddr {
        self.write.local_addr().unwrap()
    }

    /// Sends bytes. That the server has closed is for [`next`](Self::next) to find out.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.write.write_all(bytes).await;
    }

    /// The server's next frame; none once it has closed the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let frame = self.frames.recv().await?;
        if frame.kind == kind::SETTINGS && !frame.has(flag::ACK) {
            self.send(&self::frame(kind::SETTINGS, flag::ACK, 0, &[]))
                .await;
        }
        if frame.kind == kind::PING && !frame.has(flag::ACK) && !self.mute {
            self.send(&self::frame(kind::PING, flag::ACK, 0, &frame.payload))
                .await;
        }
        Some(frame)
    }

    /// Reads on to the first frame of a kind; none if the connection ends before.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Reads on until the server closes the connection, and gives all that came.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Reads on to the end of a call; none if the connection ends before. What comes for other
    /// calls meanwhile is lost.
    pub async fn answer(&mut self, stream: u32) -> Option<Answer> {
        let mut answer = Answer::default();
        loop {
            let frame = self.next().await?;
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                kind::HEADERS => answer.headers.extend(frame.headers()),
                kind::DATA => answer.data.extend(&frame.payload),
                kind::RST_STREAM => answer.reset = Some(frame.code()),
                _ => {}
            }
            let ends = frame.kind == kind::HEADERS || frame.kind == kind::DATA;
            if answer.reset.is_some() || ends && frame.has(flag::END_STREAM) {
                return Some(answer);
            }
        }
    }

    /// Says GOAWAY and waits until the server has closed.
    pub async fn finish(&mut self) {
        self.send(&goaway(0, code::NO_ERROR)).await;
        let _ = self.write.shutdown().await;
        self.rest().await;
    }

    /// A whole call: one message there, and what came back.
    pub async fn call(&mut self, stream: u32, path: &str, payload: &[u8]) -> Option<Answer> {
        self.send(&headers(stream, path, &[])).await;
        self.send(&data(stream, &message(payload), true)).await;
        self.answer(stream).await
    }

    /// A PING and its echo: whatever was sent before has been read by the server.
    pub async fn round_trip(&mut self) -> Option<()> {
        self.send(&ping(*b"roundtri")).await;
        loop {
            if self.next_of(kind::PING).await?.has(flag::ACK) {
                return Some(());
            }
        }
    }
}

/// Reads always, whatever the test does meanwhile: else both sides could wait for the other to read.
async fn read_frames(socket: OwnedReadHalf, frames: mpsc::UnboundedSender<Frame>) {
    let mut socket = BufReader::new(socket);
    while let Ok(frame) = read_frame(&mut socket).await {
        if frames.send(frame).is_err() {
            return;
        }
    }
}

async fn read_frame(socket: &mut BufReader<OwnedReadHalf>) -> io::Result<Frame> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    socket.read_exact(&mut payload).await?;
    Ok(Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes(head[5..].try_into().unwrap()) & 0x7fff_ffff,
        payload,
    })
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Its half of the socket has to go as well, or the connection would stay open.
        self.reading.abort();
    }
}
