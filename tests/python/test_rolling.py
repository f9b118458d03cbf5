"""Processes behind sidecars, replaced in turn as Kubernetes would, or dying: nothing goes twice, and of a good end nothing is lost."""

import collections
import contextlib
import json
import subprocess
import time
import urllib.request

import grpc
from collector import EXPORT_SECONDS
from conftest import BINARY, CALL_SECONDS, ROOT, START_SECONDS, free_ports
from faulty import FAULTS, FaultyEasemob
from fleet import GRACE_SECONDS, Fleet
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from load import Load
from sidecar import CHART_RETRIES, RETRIES, Envoy

RATE = 300
# Messages that a sandbox remembers: half a minute of them.
KEPT = 10_000
# The callers' own retries, as docs/clients.md has them.
RETRYING = [
    ("grpc.service_config", (ROOT / "proto/easemob/messaging/v1/service_config.json").read_text(encoding="utf-8")),
    ("grpc.use_local_subchannel_pool", 1),
]
SERVER = 2
SEND = "easemob.messaging.v1.MessagingService/SendMessage"


@contextlib.contextmanager
def sandbox(folder):
    """A sandbox without quotas, by its URL."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [BINARY, "sandbox", f"--listen=127.0.0.1:{port}"]
    with (folder / "sandbox.txt").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        await_answer(url)
        no_quotas = urllib.request.Request(f"{url}/sandbox/settings", b'{"quotas": null}', method="PATCH")
        urllib.request.urlopen(no_quotas, timeout=CALL_SECONDS).close()
        yield url
    finally:
        process.kill()
        process.wait()


def await_answer(url: str) -> None:
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            received(url)
            return
        except OSError:
            assert time.monotonic() < give_up, f"{url} does not answer"
            # Nothing tells of it but asking.
            time.sleep(0.02)


def received(url: str) -> collections.Counter:
    """How many messages the sandbox holds for each user."""
    with urllib.request.urlopen(f"{url}/sandbox/messages?limit={KEPT}", timeout=CALL_SECONDS) as answer:
        return collections.Counter(user for message in json.load(answer)["messages"] for user in message["to"])


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


def is_ok(sent) -> bool:
    return code(sent) is grpc.StatusCode.OK


def test_a_rolling_restart_fails_repeats_and_loses_nothing(tmp_path, v1, collector):
    with sandbox(tmp_path) as easemob:
        # Connections grow old meanwhile, which costs no call either.
        settings = {"telemetry__otlp_endpoint": collector.grpc_url, "server__connection_age": "2s"}
        fleet = Fleet(tmp_path, easemob, **settings)
        with rolling(tmp_path, fleet) as envoy:
            load = Load(v1, envoy.target, RATE, lambda _: CALL_SECONDS)
            begin = time.monotonic()
            load.start()
            fleet.replace_each(envoy)
            sent = load.finish()
            seconds = time.monotonic() - begin
            print(f"{len(sent)} sends, {len(sent) / seconds:.0f} a second")
            for pod in fleet.pods:
                fleet.end(pod, GRACE_SECONDS)

        assert 1000 < len(sent) < KEPT
        assert not collections.Counter((code(each), each.outcome.details()) for each in sent if not is_ok(each))
        assert received(easemob) == {each.user: 1 for each in sent}

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
        fleet = Fleet(tmp_path, easemob.url, apps__shop__timeouts__attempt="1s")
        with rolling(tmp_path, fleet, RETRIES) as envoy:
            # Some will not wait for an answer that is late.
            load = Load(v1, envoy.target, RATE, lambda number: CALL_SECONDS if number % 3 else 0.5)
            load.start()
            fleet.replace_each(envoy)
            sent = load.finish()
            repeated = envoy.counter("upstream_rq_retry")
    finally:
        easemob.close()

    codes = collections.Counter(code(each).name for each in sent)
    print(f"{len(sent)} sends, {repeated} repeated by Envoy, {dict(codes)}, {dict(easemob.played)}")
    # Envoy did repeat what it may, and every fault was met.
    assert repeated and set(FAULTS) < set(easemob.played) and len(easemob.acted) > 1000
    assert not [user for user, times in easemob.acted.items() if times > 1]
    # What the gateway told was true.
    for each in sent:
        times = easemob.acted[each.user]
        assert times or not is_ok(each)
        assert not times or said(each) != "NOT_SENT"


@contextlib.contextmanager
def shared_store(folder):
    """A Redis, by its URL."""
    server = ROOT / ".tools/bin/redis-server"
    assert server.exists(), f"{server} is missing: tools/install.sh redis"
    (port,) = free_ports(1)
    command = [server, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
    with (folder / "redis.txt").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_what_is_asked_for_twice_by_its_id_goes_once_across_a_rolling_restart(tmp_path, v1):
    easemob = FaultyEasemob(often=20)
    try:
        with shared_store(tmp_path) as redis:
            store = {"store__kind": "redis", "store__url": redis, "store__answer_timeout": "2s"}
            fleet = Fleet(tmp_path, easemob.url, apps__shop__timeouts__attempt="1s", **store)
            with rolling(tmp_path, fleet, RETRIES) as envoy:
                # Callers and the sidecar both repeat, and every message is asked for twice at that.
                loads = [Load(v1, envoy.target, RATE / 2, lambda _: CALL_SECONDS, RETRYING, ids=True) for _ in range(2)]
                for load in loads:
                    load.start()
                fleet.replace_each(envoy)
                sent = [each for load in loads for each in load.finish()]
                repeated = envoy.counter("upstream_rq_retry")
    finally:
        easemob.close()

    replayed = sum(is_ok(each) and each.outcome.result().replayed for each in sent)
    codes = collections.Counter(code(each).name for each in sent)
    print(f"{len(sent)} sends, {replayed} replayed, {repeated} repeated by Envoy, {dict(codes)}")
    assert len(sent) > 1000 and replayed and set(FAULTS) < set(easemob.played)
    assert not [user for user, times in easemob.acted.items() if times > 1]
    # No OK is lost, and every error says what became of the message.
    assert not [each.user for each in sent if is_ok(each) and not easemob.acted[each.user]]
    assert {said(each) for each in sent if not is_ok(each)} <= {"NOT_SENT", "MAYBE_SENT"}


def test_a_process_that_dies_repeats_nothing_with_the_charts_retries(tmp_path, v1):
    # As slow as Easemob is far: many sends are under way when the process dies.
    easemob = FaultyEasemob(often=1_000_000, seconds=0.3)
    try:
        fleet = Fleet(tmp_path, easemob.url, replicas=2, delivery__calls_in_flight="256")
        with contextlib.ExitStack() as stack:
            stack.callback(fleet.kill)
            # A sidecar beside each process, which outlives it and makes errors of its own.
            beside = []
            for number, pod in enumerate(fleet.pods):
                folder = tmp_path / f"beside-{number}"
                folder.mkdir()
                beside.append(Envoy(folder, free_ports(2), [pod.target]))
                stack.callback(beside[-1].kill)
            envoy = Envoy(tmp_path, free_ports(2), [each.target for each in beside], CHART_RETRIES)
            stack.callback(envoy.kill)
            load = Load(v1, envoy.target, RATE, lambda _: CALL_SECONDS)
            load.start()
            await_sends(easemob, RATE)
            fleet.pods[0].kill()
            await_sends(easemob, RATE)
            sent = load.finish()
    finally:
        easemob.close()

    assert not [user for user, times in easemob.acted.items() if times > 1]
    # Some were acted on, and then said to be UNAVAILABLE, by the sidecar and not by the gateway.
    lost = [each for each in sent if not is_ok(each) and easemob.acted[each.user]]
    assert lost and {code(each) for each in lost} == {grpc.StatusCode.UNAVAILABLE}
    assert not any(said(each) for each in lost)


def await_sends(easemob: FaultyEasemob, more: int) -> None:
    """Waits until it has acted on so many more."""
    give_up, want = time.monotonic() + START_SECONDS, len(easemob.acted) + more
    while len(easemob.acted) < want:
        assert time.monotonic() < give_up, f"{len(easemob.acted)} sends in all"
        time.sleep(0.02)
