"""A send can be followed from the caller's own span to each attempt, through a real Collector."""

import collections
import contextlib
import http.server
import ipaddress
import json
import re
import signal
import socket
import threading
import time
import urllib.request

import grpc
import pytest
from authority import Authority, as_pem
from collector import Collector, attributes
from conftest import CALL_SECONDS, Gateway, free_ports
from cryptography import x509
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from test_media import upload_parts

# OTLP's numbers for them.
INTERNAL, SERVER, CLIENT = 1, 2, 3
ERROR = 2
TOKEN = "token-of-the-gateway"
SEND = "easemob.messaging.v1.MessagingService/SendMessage"
# What the gateway may take for its last spans, by default, and what a busy machine may add.
FLUSH_SECONDS = 3
SLACK_SECONDS = 5

Span = collections.namedtuple("Span", "id parent trace name kind status attributes events service raw")


class Easemob(http.server.ThreadingHTTPServer):
    """An Easemob that plays a script of statuses for sends, and keeps the headers it saw."""

    daemon_threads = True

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.seen = []
        super().__init__(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer in one packet and at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, dict(self.headers)))
        if self.path.endswith("/token"):
            return self.answer(200, {"access_token": f"token-{len(self.server.seen)}", "expires_in": 86400})
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 401:
            return self.answer(401, {"error": "unauthorized", "error_description": "Unable to authenticate (OAuth)"})
        if status != 200:
            return self.answer(status, {})
        to = json.loads(body)["to"]
        return self.answer(200, {"data": {each: str(index + 1) for index, each in enumerate(to)}})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def easemob():
    """One whose answer to the first send is that the token is no longer good."""
    with Easemob(401) as easemob:
        yield easemob
        easemob.shutdown()


@contextlib.contextmanager
def traced_gateway(tmp_path, easemob, endpoint, **variables):
    settings = {
        "TELEMETRY__OTLP_ENDPOINT": endpoint,
        "TELEMETRY__TRACE_EASEMOB": "trace",
        "SERVER__SHARDS": "1",
    }
    settings = {f"EASEMOB_GATEWAY__{name}": value for name, value in settings.items()}
    gateway = Gateway(tmp_path / "gateway.txt", easemob=easemob.url, **(settings | variables))
    try:
        yield gateway
    finally:
        gateway.kill()


