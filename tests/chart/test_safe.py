"""Safe by default (S7): Kubernetes' profile restricted, named traffic, and an end without losses."""

import json
import re

import pytest
import yaml
from conftest import CHART, ROOT, changed, manifests, rendered, template


def pods(objects):
    for each in objects:
        if each["kind"] == "Pod":
            yield each["spec"]
        elif each["kind"] == "Deployment":
            yield each["spec"]["template"]["spec"]


def test_every_pod_is_restricted(objects):
    for pod in pods(objects):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"]["type"] == "RuntimeDefault"
        assert pod["automountServiceAccountToken"] is False
        for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
            assert not pod.get(forbidden)
        for volume in pod.get("volumes", []):
            assert "hostPath" not in volume
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not context.get("privileged")
            assert not any("hostPort" in port for port in container.get("ports", []))


def test_no_secret_is_in_the_config_map_or_in_arguments(objects):
    for each in objects:
        if each["kind"] != "Secret":
            assert "club" + '"' + "s secret" not in str(each)
            assert "rediss://:password" not in str(each)


def test_the_operations_port_is_not_in_the_service_of_callers(objects):
    for each in objects:
        if each["kind"] == "Service" and each["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway":
            ports = {(port["name"], port["appProtocol"]) for port in each["spec"]["ports"]}
            assert ports <= {("grpc", "grpc"), ("grpc-web", "http"), ("grpc-web", "https")}


@pytest.mark.parametrize("name", ["all", "redis", "mtls", "sandbox", "istio", "linkerd"])
def test_traffic_is_named(name):
    policy = manifests(rendered(name)).of("NetworkPolicy", "gw-easemob-gateway")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for rule in policy["ingress"]:
        assert rule["from"] and rule["ports"]
    for rule in policy["egress"]:
        assert rule["to"] and rule["ports"]


def test_the_gateway_alone_reaches_the_sandbox_and_it_reaches_nothing():
    objects = manifests(rendered("sandbox"))
    policy = objects.of("NetworkPolicy", "gw-easemob-gateway-sandbox")["spec"]
    selector = objects.of("Deployment", "gw-easemob-gateway")["spec"]["selector"]
    assert policy["ingress"] == [{"from": [{"podSelector": selector}], "ports": [{"port": 8025}]}]
    assert policy["policyTypes"] == ["Ingress", "Egress"] and "egress" not in policy


def test_the_sandbox_has_no_sidecar_that_could_reach_nothing():
    pod = manifests(rendered("sandbox")).of("Deployment", "gw-easemob-gateway-sandbox")["spec"]["template"]["metadata"]
    assert pod["labels"]["sidecar.istio.io/inject"] == "false"
    assert pod["annotations"]["linkerd.io/inject"] == "disabled"


def test_the_pod_of_helm_test_gets_through_and_has_no_key_of_the_gateway():
    objects = manifests(rendered("sandbox"))
    pod = objects.of("Pod")
    callers = objects.of("NetworkPolicy", "gw-easemob-gateway")["spec"]["ingress"][0]["from"]
    assert any(
        peer["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        for peer in callers
        if "podSelector" in peer
    )
    (volume,) = pod["spec"]["volumes"]
    assert [item["key"] for item in volume["secret"]["items"]] == ["ca.crt"]


def test_the_default_way_out_spares_the_metadata_service_and_private_networks():
    for rule in manifests(rendered("redis")).of("NetworkPolicy")["spec"]["egress"]:
        for peer in rule["to"]:
            if "ipBlock" in peer and peer["ipBlock"]["cidr"] == "0.0.0.0/0":
                assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(peer["ipBlock"]["except"])


def test_the_end_of_a_pod_leaves_time_for_the_drain(objects):
    pod = objects.of("Deployment", "gw-easemob-gateway")["spec"]["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    # 40 s of drain, and ten for what comes after: spans that are sent off.
    assert pod["terminationGracePeriodSeconds"] >= sleep + 40 + 10


def test_a_new_pod_comes_before_an_old_one_goes(objects):
    strategy = objects.of("Deployment", "gw-easemob-gateway")["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_liveness_asks_the_process_alone(objects):
    container = objects.of("Deployment", "gw-easemob-gateway")["spec"]["template"]["spec"]["containers"][0]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "operations"}


def test_readiness_is_asked_by_grpc_where_kubelet_can():
    def readiness(name):
        pod = manifests(rendered(name)).of("Deployment", "gw-easemob-gateway")["spec"]["template"]["spec"]
        return pod["containers"][0]["readinessProbe"]

    assert readiness("redis")["grpc"] == {"port": 50051}
    for name in ("mtls", "linkerd"):
        assert readiness(name)["httpGet"] == {"path": "/readyz", "port": "operations"}


def test_meshes_repeat_nothing_in_doubt():
    routes = [each["spec"] for each in manifests(rendered("istio")) if each["kind"] == "VirtualService"]
    for route in routes:
        (rule,) = route["http"]
        # Not by a code: tests/python/test_rolling.py shows what comes of that.
        assert rule["retries"]["retryOn"] == "connect-failure,refused-stream"
        assert rule["timeout"] == "0s"
    # Istio has retries of its own for every host without a route.
    services = [each for each in manifests(rendered("istio")) if each["kind"] == "Service"]
    called = {each["metadata"]["name"] for each in services if each["spec"]["ports"][0]["name"] == "grpc"}
    assert {f"{name}.im.svc.cluster.local" for name in called} == {host for route in routes for host in route["hosts"]}
    for each in manifests(rendered("linkerd")):
        assert not any("retry.linkerd.io" in name for name in each["metadata"].get("annotations", {}))


def test_the_proxy_of_linkerd_is_a_native_sidecar_in_every_version():
    pod = manifests(rendered("linkerd")).of("Deployment", "gw-easemob-gateway")["spec"]["template"]["metadata"]
    for stage in ("", "beta.", "alpha."):
        assert pod["annotations"][f"config.{stage}linkerd.io/proxy-enable-native-sidecar"] == "true"


def test_only_named_identities_may_call_in_a_mesh():
    rules = manifests(rendered("istio")).of("AuthorizationPolicy")["spec"]["rules"]
    grpc = next(rule for rule in rules if "50051" in rule["to"][0]["operation"]["ports"])
    assert grpc["from"][0]["source"]["principals"] == [
        "cluster.local/ns/shop/sa/orders",
        "cluster.local/ns/shop/sa/billing",
    ]
    policy = manifests(rendered("linkerd")).of("AuthorizationPolicy")["spec"]
    assert policy["requiredAuthenticationRefs"][0]["kind"] == "MeshTLSAuthentication"


def test_changed_callers_restart_nothing_and_changed_settings_do():
    def pods_of(**changes):
        objects = manifests(template(values=changed("redis", changes)).stdout)
        deployment = objects.of("Deployment", "gw-easemob-gateway")
        return deployment, objects.of("ConfigMap", "gw-easemob-gateway-callers")["data"]["callers.toml"]

    before, callers = pods_of()
    weighty, changed_callers = pods_of(**{"config.auth.callers.billing.weight": 3})
    assert "weight = 3" in changed_callers and changed_callers != callers
    assert weighty == before
    longer, _ = pods_of(**{"config.server.drain_timeout": "30s"})
    assert longer != before


def test_the_alerts_reach_prometheus_as_they_are_tested():
    rule = manifests(rendered("all")).of("PrometheusRule")["spec"]
    assert rule == yaml.safe_load((CHART / "files/alerts.yaml").read_text())
    # Their job is the one that the ServiceMonitor gives.
    (endpoint,) = manifests(rendered("all")).of("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "easemob-gateway"}]


def test_the_dashboard_reaches_grafana_as_it_is_tested():
    board = manifests(rendered("all")).of("ConfigMap", "gw-easemob-gateway-dashboard")["data"]["easemob-gateway.json"]
    assert json.loads(board) == json.loads((CHART / "files/dashboard.json").read_text())


def test_the_scaler_asks_for_a_metric_that_the_dashboard_shows():
    metrics = manifests(rendered("all")).of("HorizontalPodAutoscaler")["spec"]["metrics"]
    (pods_metric,) = [each["pods"]["metric"]["name"] for each in metrics if each["type"] == "Pods"]
    assert pods_metric in (CHART / "files/dashboard.json").read_text()


def test_the_chart_is_of_the_crates_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    crate = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert chart["appVersion"] == crate
