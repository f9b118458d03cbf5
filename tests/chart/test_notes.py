"""What the chart says once it is installed."""

import pytest
from conftest import CHART, SETS, changed, helm, values_of


def notes(values: str) -> str:
    # Without a cluster, none of which is reached.
    run = helm("install", "gw", str(CHART), "--namespace=im", "--dry-run=client", "--values=-", values=values)
    assert run.returncode == 0, run.stderr
    return run.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize("name", SETS)
def test_the_notes_say_what_to_do_next(name):
    said = notes(values_of(name))
    assert "rollout status deployment/gw-easemob-gateway" in said
    assert "easemob-gateway send text --to bob" in said
    assert ("helm test gw" in said) == (name == "sandbox")
    # Nothing was left empty.
    assert "<no value>" not in said and "nil" not in said


def test_the_notes_say_what_has_to_be_there_and_be_known():
    said = notes(values_of("mtls"))
    assert "easemob-shop (secret), gateway-tls (tls.crt, tls.key, ca.crt)" in said
    assert "EASEMOB_GATEWAY_CERT=" in said and "https://localhost:50051" in said
    assert "EASEMOB_GATEWAY_KEY=" in notes(values_of("redis"))


def test_the_notes_warn_of_what_is_given_up():
    assert "may be sent twice" in notes(values_of("minimal"))
    assert "may be sent twice" not in notes(values_of("redis"))
    assert "Anyone who reaches the port" in notes(values_of("minimal"))
    assert "in the clear" in notes(changed("redis", {"service.type": "LoadBalancer"}))
    assert "sandbox.testEnv" in notes(changed("sandbox", {"sandbox.testEnv": []}))