@contextlib.contextmanager
def caller_span(collector):
    """A span of the caller's own, exported by OpenTelemetry's Python."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    exporter = OTLPSpanExporter(endpoint=collector.grpc_url, insecure=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("shop").start_as_current_span("an order is paid") as span:
        yield span.get_span_context()
    provider.shutdown()


def metadata():
    headers = {}
    inject(headers)
    return list(headers.items())


def text_to(v1, user, text="hello"):
    return v1.SendMessageRequest(
        message=v1.Message(users=v1.Users(user_ids=[user]), text=v1.TextContent(text=text))
    )


def spans(requests):
    found = []
    for request in requests:
        for resource in request["resourceSpans"]:
            service = attributes(resource["resource"]).get("service.name")
            for scope in resource["scopeSpans"]:
                found += [
                    Span(
                        id=span["spanId"],
                        parent=span.get("parentSpanId", ""),
                        trace=span["traceId"],
                        name=span["name"],
                        kind=span["kind"],
                        status=span.get("status", {}).get("code", 0),
                        attributes=attributes(span),
                        events=[event["name"] for event in span.get("events", [])],
                        service=service,
                        raw=span,
                    )
                    for span in scope["spans"]
                ]
    return found


def tree_of(collector, trace, count):
    """All spans of a trace, once there are as many."""

    def look(requests):
        found = [span for span in spans(requests) if span.trace == f"{trace:032x}"]
        return len(found) >= count and found

    return collector.until("traces", look)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_send_is_one_tree_from_the_callers_span_to_each_attempt(tmp_path, v1, collector, easemob, protocol):
    endpoint = collector.grpc_url if protocol == "grpc" else collector.http_url
    settings = {
        "EASEMOB_GATEWAY__TELEMETRY__OTLP_PROTOCOL": protocol,
        "EASEMOB_GATEWAY__TELEMETRY__OTLP_COMPRESSION": "gzip" if protocol == "grpc" else "none",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    with traced_gateway(tmp_path, easemob, endpoint, **settings) as gateway:
        with gateway.channel() as channel, caller_span(collector) as caller:
            _, call = v1.MessagingServiceStub(channel).SendMessage.with_call(
                text_to(v1, "amy"), timeout=CALL_SECONDS, metadata=metadata()
            )
        found = tree_of(collector, caller.trace_id, 9)

    assert dict(call.initial_metadata())["x-trace-id"] == f"{caller.trace_id:032x}"
    (root,) = [span for span in found if span.service == "shop"]
    (server,) = [span for span in found if span.parent == root.id]
    assert (root.id, root.parent) == (f"{caller.span_id:016x}", "")
    assert (server.name, server.kind, server.status, server.service) == (SEND, SERVER, 0, "easemob-gateway")
    assert server.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": SEND,
        "rpc.response.status_code": "OK",
        "easemob.app": "shop",
    }

    (part,) = [span for span in found if span.parent == server.id]
    assert (part.name, part.kind, part.status) == ("send part", INTERNAL, 0)
    assert part.attributes == {"easemob.target": "users", "easemob.recipients": 1, "easemob.send_state": "accepted"}
    assert part.events == ["token.fetch", "token.refused", "token.fetch"]

    children = sorted((span for span in found if span.parent == part.id), key=lambda span: span.raw["startTimeUnixNano"])
    assert [span.name for span in children] == [
        "fetch token",
        "POST /messages/users",
        "fetch token",
        "POST /messages/users",
    ]
    refused, accepted = children[1], children[3]
    common = {
        "http.request.method": "POST",
        "url.template": "/messages/users",
        "url.full": f"{easemob.url}/acme/shop/messages/users",
        "server.address": "127.0.0.1",
        "server.port": easemob.server_port,
    }
    assert (refused.kind, refused.status) == (CLIENT, ERROR)
    assert refused.attributes == common | {"http.response.status_code": 401, "error.type": "401"}
    assert (accepted.kind, accepted.status) == (CLIENT, 0)
    assert accepted.attributes == common | {"http.response.status_code": 200, "http.request.resend_count": 1}

    tokens = [span for span in found if span.name == "POST /token"]
    assert [span.kind for span in tokens] == [CLIENT, CLIENT]
    assert {span.parent for span in tokens} == {children[0].id, children[2].id}

    # A tree: everyone but the root has a parent in it, and nobody else is there.
    ids = {span.id for span in found}
    assert len(ids) == len(found) == 9
    assert all(span.parent in ids for span in found if span is not root)

    # And Easemob was told by which span it was called.
    sent = [headers["traceparent"] for path, headers in easemob.seen if path.endswith("/users")]
    assert sent == [f"00-{span.trace}-{span.id}-01" for span in (refused, accepted)]


def test_an_unsampled_caller_is_followed_by_its_id_alone(tmp_path, v1, collector, easemob):
    trace = "0af7651916cd43dd8448eb211c80319c"
    unsampled = [("traceparent", f"00-{trace}-00f067aa0ba902b7-00"), ("tracestate", "a=b"), ("baggage", "user=amy")]
    with traced_gateway(tmp_path, easemob, collector.grpc_url) as gateway, gateway.channel() as channel:
        stub = v1.MessagingServiceStub(channel)
        _, call = stub.SendMessage.with_call(text_to(v1, "amy"), timeout=CALL_SECONDS, metadata=unsampled)
        assert dict(call.initial_metadata())["x-trace-id"] == trace
        # A refusal has it, too, and so has one of a layer in front of the handlers.
        for request in (v1.SendMessageRequest(), text_to(v1, "x" * 2_000_000)):
            with pytest.raises(grpc.RpcError) as error:
                stub.SendMessage(request, timeout=CALL_SECONDS, metadata=unsampled)
            told = [*error.value.initial_metadata(), *error.value.trailing_metadata()]
            assert dict(told)["x-trace-id"] == trace
        assert gateway.terminate() == 0
    told = [headers for path, headers in easemob.seen if path.endswith("/users")]
    assert all(headers["traceparent"].startswith(f"00-{trace}-") for headers in told)
    assert all(headers["traceparent"].endswith("-00") for headers in told)
    assert {headers["tracestate"] for headers in told} == {"a=b"}
    assert not any("baggage" in headers for headers in told)
    assert not spans(collector.requests("traces"))


def test_a_canary_in_message_file_and_secrets_is_in_no_span_and_no_metric(tmp_path, v1, collector):
    canary = "kanarienvogel"
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={canary}",
    }
    gateway = Gateway(tmp_path / "gateway.txt", **variables)
    try:
        with gateway.channel() as channel:
            stub = v1.MessagingServiceStub(channel)
            baggage = [("baggage", f"secret={canary}"), ("authorization", f"Bearer {canary}")]
            stub.SendMessage(text_to(v1, canary, canary), timeout=CALL_SECONDS, metadata=baggage)
            parts = upload_parts(v1, canary.encode() * 100_000, f"{canary}.txt", restrict_access=True)
            stored = stub.UploadFile(parts, timeout=CALL_SECONDS).file
            list(stub.DownloadFile(v1.DownloadFileRequest(file=stored.ref), timeout=CALL_SECONDS))
            wrong = v1.FileRef(uuid=stored.ref.uuid, secret=canary)
            with pytest.raises(grpc.RpcError):
                list(stub.DownloadFile(v1.DownloadFileRequest(file=wrong), timeout=CALL_SECONDS))
            with pytest.raises(grpc.RpcError):
                stub.SendMessage(v1.SendMessageRequest(app=canary), timeout=CALL_SECONDS)
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(f"/easemob.messaging.v1.MessagingService/{canary}")(b"", timeout=CALL_SECONDS)
        assert gateway.terminate() == 0
    finally:
        gateway.kill()
    # All that was done is there …
    done = {SEND, "send part", "upload file", "POST /chatfiles", "download file", "GET /chatfiles/{uuid}", "_OTHER"}
    collector.until("traces", lambda requests: done <= {span.name for span in spans(requests)})
    collector.until("metrics", lambda requests: requests)
    (upload,) = [span for span in spans(collector.requests("traces")) if span.name == "upload file"]
    assert upload.events == ["upload.progress"]
    # … and nothing of what it was about.
    exported = [(collector.folder / f"{signal}.jsonl").read_text() for signal in ("traces", "metrics")]
    everything = "".join(exported) + gateway.log.read_text()
    for secret in (canary, stored.ref.secret, stored.ref.uuid):
        assert secret and secret not in everything


@pytest.fixture(scope="module")
def authority():
    return Authority("collectors and gateways")


@pytest.fixture
def secure_collector(tmp_path, authority):
    """One that speaks TLS and serves those alone who have a certificate and a token."""
    server = authority.issue(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    client = authority.issue(x509.DNSName("gateway"))
    stranger = Authority("somebody else")
    files = {
        "collector.crt": server.certificate,
        "collector.key": server.key,
        "gateway.crt": client.certificate,
        "gateway.key": client.key,
        "ca.crt": as_pem(authority.certificate),
        "another-ca.crt": as_pem(stranger.certificate),
        "headers": f"authorization=Bearer {TOKEN}\n".encode(),
        "wrong-headers": b"authorization=Bearer guessed\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    collector = Collector(tmp_path, free_ports(2), token=TOKEN)
    yield collector
    collector.kill()


def secure_settings(collector, protocol, **files):
    """What it takes to be served by the secure one, but for these files."""
    files = {"CA_FILE": "ca.crt", "CERT_FILE": "gateway.crt", "KEY_FILE": "gateway.key", "HEADERS_FILE": "headers"} | files
    settings = {f"OTLP_{name}": str(collector.folder / file) for name, file in files.items()}
    settings |= {"OTLP_PROTOCOL": protocol, "OTLP_COMPRESSION": "gzip"}
    return {f"EASEMOB_GATEWAY__TELEMETRY__{name}": value for name, value in settings.items()}


def metric(gateway, name):
    """The values of a metric, by its labels as they are written."""
    with urllib.request.urlopen(f"{gateway.operations}/metrics", timeout=CALL_SECONDS) as answer:
        page = answer.read().decode()
    found = re.findall(rf"^{name}(?:{{(.*?)}})? (\S+)$", page, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_collector_behind_tls_and_a_token_gets_traces_and_metrics(tmp_path, v1, secure_collector, easemob, protocol):
    collector = secure_collector
    endpoint = collector.grpc_url if protocol == "grpc" else collector.http_url
    with traced_gateway(tmp_path, easemob, endpoint, **secure_settings(collector, protocol)) as gateway:
        with gateway.channel() as channel:
            v1.MessagingServiceStub(channel).SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS)
        assert gateway.terminate() == 0
    collector.until("traces", lambda requests: any(span.name == SEND for span in spans(requests)))
    collector.until("metrics", lambda requests: requests)
    assert "lost" not in gateway.log.read_text()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_the_standard_variables_say_reaches_a_collector_behind_tls(
    tmp_path, v1, secure_collector, easemob, protocol
):
    collector = secure_collector
    folder = collector.folder
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_url if protocol == "grpc" else collector.http_url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if protocol == "grpc" else "http/protobuf",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": f"{folder}/gateway.crt",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": f"{folder}/gateway.key",
        # Where no authority is named, those of the system are trusted; here that is ours.
        "SSL_CERT_FILE": f"{folder}/ca.crt",
    }
    gateway = Gateway(tmp_path / "gateway.txt", easemob=easemob.url, **variables)
    try:
        with gateway.channel() as channel:
            v1.MessagingServiceStub(channel).SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS)
        assert gateway.terminate() == 0
    finally:
        gateway.kill()
    collector.until("traces", lambda requests: any(span.name == SEND for span in spans(requests)))
    collector.until("metrics", lambda requests: requests)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(
    ("files", "error_type", "cause"),
    [
        ({"CA_FILE": "another-ca.crt"}, "connection", r"invalid peer certificate: UnknownIssuer"),
        ({"HEADERS_FILE": "wrong-headers"}, "rejected", r"the collector answered (Unauthenticated|401)"),
    ],
    ids=["foreign certificate", "wrong token"],
)
def test_a_collector_that_is_not_trusted_or_does_not_trust_costs_spans_and_says_why(
    tmp_path, v1, secure_collector, easemob, protocol, files, error_type, cause
):
    collector = secure_collector
    endpoint = collector.grpc_url if protocol == "grpc" else collector.http_url
    settings = secure_settings(collector, protocol, **files)
    with traced_gateway(tmp_path, easemob, endpoint, **settings) as gateway:
        with gateway.channel() as channel:
            stub = v1.MessagingServiceStub(channel)
            for _ in range(10):
                assert stub.SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS).accepted
        exported = "otel_sdk_exporter_span_exported_total"
        until(lambda: metric(gateway, exported).get(f'error_type="{error_type}"', 0) > 0)
        lost = [line for line in lines(gateway) if line["message"] == "spans were lost"]
        assert lost and all(re.search(cause, line["cause"]) for line in lost)
        assert gateway.terminate() == 0
    assert not collector.requests("traces")
    log = gateway.log.read_text()
    assert TOKEN not in log and "guessed" not in log


class Collectors:
    """Collectors that do not do what they should. Each gives the endpoint to export to."""

    @staticmethod
    @contextlib.contextmanager
    def absent():
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{held.getsockname()[1]}"

    @staticmethod
    @contextlib.contextmanager
    def silent():
        """Takes connections and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"

    @staticmethod
    @contextlib.contextmanager
    def refusing():
        """An HTTP server that knows no OTLP."""
        with Easemob() as server:
            yield server.url
            server.shutdown()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("collector", [Collectors.absent, Collectors.silent, Collectors.refusing])
