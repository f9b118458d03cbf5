"""The processes of a Deployment, and what Kubernetes does to them."""

import signal
import time

import yaml
from conftest import CALL_SECONDS, ROOT, Gateway
from grpc_health.v1 import health_pb2, health_pb2_grpc

VALUES = yaml.safe_load((ROOT / "helm/easemob-gateway/values.yaml").read_text(encoding="utf-8"))
PRE_STOP_SECONDS = VALUES["preStopSleepSeconds"]
GRACE_SECONDS = VALUES["terminationGracePeriodSeconds"]
# How long the news of a pod's end is on its way to the sidecars.
NEWS_SECONDS = 1
REPLICAS = 3


class Fleet:
    """Ready processes of one Deployment."""

    def __init__(self, folder, easemob: str, replicas: int = REPLICAS, **settings: str):
        self.folder, self.easemob = folder, easemob
        settings |= {
            "apps__shop__org_name": "sandbox",
            "apps__shop__app_name": "demo",
            "apps__shop__client_id": "sandbox-client-id",
            "apps__shop__client_secret_env": "SANDBOX_SECRET",
            # Every process paces by itself; what it must not slow down here are the callers.
            "apps__shop__quota__users__calls_per_second": "10000",
            "apps__shop__quota__users__messages_per_minute": "600000",
            # The machine's cores belong to the callers, the sidecar, the Collector and Easemob, too.
            "server__shards": "1",
        }
        self.variables = {f"EASEMOB_GATEWAY__{name.upper()}": value for name, value in settings.items()}
        # All that ever were, and those that Kubernetes wants.
        self.started, self.pods = [], []
        try:
            self.pods = [self.start() for _ in range(replicas)]
        except BaseException:
            self.kill()
            raise

    def start(self) -> Gateway:
        """A new pod, once it is ready."""
        log = self.folder / f"pod-{len(self.started)}.txt"
        pod = Gateway(log, self.easemob, **self.variables)
        self.started.append(pod)
        with pod.channel() as channel:
            check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=CALL_SECONDS)
        assert check.status == health_pb2.HealthCheckResponse.SERVING
        return pod

    def endpoints(self) -> list:
        return [pod.target for pod in self.pods]

    def replace_each(self, sidecar) -> None:
        """A rolling update with maxSurge 1 and maxUnavailable 0, told to a sidecar."""
        for old in list(self.pods):
            self.pods.append(self.start())
            sidecar.tell(self.endpoints())
            sidecar.await_endpoints(self.endpoints(), CALL_SECONDS)
            self.pods.remove(old)
            # The news and the preStop sleep begin together.
            begin = time.monotonic()
            time.sleep(NEWS_SECONDS)
            sidecar.tell(self.endpoints())
            sidecar.await_endpoints(self.endpoints(), PRE_STOP_SECONDS - NEWS_SECONDS)
            time.sleep(max(0, begin + PRE_STOP_SECONDS - time.monotonic()))
            self.end(old, GRACE_SECONDS - PRE_STOP_SECONDS)

    def end(self, pod: Gateway, seconds: float) -> None:
        pod.process.send_signal(signal.SIGTERM)
        code = pod.process.wait(seconds)
        assert code == 0, f"a process ended with {code}:\n{pod.log.read_text()}"

    def kill(self) -> None:
        for pod in self.started:
            pod.kill()
