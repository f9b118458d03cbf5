"""Three processes behind a sidecar, each replaced in turn as Kubernetes would: nothing fails, nothing goes twice, nothing is untold."""

import collections
import contextlib
import json
import signal
import subprocess
import time
import urllib.request

import grpc
import yaml
from collector import EXPORT_SECONDS
from conftest import BINARY, CALL_SECONDS, ROOT, START_SECONDS, Gateway, free_ports
from faulty import FAULTS, FaultyEasemob
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from load import Load
from sidecar import RETRIES, Envoy

VALUES = yaml.safe_load((ROOT / "helm/easemob-gateway/values.yaml").read_text(encoding="utf-8"))
PRE_STOP_SECONDS = VALUES["preStopSleepSeconds"]
GRACE_SECONDS = VALUES["terminationGracePeriodSeconds"]
# How long the news of a pod's end is on its way to the sidecars.
NEWS_SECONDS = 1
REPLICAS = 3
RATE = 300
# A sandbox lets 100 calls a second through, and 6,000 messages a minute: each of these has half of that.
SANDBOXES = 6
SERVER = 2
SEND = "easemob.messaging.v1.MessagingService/SendMessage"


class Fleet:
    """The processes of a Deployment, and what Kubernetes does to them."""

    def __init__(self, folder, easemobs: dict, **settings: str):
        self.folder, self.easemobs, self.settings = folder, easemobs, settings
        self.started = 0
        self.pods = [self.start() for _ in range(REPLICAS)]

    def start(self) -> Gateway:
        """A new pod, once it is ready."""
        self.started += 1
        settings = dict(self.settings)
        for name, url in self.easemobs.items():
            settings |= {
                f"APPS__{name}__BASE_URL": url,
                f"APPS__{name}__ORG_NAME": "sandbox",
                f"APPS__{name}__APP_NAME": "demo",
                f"APPS__{name}__CLIENT_ID": "sandbox-client-id",
                f"APPS__{name}__CLIENT_SECRET_ENV": "SANDBOX_SECRET",
            }
        variables = {f"EASEMOB_GATEWAY__{name.upper()}": value for name, value in settings.items()}
        # Its own app `shop` is one of them.
        pod = Gateway(self.folder / f"pod-{self.started}.txt", self.easemobs["shop"], **variables)
        with pod.channel() as channel:
            check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=CALL_SECONDS)
        assert check.status == health_pb2.HealthCheckResponse.SERVING
        return pod

    def endpoints(self) -> list:
        return [pod.target for pod in self.pods]

    def replace_each(self, envoy: Envoy) -> None:
        """A rolling update with maxSurge 1 and maxUnavailable 0."""
        for old in list(self.pods):
            self.pods.append(self.start())
            envoy.tell(self.endpoints())
            envoy.await_endpoints(self.endpoints(), CALL_SECONDS)
            self.pods.remove(old)
            # The news and the preStop sleep begin together.
            begin = time.monotonic()
            time.sleep(NEWS_SECONDS)
            envoy.tell(self.endpoints())
            envoy.await_endpoints(self.endpoints(), PRE_STOP_SECONDS - NEWS_SECONDS)
            time.sleep(max(0, begin + PRE_STOP_SECONDS - time.monotonic()))
            self.end(old, GRACE_SECONDS - PRE_STOP_SECONDS)

    def end(self, pod: Gateway, seconds: float) -> None:
        pod.process.send_signal(signal.SIGTERM)
        code = pod.process.wait(seconds)
        assert code == 0, f"a process ended with {code}:\n{pod.log.read_text()}"

    def kill(self) -> None:
        for pod in self.pods:
            pod.kill()


