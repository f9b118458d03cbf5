"""The chart lints, renders, and is valid by Kubernetes' own schemas, for every set of values."""

import difflib
import functools
import os
import pathlib
import re

import jsonschema
import kubernetes_validate
import pytest
import yaml
from conftest import CHART, KUBERNETES, OLDEST, ROOT, SETS, helm, manifests, rendered, template, values_of

GOLDEN = pathlib.Path(__file__).parent / "golden"
CRDS = ROOT / ".tools/crds"
# Linkerd's definitions are in no registry that the build may use. What is in golden/linkerd.yaml was held by hand against those of 2.16 to
# 2.20, by this same check: files of its chart linkerd-crds in .tools/crds are used.
WITHOUT_SCHEMA = {"policy.linkerd.io"}


def test_lint(values):
    run = helm("lint", "--strict", str(CHART), "--values=-", values=values_of(values))
    assert run.returncode == 0, run.stdout + run.stderr


@functools.cache
def custom_schemas() -> dict:
    """Schemas of custom resources by (apiVersion, kind), from the definitions that their projects publish."""
    schemas = {}
    for file in CRDS.glob("*.yaml"):
        for definition in yaml.safe_load_all(file.read_text()):
            if not definition or definition.get("kind") != "CustomResourceDefinition":
                continue
            spec = definition["spec"]
            for version in spec["versions"]:
                key = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                schema = closed(version["schema"]["openAPIV3Schema"])
                # These every object has; not every definition names them.
                schema["properties"] |= {"apiVersion": {}, "kind": {}}
                schemas[key] = schema
    assert schemas, f"{CRDS} is empty: tools/install.sh crds"
    return schemas


def closed(schema):
    """Kubernetes would drop unknown fields of such a resource in silence; for us they are misspelt."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("pattern"), str):
        # Go takes flags within an expression, Python at its start alone.
        result["pattern"] = schema["pattern"].replace("^(?i)", "(?i)^")
    properties = isinstance(schema.get("properties"), dict)
    if properties and not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
        result["additionalProperties"] = False
    return result


def test_every_object_is_valid(objects):
    for each in objects:
        group = each["apiVersion"].rpartition("/")[0]
        key = each["apiVersion"], each["kind"]
        if key in custom_schemas():
            body = {name: value for name, value in each.items() if name != "metadata"}
            jsonschema.validate(body, custom_schemas()[key])
        elif group in WITHOUT_SCHEMA:
            continue
        else:
            for version in (KUBERNETES, OLDEST):
                kubernetes_validate.validate(each, version, strict=True)


def test_it_installs_on_the_oldest_kubernetes_and_on_none_before():
    assert f'kubeVersion: ">={OLDEST}.0-0"' in (CHART / "Chart.yaml").read_text()
    run = template(f"--kube-version={OLDEST}.0", values=values_of("all"))
    assert run.returncode == 0, run.stderr
    run = template("--kube-version=1.29.9", values=values_of("all"))
    assert run.returncode != 0 and "incompatible with Kubernetes v1.29.9" in run.stderr


def test_the_check_itself_finds_what_is_wrong():
    objects = manifests(rendered("istio"))
    wrong = objects.of("VirtualService", "gw-easemob-gateway")
    wrong["spec"]["http"][0]["retries"]["atempts"] = 2
    with pytest.raises(jsonschema.ValidationError):
        body = {name: value for name, value in wrong.items() if name != "metadata"}
        jsonschema.validate(body, custom_schemas()[wrong["apiVersion"], wrong["kind"]])
    deployment = objects.of("Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES, strict=True)


def test_golden(values):
    """What changes in a manifest is seen by whoever reviews the change. UPDATE_GOLDEN=1 writes anew."""
    text = re.sub(r"checksum/config: .*", "checksum/config: SHA-256", rendered(values))
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    # The dashboard has a test of its own, and a thousand lines.
    text = re.sub(r"(  easemob-gateway.json: \|\n)(?:    .*\n)+", r"\1    {}\n", text)
    golden = GOLDEN / f"{values}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    diff = difflib.unified_diff(golden.read_text().splitlines(), text.splitlines(), "golden", "rendered", lineterm="")
    diff = "\n".join(diff)
    assert not diff, f"review the difference, then UPDATE_GOLDEN=1:\n{diff}"


def test_each_golden_file_has_its_values():
    assert sorted(path.stem for path in GOLDEN.glob("*.yaml")) == SETS
