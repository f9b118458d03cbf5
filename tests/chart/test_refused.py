"""What cannot work is refused with a sentence that says what to do (R5)."""

import pytest
from conftest import CHART, changed, helm, template, values_of

REFUSED = {
    "two replicas with the memory store": ("minimal", {"replicaCount": 2}, "config.store.kind=redis"),
    "autoscaling with the memory store": ("minimal", {"autoscaling.enabled": True}, "config.store.kind=redis"),
    "fewer replicas at most than at least": ("all", {"autoscaling.minReplicas": 8}, "autoscaling.maxReplicas=6"),
    "autoscaling by nothing": (
        "all",
        {"autoscaling.targetCPUUtilizationPercentage": 0, "autoscaling.inFlight.enabled": False},
        "nothing to scale by",
    ),
    "a part of no CPU": ("all", {"resources.requests": {"cpu": None}}, "resources.requests.cpu"),
    "callers on loopback": ("minimal", {"config.server.listen": "127.0.0.1:50051"}, "Listen on 0.0.0.0"),
    "probes on loopback": ("minimal", {"config.server.operations_listen": "[::1]:9090"}, "Listen on 0.0.0.0"),
    "TLS past the chart": ("minimal", {"config.server.tls": {"cert_file": "/tls.crt"}}, "tls.enabled=true"),
    "a password for everyone to read": (
        "redis",
        {"config.store.url": "rediss://:password@redis.im:6379"},
        "put the URL into secrets.store",
    ),
    "a proxy's password for everyone to read": (
        "minimal",
        {"config.apps.shop.proxy_url": "http://me:password@proxy:3128"},
        "EASEMOB_GATEWAY__APPS__SHOP__PROXY_URL",
    ),
    "an app of the sandbox's name": (
        "sandbox",
        {"config.apps": {"sandbox": {"client_secret_env": "SECRET"}}},
        "give config.apps.sandbox another name",
    ),
    "redis without its URL": ("redis", {"secrets.store.existingSecret": ""}, "secrets.store.existingSecret"),
    "no way to know callers": ("minimal", {"config.auth.mode": ""}, "config.auth.mode must say"),
    "anonymous callers, unsaid": ("minimal", {"config.auth.allow_anonymous": False}, "config.auth.allow_anonymous=true"),
    "keys without callers": ("minimal", {"config.auth.mode": "api_key"}, "config.auth.callers"),
    "certificates of callers without TLS": ("mtls", {"tls.enabled": False}, "tls.enabled=true"),
    "TLS without a certificate": ("mtls", {"tls.existingSecret": ""}, "tls.existingSecret"),
    "an issuer without a name": ("all", {"tls.certManager.issuerRef.name": ""}, "tls.certManager.issuerRef.name"),
    "no app": ("sandbox", {"sandbox.enabled": False}, "config.apps is empty"),
    "an app without credentials": ("minimal", {"secrets.apps.shop.existingSecret": ""}, "secrets.apps.shop.existingSecret"),
    "a secret twice": ("minimal", {"config.apps.shop.client_secret_env": "SECRET"}, "has its secret twice"),
    "two apps of one name to Kubernetes": (
        "all",
        {"config.apps.my_club": {"base_url": "https://a1.easemob.com"}, "secrets.apps.my_club.value": "x"},
        "differ by - and _ alone",
    ),
    "a secret of no app": ("minimal", {"secrets.apps.club.value": "x"}, "belongs to no app"),
    "a grace shorter than the drain": ("minimal", {"config.server.drain_timeout": "2m"}, "at least 135"),
    "a drain time that cannot be read": ("minimal", {"config.server.drain_timeout": "40 s"}, "config.server.drain_timeout"),
    "no way out to redis": ("redis", {"networkPolicy.egress.redis.to": []}, "networkPolicy.egress.redis.to"),
    "no way out to the collector": ("all", {"networkPolicy.egress.otlp.to": []}, "networkPolicy.egress.otlp.to"),
    "two meshes": ("istio", {"mesh.linkerd.enabled": True}, "one mesh"),
    "an identity with its scheme": (
        "istio",
        {"mesh.istio.principals": ["spiffe://cluster.local/ns/shop/sa/orders"]},
        "without their scheme: cluster.local/ns/shop/sa/orders",
    ),
    "more windows than memory": ("minimal", {"config.server.max_connections": 2000}, "resources.limits.memory=512Mi"),
    "less memory than windows": ("all", {"resources.limits.memory": "128Mi"}, "resources.limits.memory=128Mi"),
    "retries of Linkerd": (
        "linkerd",
        {"service.annotations": {"retry.linkerd.io/grpc": "unavailable"}},
        "would be sent again",
    ),
    "a route of no gateway": ("all", {"grpcRoute.parentRefs": []}, "grpcRoute.parentRefs"),
    "a misspelt value": ("minimal", {"replicas": 2}, "additional properties 'replicas' not allowed"),
    "a misspelt setting": ("minimal", {"config.server.listn": "0.0.0.0:50051"}, "additional properties 'listn' not allowed"),
    "a misspelt setting of an app": ("minimal", {"config.apps.shop.org": "acme"}, "additional properties 'org' not allowed"),
    "a number for a name": ("minimal", {"config.apps.shop.org_name": 1101200617146889}, "got number, want string"),
    "a setting out of bounds": ("minimal", {"config.server.max_connections": 0}, "minimum: got 0, want 1"),
    "a choice that there is not": ("all", {"config.telemetry.otlp_protocol": "smoke"}, "/config/telemetry/otlp_protocol"),
    "a value taken away": ("minimal", {"resources": None}, "missing property 'resources'"),
    "a key that is no hash": (
        "redis",
        {"config.auth.callers.billing.key_sha256": ["secret"]},
        "does not match pattern",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    name, changes, sentence = REFUSED[what]
    run = template(values=changed(name, changes))
    assert run.returncode != 0, "it was rendered"
    assert sentence in run.stderr


def test_the_values_without_the_change_are_taken():
    for name, _changes, _sentence in REFUSED.values():
        run = template(values=values_of(name))
        assert run.returncode == 0, run.stderr


def test_the_chart_alone_says_what_it_needs():
    run = helm("template", "gw", str(CHART))
    assert run.returncode != 0
    assert "config.auth.mode must say how callers prove who they are" in run.stderr