@contextlib.contextmanager
def sandboxes(folder):
    """Sandboxes by the names of their apps."""
    names = ["shop", *(f"shop{number}" for number in range(1, SANDBOXES))]
    addresses = [f"127.0.0.1:{port}" for port in free_ports(SANDBOXES)]
    with contextlib.ExitStack() as stack:
        for name, address in zip(names, addresses, strict=True):
            output = stack.enter_context((folder / f"sandbox-{name}.txt").open("wb"))
            process = subprocess.Popen(
                [BINARY, "sandbox", f"--listen={address}"], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
        urls = {name: f"http://{address}" for name, address in zip(names, addresses, strict=True)}
        for url in urls.values():
            await_answer(url)
        yield urls


def await_answer(url: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            return received(url)
        except OSError:
            assert time.monotonic() < give_up, f"{url} does not answer"
            time.sleep(0.02)


def received(url: str) -> list:
    """The users that a sandbox holds messages for, each as often as it got one."""
    with urllib.request.urlopen(f"{url}/sandbox/messages?limit=1000000", timeout=CALL_SECONDS) as answer:
        return [user for message in json.load(answer)["messages"] for user in message["to"]]


@contextlib.contextmanager
def rolling(folder, fleet: Fleet, retries=None):
    """An Envoy in front of the fleet."""
    try:
        envoy = Envoy(folder, free_ports(2), fleet.endpoints(), retries)
        try:
            yield envoy
        finally:
            envoy.kill()
    finally:
        fleet.kill()


def traces_of_sends(collector) -> collections.Counter:
    """How many server spans of sends each trace has."""
    return collections.Counter(
        span["traceId"]
        for request in collector.requests("traces")
        for resource in request["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        if span["kind"] == SERVER and span["name"] == SEND
    )


def code(sent) -> grpc.StatusCode:
    return sent.outcome.code()


def test_a_rolling_restart_fails_repeats_and_loses_nothing(tmp_path, v1, collector):
    with sandboxes(tmp_path) as easemobs:
        apps = list(easemobs)
        fleet = Fleet(tmp_path, easemobs, telemetry__otlp_endpoint=collector.grpc_url, server__shards="1")
        with rolling(tmp_path, fleet) as envoy:
            def request(number, user):
                message = v1.Message(users=v1.Users(user_ids=[user]), text=v1.TextContent(text="hello"))
                return v1.SendMessageRequest(app=apps[number % len(apps)], message=message)

            load = Load(v1, envoy.target, RATE, request, lambda _: CALL_SECONDS)
            begin = time.monotonic()
            load.start()
            fleet.replace_each(envoy)
            sent = load.finish()
            print(f"{len(sent)} sends in {time.monotonic() - begin:.1f} s")
            for pod in fleet.pods:
                fleet.end(pod, GRACE_SECONDS)

        # Each of the six processes had its part.
        assert len(sent) > 1000
        failed = collections.Counter((code(each), each.outcome.details()) for each in sent if code(each) is not grpc.StatusCode.OK)
        assert not failed
        got = collections.Counter(user for url in easemobs.values() for user in received(url))
        assert got == {each.user: 1 for each in sent}

    give_up = time.monotonic() + EXPORT_SECONDS
    while (told := traces_of_sends(collector)).total() < len(sent) and time.monotonic() < give_up:
        # The Collector writes what it has at intervals.
        time.sleep(0.2)
    assert told == {each.trace: 1 for each in sent}


def said(sent) -> str:
    """The send state in an error that the gateway made."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(sent.outcome)
    for detail in status.details if status else []:
        if detail.Unpack(info):
            return info.metadata["send_state"]
    return ""


def test_envoys_own_retries_and_a_failing_easemob_repeat_nothing(tmp_path, v1):
    easemob = FaultyEasemob(often=5)
    try:
        fleet = Fleet(tmp_path, {"shop": easemob.url}, apps__shop__timeouts__attempt="1s", server__shards="1")
        with rolling(tmp_path, fleet, RETRIES) as envoy:
            def request(_, user):
                message = v1.Message(users=v1.Users(user_ids=[user]), text=v1.TextContent(text="hello"))
                return v1.SendMessageRequest(message=message)

            # Some will not wait for an answer that is late.
            load = Load(v1, envoy.target, RATE, request, lambda number: CALL_SECONDS if number % 3 else 0.5)
            load.start()
            fleet.replace_each(envoy)
            sent = load.finish()
            repeated = envoy.counter("upstream_rq_retry")
    finally:
        easemob.close()

    codes = collections.Counter(code(each).name for each in sent)
    print(f"{len(sent)} sends, {repeated} repeated by Envoy, {dict(codes)}, {dict(easemob.played)}")
    # Envoy did repeat what it may, and every fault was met.
    assert repeated and set(FAULTS) < set(easemob.played)
    assert not [user for user, times in easemob.acted.items() if times > 1]
    # What the gateway told was true.
    for each in sent:
        times = easemob.acted[each.user]
        assert times or code(each) is not grpc.StatusCode.OK
        assert not times or said(each) != "NOT_SENT"