def test_a_collector_that_fails_costs_spans_and_nothing_else(tmp_path, v1, collector, protocol):
    queue = 200
    settings = {
        "EASEMOB_GATEWAY__TELEMETRY__OTLP_PROTOCOL": protocol,
        "EASEMOB_GATEWAY__TELEMETRY__SPAN_QUEUE": str(queue),
        "EASEMOB_GATEWAY__TELEMETRY__OTLP_TIMEOUT": "60s",
    }
    with Easemob() as easemob, collector() as endpoint:
        with traced_gateway(tmp_path, easemob, endpoint, **settings) as gateway:
            with gateway.channel() as channel:
                stub = v1.MessagingServiceStub(channel)
                # Far more spans than there is room for; every send is answered.
                for _ in range(queue):
                    assert stub.SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS).accepted
            # One batch waits for its answer, the queue is full, and the rest is dropped and counted.
            if collector is Collectors.silent:
                assert metric(gateway, "otel_sdk_processor_span_queue_size")[""] == queue
                dropped = metric(gateway, "otel_sdk_processor_span_processed_total")
                assert dropped['error_type="queue_full"'] >= queue
            begin = time.monotonic()
            assert gateway.terminate() == 0
            assert time.monotonic() - begin < FLUSH_SECONDS + SLACK_SECONDS
        easemob.shutdown()
    log = gateway.log.read_text()
    assert "spans were lost" in log


