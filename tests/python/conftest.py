"""A gateway with its sandbox on free ports, and stubs generated from proto/ for each run."""

import contextlib
import importlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time
import types
import urllib.error
import urllib.parse
import urllib.request
import uuid

import grpc
import grpc_tools
import pytest
from collector import Collector
from grpc_tools import protoc
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / os.environ.get("EASEMOB_GATEWAY_BIN", "target/debug/easemob-gateway")
PACKAGE = "easemob/messaging/v1"

START_SECONDS = 20
STOP_SECONDS = 20
# Longer than any answer of a local gateway takes, short enough to end a run that hangs.
CALL_SECONDS = 10

CHROMIUM = "/usr/bin/chromium"
# As root, and on a machine that reaches nothing but itself.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"]


def generate(proto: pathlib.Path, out: pathlib.Path) -> None:
    """What a caller does once: Python from the proto files."""
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    # google/rpc is not generated: grpcio-status brings it.
    files = sorted(str(file) for file in (proto / PACKAGE).glob("*.proto"))
    arguments = [f"-I{proto}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    code = protoc.main(["protoc", *arguments, *files])
    assert code == 0, f"protoc failed with {code}"


@pytest.fixture(scope="session")
def stub_folder(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("stubs")
    generate(ROOT / "proto", folder)
    return folder


@pytest.fixture(scope="session")
def v1(stub_folder) -> types.SimpleNamespace:
    """The contract: all messages and enums, and the stub."""
    sys.path.insert(0, str(stub_folder))
    names = {}
    for module in ("error_reason_pb2", "message_pb2", "messaging_service_pb2", "messaging_service_pb2_grpc"):
        names |= vars(importlib.import_module(f"easemob.messaging.v1.{module}"))
    return types.SimpleNamespace(**names)


class Gateway:
    """A running `easemob-gateway dev`, or `serve` where Easemob is somewhere else."""

    def __init__(self, log: pathlib.Path, easemob: str = "", config=None, secure=None, web_origin="", **variables: str):
        assert BINARY.exists(), f"{BINARY} is missing: `make test` builds it"
        grpc_port, operations_port, sandbox_port, web_port = free_ports(4)
        self.target = f"127.0.0.1:{grpc_port}"
        self.operations = f"http://127.0.0.1:{operations_port}"
        self.sandbox = f"http://127.0.0.1:{sandbox_port}"
        self.web = f"http://127.0.0.1:{web_port}"
        self.log = log
        # Settings of whoever runs the tests stay theirs.
        theirs = ("EASEMOB_GATEWAY", "OTEL_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
        command = [
            "dev",
            f"--listen={self.target}",
            f"--operations-listen=127.0.0.1:{operations_port}",
            f"--sandbox-listen=127.0.0.1:{sandbox_port}",
            *([f"--secure={secure}"] if secure else []),
            *([f"--web-listen=127.0.0.1:{web_port}", f"--web-origin={web_origin}"] if web_origin else []),
        ]
        if easemob:
            command = ["serve", *([f"--config={config}"] if config else [])]
            settings = {
                "SERVER__LISTEN": self.target,
                "SERVER__OPERATIONS_LISTEN": f"127.0.0.1:{operations_port}",
                "APPS__SHOP__BASE_URL": easemob,
                "APPS__SHOP__ORG_NAME": "acme",
                "APPS__SHOP__APP_NAME": "shop",
                "APPS__SHOP__CLIENT_ID": "id",
                "APPS__SHOP__CLIENT_SECRET_ENV": "SHOP_SECRET",
            }
            environment |= {f"EASEMOB_GATEWAY__{name}": value for name, value in settings.items()}
            environment |= {"SHOP_SECRET": "secret", "SANDBOX_SECRET": "sandbox-client-secret"}
        environment |= variables
        self.command, self.environment = command, environment
        self.start()

    def start(self) -> None:
        """For the first time, or again after its end, on the same ports."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [BINARY, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
            )
        try:
            self.await_ready()
        except BaseException:
            self.kill()
            raise

    def await_ready(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while not self.is_ready():
            code = self.process.poll()
            assert code is None, f"the gateway ended with {code} before it was ready:\n{self.log.read_text()}"
            assert time.monotonic() < give_up, f"the gateway was not ready in time:\n{self.log.read_text()}"
            # Nothing tells of readiness but asking: between two questions, a pause.
            time.sleep(0.02)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.operations}/readyz", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.target)

    def messages(self, **filters: str) -> list:
        """What the sandbox holds: messages(user="bob")."""
        query = urllib.parse.urlencode(filters)
        with urllib.request.urlopen(f"{self.sandbox}/sandbox/messages?{query}", timeout=CALL_SECONDS) as answer:
            return json.load(answer)["messages"]

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def free_ports(count: int) -> list:
    """Ports that nobody holds now; not of those that the kernel gives out, which others have at any moment."""
    ports = []
    for port in random.sample(range(20_000, 32_768), 1_000):
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError("no port is free")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """One gateway for all tests that leave it running."""
    gateway = Gateway(tmp_path_factory.mktemp("gateway") / "log.txt")
    yield gateway
    gateway.kill()


@pytest.fixture
def own_gateway(tmp_path):
    """A gateway for a test that ends it."""
    gateway = Gateway(tmp_path / "log.txt")
    yield gateway
    gateway.kill()


@pytest.fixture
def collector(tmp_path):
    """An OpenTelemetry Collector of its own, for a test that may end it."""
    collector = Collector(tmp_path, free_ports(2))
    yield collector
    collector.kill()


@pytest.fixture(scope="session")
def channel(gateway):
    with gateway.channel() as channel:
        yield channel


@pytest.fixture(scope="session")
def stub(channel, v1):
    return v1.MessagingServiceStub(channel)


@pytest.fixture(scope="session")
def browser():
    """One for all pages: its driver cannot be started twice."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def someone() -> str:
    """A user whom no other test writes to."""
    return f"user-{uuid.uuid4().hex[:12]}"
