"""The metrics as those who read them do: Prometheus, its alerts and dashboards, and a Collector."""

import json
import re
import subprocess
import urllib.request

import pytest
from collector import attributes
from conftest import CALL_SECONDS, ROOT, Gateway

PROMTOOL = ROOT / ".tools/bin/promtool"
# The chart is their home.
FILES = ROOT / "helm/easemob-gateway/files"
ALERTS = FILES / "alerts.yaml"
ALERTS_TEST = ROOT / "tests/chart/alerts_test.yaml"
DASHBOARD = FILES / "dashboard.json"

# The prefixes of all that the gateway measures.
OURS = r"\b(?:easemob_gateway|rpc_server|http_client|process_uptime|otel_sdk|target_info)\w*"
# The series of a histogram.
SUFFIXES = ("_bucket", "_sum", "_count")


def promtool(*arguments, text: str = "") -> None:
    assert PROMTOOL.exists(), f"{PROMTOOL} is missing: `tools/install.sh promtool` installs it"
    done = subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def families(page: str) -> dict:
    """The metrics of a page, with their types."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))


def named(text: str, known: dict) -> set:
    """The metrics that a text names; a histogram by any of its series."""
    found = set()
    for name in re.findall(OURS, text):
        short = [name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)]
        found |= set(short[:1]) if short and known.get(short[0]) == "histogram" else {name}
    return found


def expressions() -> list:
    """What the dashboard asks Prometheus, as Grafana would fill it in."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [each.replace("$__rate_interval", "5m") for each in asked]


def send(v1, gateway, user: str) -> None:
    message = v1.Message(users=v1.Users(user_ids=[user]), text=v1.TextContent(text="hello"))
    with gateway.channel() as channel:
        stub = v1.MessagingServiceStub(channel)
        assert stub.SendMessage(v1.SendMessageRequest(message=message), timeout=CALL_SECONDS).accepted
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            stub.SendMessage(v1.SendMessageRequest(), timeout=CALL_SECONDS)


# Told where replicas share a Redis, or from the first time on.
NOT_ALWAYS = {
    "easemob_gateway_quota_refused_total",
    "easemob_gateway_redis_lost_total",
    "easemob_gateway_redis_up",
    "easemob_gateway_redis_answer_time_seconds",
    "easemob_gateway_redis_failed_total",
}


@pytest.fixture
def page(gateway, v1, someone) -> str:
    """The page of a gateway that has had something to do."""
    send(v1, gateway, someone)
    with urllib.request.urlopen(f"{gateway.operations}/metrics", timeout=CALL_SECONDS) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return answer.read().decode()


def test_the_page_passes_prometheus_own_checks(page):
    promtool("check", "metrics", text=page)


def test_every_metric_is_documented_and_every_documented_metric_exists(page):
    known = families(page)
    docs = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    documented = named(docs, known)
    assert NOT_ALWAYS <= documented
    assert documented - NOT_ALWAYS == set(known)


def test_the_dashboard_shows_every_metric_and_no_other(page):
    known = families(page)
    # What describes the process, for joins.
    shown = named(" ".join(expressions()), known)
    assert NOT_ALWAYS <= shown
    assert shown - NOT_ALWAYS == set(known) - {"target_info"}


def test_the_alerts_name_metrics_that_exist(page):
    known = families(page)
    alerts = ALERTS.read_text(encoding="utf-8")
    # A pattern in one expression is no name.
    unknown = {name for name in named(alerts, known) if name not in known | dict.fromkeys(NOT_ALWAYS)}
    assert unknown <= {"easemob_gateway", "rpc_server", "http_client"}


def test_the_alerts_ring_when_they_should():
    promtool("check", "rules", ALERTS)
    promtool("test", "rules", ALERTS_TEST)


def test_every_alert_has_a_test():
    tests = ALERTS_TEST.read_text(encoding="utf-8")
    for alert in re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8")):
        assert f'alertname="{alert}"' in tests, f"{alert} never rings in a test"
        assert f"alertname: {alert}}}" in tests, f"{alert} is not seen to be quiet"


def test_prometheus_understands_what_the_dashboard_asks(tmp_path):
    rules = [{"record": f"asked:{number}", "expr": each} for number, each in enumerate(expressions())]
    file = tmp_path / "asked.yaml"
    # JSON is YAML.
    file.write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", file)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_collector_is_pushed_the_same_metrics(collector, tmp_path, v1, someone, protocol):
    url = collector.grpc_url if protocol == "grpc" else collector.http_url
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if protocol == "grpc" else "http/protobuf",
        # Longer than the test: what arrives is what the end of the process pushes.
        "OTEL_METRIC_EXPORT_INTERVAL": "600000",
    }
    gateway = Gateway(tmp_path / "log.txt", **variables)
    try:
        send(v1, gateway, someone)
        with urllib.request.urlopen(f"{gateway.operations}/metrics", timeout=CALL_SECONDS) as answer:
            shown = families(answer.read().decode())
        assert gateway.terminate() == 0, gateway.log.read_text()
    finally:
        gateway.kill()

    (resource,) = collector.until("metrics", lambda requests: requests)[-1]["resourceMetrics"]
    described = attributes(resource["resource"])
    assert described["service.name"] == "easemob-gateway"
    assert described["service.version"] == gateway_version()
    (scope,) = resource["scopeMetrics"]
    metrics = {metric["name"]: metric for metric in scope["metrics"]}

    duration = metrics["rpc.server.call.duration"]
    assert duration["unit"] == "s"
    points = [attributes(point) | {"count": int(point.get("count", 0))} for point in duration["histogram"]["dataPoints"]]
    method = "easemob.messaging.v1.MessagingService/SendMessage"
    for code in ("OK", "INVALID_ARGUMENT"):
        assert {
            "rpc.system.name": "grpc",
            "rpc.method": method,
            "rpc.response.status_code": code,
            "count": 1,
        } in points

    (call,) = [
        point
        for point in metrics["http.client.request.duration"]["histogram"]["dataPoints"]
        if attributes(point)["endpoint"] == "users"
    ]
    assert attributes(call) == {
        "app": "demo",
        "endpoint": "users",
        "outcome": "ok",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": int(gateway.sandbox.rsplit(":", 1)[1]),
    }
    assert metrics["easemob_gateway.transfer.io"]["unit"] == "By"
    assert metrics["easemob_gateway.recipients"]["sum"]["isMonotonic"]
    # One set of instruments: what is pushed is what is shown.
    assert {prometheus_name(metric) for metric in metrics.values()} == set(shown) - {"target_info"}


def prometheus_name(metric: dict) -> str:
    unit = {"s": "_seconds", "By": "_bytes"}.get(metric.get("unit"), "")
    total = "_total" if metric.get("sum", {}).get("isMonotonic") else ""
    return metric["name"].replace(".", "_") + unit + total


def gateway_version() -> str:
    manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    return re.search(r'^version = "(.*)"$', manifest, re.MULTILINE)[1]