def test_a_collector_that_is_killed_and_comes_back_gets_what_comes_then(tmp_path, v1, collector, easemob):
    with traced_gateway(tmp_path, easemob, collector.grpc_url) as gateway, gateway.channel() as channel:
        stub = v1.MessagingServiceStub(channel)
        stub.SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS)
        collector.until("traces", spans)
        collector.kill()
        for _ in range(20):
            stub.SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS)
        collector.start()
        before = len(spans(collector.requests("traces")))

        def arrived(requests):
            stub.SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS)
            return len(spans(requests)) > before

        collector.until("traces", arrived)


def test_what_is_logged_changes_with_sighup_and_each_line_has_its_trace(tmp_path, v1):
    config = tmp_path / "gateway.toml"
    trace = "0af7651916cd43dd8448eb211c80319c"
    sampled = [("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
    with Easemob() as easemob:
        config.write_text('[telemetry]\nlog_filter = "info"\n')
        variables = {"EASEMOB_GATEWAY__SERVER__SHARDS": "1"}
        gateway = Gateway(tmp_path / "gateway.txt", easemob=easemob.url, config=config, **variables)
        try:
            with gateway.channel() as channel:
                stub = v1.MessagingServiceStub(channel)

                def refused():
                    easemob.statuses.append(401)
                    easemob.statuses.append(401)
                    with pytest.raises(grpc.RpcError):
                        stub.SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS, metadata=sampled)
                    return [line for line in lines(gateway) if line["message"] == "a send was refused"]

                assert not refused()
                config.write_text('[telemetry]\nlog_filter = "debug"\n')
                gateway.process.send_signal(signal.SIGHUP)
                until(lambda: any("SIGHUP" in line["message"] for line in lines(gateway)))
                logged = refused()
                assert logged and {line["trace_id"] for line in logged} == {trace}
                assert all(len(line["span_id"]) == 16 for line in logged)

                # What cannot be used changes nothing.
                config.write_text('[telemetry]\nlog_filter = "=="\n')
                gateway.process.send_signal(signal.SIGHUP)
                until(lambda: any(line["level"] == "ERROR" for line in lines(gateway)))
                assert len(refused()) > len(logged)
        finally:
            gateway.kill()
            easemob.shutdown()


def test_lines_that_repeat_themselves_are_written_ten_times(tmp_path, v1):
    with Easemob(*[500] * 30) as easemob:
        gateway = Gateway(tmp_path / "gateway.txt", easemob=easemob.url)
        try:
            with gateway.channel() as channel:
                stub = v1.MessagingServiceStub(channel)
                for _ in range(30):
                    with pytest.raises(grpc.RpcError):
                        stub.SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS)
            assert gateway.terminate() == 0
        finally:
            gateway.kill()
            easemob.shutdown()
    written = [line for line in lines(gateway) if line.get("reason") == "OUTCOME_UNKNOWN"]
    # On a machine so slow that it takes longer than the 10 s that they are counted in, once more.
    assert 10 <= len(written) < 30
    assert len(written) == 10 or any(line.get("suppressed", 0) > 0 for line in written)


