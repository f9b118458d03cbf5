"""The chart, rendered by Helm for each set of values in values/."""

import pathlib
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/easemob-gateway"
HELM = ROOT / ".tools/bin/helm"
SETS = sorted(path.stem for path in (pathlib.Path(__file__).parent / "values").glob("*.yaml"))
# The newest Kubernetes whose schemas we have, and the oldest that the chart is for.
KUBERNETES, OLDEST = "1.36", "1.30"


def helm(*arguments: str, values: str = "") -> subprocess.CompletedProcess:
    assert HELM.exists(), f"{HELM} is missing: tools/install.sh helm"
    return subprocess.run([HELM, *arguments], input=values, capture_output=True, text=True, timeout=60)


def template(*arguments: str, values: str = "") -> subprocess.CompletedProcess:
    """`helm template` with these values on top of the chart's own."""
    return helm(
        "template", "gw", str(CHART), "--namespace=im", f"--kube-version={KUBERNETES}", "--values=-", *arguments, values=values
    )


def values_of(name: str) -> str:
    return (pathlib.Path(__file__).parent / f"values/{name}.yaml").read_text()


def rendered(name: str) -> str:
    run = template(values=values_of(name))
    assert run.returncode == 0, run.stderr
    return run.stdout


def changed(name: str, changes: dict) -> str:
    """A set of values with some of them changed, by path."""
    values = yaml.safe_load(values_of(name))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return yaml.safe_dump(values)


class Manifests(list):
    def of(self, kind: str, name: str = "") -> dict:
        """The only object of its kind, or of its kind and name."""
        found = [each for each in self if each["kind"] == kind and name in ("", each["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} objects {kind} {name}"
        return found[0]

    def kinds(self) -> set:
        return {each["kind"] for each in self}


def manifests(text: str) -> Manifests:
    return Manifests(each for each in yaml.safe_load_all(text) if each)


@pytest.fixture(params=SETS)
def values(request) -> str:
    """The name of each set of values in turn."""
    return request.param


@pytest.fixture
def objects(values) -> Manifests:
    return manifests(rendered(values))
