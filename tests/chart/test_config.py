"""The gateway itself takes the settings that the chart makes."""

import datetime
import os
import pathlib
import re
import subprocess

import pytest
from conftest import CHART, ROOT, SETS, manifests, rendered
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

BINARY = ROOT / os.environ.get("EASEMOB_GATEWAY_BIN", "target/debug/easemob-gateway")
NAME = "gw-easemob-gateway"
NOW = datetime.datetime.now(datetime.timezone.utc)


def certificate() -> tuple:
    """A certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("gateway")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        signed.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def mounted(objects, folder: pathlib.Path) -> dict:
    """What stands in the folders that Kubernetes would mount, by path; written to `folder` in place of the root."""
    pod = objects.of("Deployment", NAME)["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    signed, key = certificate()
    written = {}
    for volume in pod["volumes"]:
        files = {}
        if volume["name"] == "tls":
            files = {"tls.crt": signed, "tls.key": key, "ca.crt": signed}
        elif "secret" in volume:
            # An App Certificate would be refused in another form.
            files = {item["path"]: b"0123456789abcdef" * 2 for item in volume["secret"]["items"]}
        elif volume["configMap"]["name"].startswith(NAME):
            data = objects.of("ConfigMap", volume["configMap"]["name"])["data"]
            files = {name: text.replace("/etc/", f"{folder}/etc/").encode() for name, text in data.items()}
        for name, content in files.items():
            file = folder / mounts[volume["name"]].removeprefix("/") / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            written[str(file)] = content
    return written


def check(objects, folder: pathlib.Path) -> subprocess.CompletedProcess:
    """`config check`, with the files and variables of the pod."""
    written = mounted(objects, folder)
    container = objects.of("Deployment", NAME)["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][:2] == ["serve", "--config"]
    settings = f"{folder}{container['args'][2]}"
    for file in re.findall(r'_file = "(.*)"', written[settings].decode()):
        assert file in written, f"{file} is mounted nowhere"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EASEMOB_GATEWAY")}
    for variable in container.get("env", []):
        environment[variable["name"]] = variable.get("value", "redis://redis:6379")
    command = [BINARY, "config", "check", "--config", settings]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.parametrize("name", SETS)
def test_the_gateway_takes_its_settings(name, tmp_path):
    objects = manifests(rendered(name))
    run = check(objects, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_check_sees_what_is_wrong_with_callers(tmp_path):
    objects = manifests(rendered("mtls"))
    objects.of("ConfigMap", f"{NAME}-callers")["data"]["callers.toml"] = "[billing]\nidentiti = 'x'\n"
    run = check(objects, tmp_path)
    assert run.returncode == 2 and "billing" in run.stdout + run.stderr


def test_the_refusals_count_with_the_gateways_defaults():
    run = subprocess.run([BINARY, "config", "reference"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    counted = re.findall(r'"(max_connections|connection_window_bytes)" (\d+)', (CHART / "templates/_refuse.tpl").read_text())
    assert len(counted) == 2
    for name, default in counted:
        assert f"\n#{name} = {default}\n" in run.stdout, f"{name} has another default"