def test_the_standard_variables_name_size_and_sample(tmp_path, v1, collector, easemob):
    variables = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.grpc_url,
        "OTEL_SERVICE_NAME": "messages",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_BSP_MAX_QUEUE_SIZE": "77",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
    }
    trace = "0af7651916cd43dd8448eb211c80319c"
    sampled = [("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
    gateway = Gateway(tmp_path / "gateway.txt", easemob=easemob.url, **variables)
    try:
        with gateway.channel() as channel:
            stub = v1.MessagingServiceStub(channel)
            for decided in ([], sampled, []):
                stub.SendMessage(text_to(v1, "amy"), timeout=CALL_SECONDS, metadata=decided)
        assert metric(gateway, "otel_sdk_processor_span_queue_capacity") == {"": 77}
        assert gateway.terminate() == 0
    finally:
        gateway.kill()
    found = collector.until("traces", spans)
    assert {(span.trace, span.service) for span in found} == {(trace, "messages")}
    (resource,) = {json.dumps(attributes(each["resource"])) for each in resources(collector)}
    assert json.loads(resource)["deployment.environment.name"] == "test"
    # The endpoint was that of traces alone.
    assert not collector.requests("metrics")


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}], ids=str)
def test_what_is_switched_off_exports_no_span(tmp_path, v1, collector, easemob, off):
    with traced_gateway(tmp_path, easemob, collector.grpc_url, **off) as gateway, gateway.channel() as channel:
        answer, call = v1.MessagingServiceStub(channel).SendMessage.with_call(
            text_to(v1, "amy"), timeout=CALL_SECONDS
        )
        assert answer.accepted and dict(call.initial_metadata())["x-trace-id"]
        assert gateway.terminate() == 0
    assert not collector.requests("traces")


def resources(collector):
    return [resource for request in collector.requests("traces") for resource in request["resourceSpans"]]


def lines(gateway):
    return [json.loads(line) for line in gateway.log.read_text().split("\n")[:-1]]


def until(look):
    give_up = time.monotonic() + CALL_SECONDS
    while not look():
        assert time.monotonic() < give_up, "not in time"
        # A log tells of nothing.
        time.sleep(0.02)
