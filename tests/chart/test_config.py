"""The gateway itself takes the settings that the chart makes."""

import os
import re
import subprocess

from conftest import ROOT, manifests, rendered

BINARY = ROOT / os.environ.get("EASEMOB_GATEWAY_BIN", "target/debug/easemob-gateway")


def test_the_gateway_takes_its_settings(values, tmp_path):
    objects = manifests(rendered(values))
    text = objects.of("ConfigMap", "gw-easemob-gateway")["data"]["gateway.toml"]
    # The files that Kubernetes would mount.
    text = text.replace("/etc/easemob-gateway", str(tmp_path))
    for file in re.findall(r'_file = "(.*)"', text):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(material(path.name))
    settings = tmp_path / "gateway.toml"
    settings.write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EASEMOB_GATEWAY")}
    container = objects.of("Deployment", "gw-easemob-gateway")["spec"]["template"]["spec"]["containers"][0]
    for variable in container.get("env", []):
        environment[variable["name"]] = variable.get("value", "redis://redis:6379")
    run = subprocess.run(
        [BINARY, "config", "check", "--config", settings], capture_output=True, text=True, timeout=60, env=environment
    )
    assert run.returncode == 0, f"{text}\n{run.stdout}{run.stderr}"
