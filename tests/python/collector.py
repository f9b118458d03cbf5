"""A real OpenTelemetry Collector, which writes what it got to files."""

import contextlib
import json
import pathlib
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / ".tools/bin/otelcol"

START_SECONDS = 20
STOP_SECONDS = 20
# Longer than the gateway's own intervals of export take, short enough to end a run that hangs.
EXPORT_SECONDS = 20

SIGNALS = ("traces", "metrics", "logs")

CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "{grpc}"{secure}}}
      http: {{endpoint: "{http}"{secure}}}
exporters:
  file/traces: {{path: "{folder}/traces.jsonl", flush_interval: 100ms}}
  file/metrics: {{path: "{folder}/metrics.jsonl", flush_interval: 100ms}}
  file/logs: {{path: "{folder}/logs.jsonl", flush_interval: 100ms}}
{extensions}
service:
  extensions: {extension_names}
  telemetry:
    # Its own metrics would want a port of their own.
    metrics: {{level: none}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [file/traces]}}
    metrics: {{receivers: [otlp], exporters: [file/metrics]}}
    logs: {{receivers: [otlp], exporters: [file/logs]}}
"""


# What it asks of those who come, where it has a certificate: a certificate of theirs, and a token.
SECURE = """, tls: {{cert_file: "{folder}/collector.crt", key_file: "{folder}/collector.key", \
client_ca_file: "{folder}/ca.crt"}}, auth: {{authenticator: bearertokenauth}}"""
EXTENSIONS = """
extensions:
  bearertokenauth: {{token: "{token}"}}
"""


class Collector:
    """A running Collector. `grpc_url` and `http_url` are what an exporter's settings name.

    With a `token` it speaks TLS, with the files `collector.crt` and `collector.key` in its folder, and serves those alone who
    have this token and a certificate of `ca.crt`.
    """

    def __init__(self, folder: pathlib.Path, ports: list, token: str = ""):
        assert BINARY.exists(), f"{BINARY} is missing: `tools/install.sh otelcol` builds it"
        self.folder = folder
        self.addresses = [f"127.0.0.1:{port}" for port in ports]
        grpc, http = self.addresses
        scheme = "https" if token else "http"
        self.grpc_url, self.http_url = f"{scheme}://{grpc}", f"{scheme}://{http}"
        config = folder / "collector.yaml"
        text = CONFIG.format(
            grpc=grpc,
            http=http,
            folder=folder,
            secure=SECURE.format(folder=folder) if token else "",
            extensions=EXTENSIONS.format(token=token) if token else "",
            extension_names="[bearertokenauth]" if token else "[]",
        )
        config.write_text(text, encoding="utf-8")
        self.log = folder / "collector.txt"
        self.command = [BINARY, f"--config=file:{config}"]
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            self.await_listening()
        except BaseException:
            self.kill()
            raise

    def await_listening(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while not all(map(listens, self.addresses)):
            code = self.process.poll()
            assert code is None, f"the Collector ended with {code}:\n{self.log.read_text()}"
            assert time.monotonic() < give_up, f"the Collector did not listen in time:\n{self.log.read_text()}"
            # Nothing tells of it but asking: between two questions, a pause.
            time.sleep(0.02)

    def requests(self, signal: str) -> list:
        """The export requests of one signal so far, as OTLP's JSON."""
        assert signal in SIGNALS
        file = self.folder / f"{signal}.jsonl"
        written = file.read_text(encoding="utf-8") if file.exists() else ""
        # The last line may still be under way.
        return [json.loads(line) for line in written.split("\n")[:-1]]

    def until(self, signal: str, look):
        """Waits for what `look` finds in the requests of a signal, and gives it back."""
        give_up = time.monotonic() + EXPORT_SECONDS
        while not (found := look(self.requests(signal))):
            assert self.process.poll() is None, f"the Collector has ended:\n{self.log.read_text()}"
            assert time.monotonic() < give_up, f"not in time; there are {self.requests(signal)}"
            # It tells of nothing either.
            time.sleep(0.05)
        return found

    def kill(self) -> None:
        """As if its machine had gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)


def listens(address: str) -> bool:
    host, port = address.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def attributes(of: dict) -> dict:
    """OTLP's attributes as a plain dictionary. Its JSON has integers as text."""
    return {each["key"]: plain(each["value"]) for each in of.get("attributes", [])}


def plain(value: dict):
    ((kind, plain_value),) = value.items()
    return int(plain_value) if kind == "intValue" else plain_value
