//! A client for the tests of this module, so raw that it sees every byte and every way a connection
//! can end.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Config, Endpoint, Sandbox};

/// Longer than anything here takes; a test that hits it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON answer")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Status, `error` and `error_description`.
    pub(super) fn error(&self) -> (u16, String, String) {
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        (self.status, text("error"), text("error_description"))
    }

    pub(super) fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        Self {
            status: head[9..12].parse().unwrap(),
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }
}

/// A sandbox for tests, and a token for it.
pub(super) fn start() -> (Sandbox, String) {
    start_with(Config::for_tests())
}

pub(super) fn start_with(config: Config) -> (Sandbox, String) {
    let sandbox = Sandbox::start(config).unwrap();
    let token = token(&sandbox);
    (sandbox, token)
}

/// Random bytes.
pub(super) fn noise(bytes: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..))
        .take(bytes)
        .collect()
}

pub(super) fn connect(sandbox: &Sandbox) -> TcpStream {
    let stream = TcpStream::connect(sandbox.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Writes the request and reads until the connection ends, however it does.
pub(super) fn exchange(sandbox: &Sandbox, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(sandbox);
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

pub(super) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Vec<u8> {
    let body = body.as_ref();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: sandbox.test\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!(
        "connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [request.as_bytes(), body].concat()
}

pub(super) fn call(
    sandbox: &Sandbox,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Reply {
    let bytes = exchange(sandbox, &request(method, path, headers, body)).unwrap();
    Reply::parse(&bytes)
}

pub(super) fn get(sandbox: &Sandbox, path: &str) -> Reply {
    call(sandbox, "GET", path, &[], "")
}

pub(super) fn path(endpoint: Endpoint) -> String {
    format!("/sandbox/demo{}", endpoint.path())
}

pub(super) fn token_request() -> Value {
    json!({
        "grant_type": "client_credentials",
        "client_id": "sandbox-client-id",
        "client_secret": "sandbox-client-secret",
    })
}

pub(super) fn ask_token(sandbox: &Sandbox, body: &Value) -> Reply {
    let headers = [("content-type", "application/json")];
    let path = path(Endpoint::Token);
    call(sandbox, "POST", &path, &headers, body.to_string())
}

pub(super) fn token(sandbox: &Sandbox) -> String {
    let reply = ask_token(sandbox, &token_request());
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

/// The bytes of a send.
pub(super) fn send_request(endpoint: Endpoint, token: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", authorization.as_str()),
    ];
    request("POST", &path(endpoint), &headers, body)
}

pub(super) fn send(sandbox: &Sandbox, endpoint: Endpoint, token: &str, body: &Value) -> Reply {
    let request = send_request(endpoint, token, body.to_string());
    Reply::parse(&exchange(sandbox, &request).unwrap())
}

/// A message of the least fields that the endpoint takes.
pub(super) fn text_to(endpoint: Endpoint, to: &[&str]) -> Value {
    let mut message = json!({"to": to, "type": "txt", "body": {"msg": "hello"}});
    use Endpoint::{SendToChatroomMembers, SendToGroupMembers};
    if matches!(endpoint, SendToGroupMembers | SendToChatroomMembers) {
        message["users"] = json!(["amy"]);
    }
    message
}

/// What ends a form; it stands between its parts, too, but for the last two dashes.
const BOUNDARY: &str = "----sandbox";

/// A form of one part, as clients send it.
pub(super) fn form(name: &str, filename: &str, content: &[u8]) -> Vec<u8> {
    let disposition = format!("form-data; name=\"{name}\"; filename=\"{filename}\"");
    form_of(&[(&disposition, "text/plain", content)])
}

/// A form of parts, each with its disposition, content type and content.
pub(super) fn form_of(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (disposition, content_type, content) in parts {
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: {disposition}\r\ncontent-type: {content_type}\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    form
}

/// The head of an upload, with whatever else it says, such as how long it is.
pub(super) fn upload_head(token: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!(
        "POST /sandbox/demo/chatfiles HTTP/1.1\r\nhost: sandbox.test\r\nauthorization: Bearer {token}\r\n\
         content-type: multipart/form-data; boundary={BOUNDARY}\r\nconnection: close\r\n"
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    (head + "\r\n").into_bytes()
}

/// The bytes of an upload.
pub(super) fn upload_request(token: &str, headers: &[(&str, &str)], form: &[u8]) -> Vec<u8> {
    let length = form.len().to_string();
    let headers = [headers, &[("content-length", length.as_str())]].concat();
    [upload_head(token, &headers).as_slice(), form].concat()
}

pub(super) fn upload(
    sandbox: &Sandbox,
    token: &str,
    headers: &[(&str, &str)],
    form: &[u8],
) -> Reply {
    let request = upload_request(token, headers, form);
    Reply::parse(&exchange(sandbox, &request).unwrap())
}

/// The UUID that an upload was given.
pub(super) fn uuid(reply: &Reply) -> String {
    let json = reply.json();
    let uuid = json["entities"][0]["uuid"].as_str();
    uuid.unwrap_or_else(|| panic!("no file: {json}")).to_owned()
}

pub(super) fn download(
    sandbox: &Sandbox,
    token: &str,
    uuid: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [headers, &[("authorization", authorization.as_str())]].concat();
    let path = format!("/sandbox/demo/chatfiles/{uuid}");
    call(sandbox, "GET", &path, &headers, "")
}
