"""The form that an upload makes, read by a parser that knows nothing of us: Python's own, for mail."""

import email
import email.policy
import http.server
import json
import threading

import pytest
from conftest import CALL_SECONDS, Gateway
from test_media import upload_parts

CONTENT = bytes(range(256)) * 40


class Easemob(http.server.BaseHTTPRequestHandler):
    """Gives tokens, and keeps each upload as it came."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.read()
        if self.path == "/acme/shop/token":
            return self.answer({"access_token": "YWMtx", "expires_in": 3600})
        self.server.uploads.append((self.headers, body))
        self.answer({"entities": [{"uuid": "11111111-2222-3333-4444-555555555555", "type": "chatfile"}]})

    def read(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, value) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def easemob():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Easemob)
    server.uploads = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def form_stub(easemob, v1, tmp_path_factory):
    log = tmp_path_factory.mktemp("gateway") / "log.txt"
    gateway = Gateway(log, easemob=f"http://127.0.0.1:{easemob.server_port}")
    with gateway.channel() as channel:
        yield v1.MessagingServiceStub(channel)
    gateway.kill()


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    "name",
    ["cat.jpg", 'a "quoted" name.jpg', "back\\slash.jpg", "../../etc/passwd", "猫🐱.png", "semi;colon=x.jpg", "x" * 300],
)
def test_a_name_arrives_as_it_is_in_exactly_one_part(form_stub, v1, easemob, name, declared):
    easemob.uploads.clear()
    options = {"size_bytes": len(CONTENT)} if declared else {}
    parts = upload_parts(v1, CONTENT, filename=name, content_type="image/jpeg", **options)
    form_stub.UploadFile(parts, timeout=CALL_SECONDS)

    ((headers, body),) = easemob.uploads
    assert ("Content-Length" in headers) == declared
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert form.is_multipart() and not form.defects
    (part,) = form.get_payload()
    assert part["Content-Disposition"].params["name"] == "file"
    assert part.get_filename() == name
    assert part.get_content_type() == "image/jpeg"
    assert part.get_payload(decode=True) == CONTENT
