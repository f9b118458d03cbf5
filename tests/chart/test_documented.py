"""The README has every value, and what it says is current."""

import subprocess

import yaml
from conftest import CHART, ROOT


def test_the_readme_is_made_of_the_values(tmp_path):
    run = subprocess.run(
        [ROOT / ".tools/bin/helm-docs", f"--chart-search-root={CHART}", "--dry-run", "--sort-values-order=file"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == (CHART / "README.md").read_text().strip(), "make chart-docs writes it anew"


def test_every_value_is_explained():
    readme = (CHART / "README.md").read_text()

    def leaves(values, path=()):
        for key, value in values.items():
            if isinstance(value, dict) and value:
                yield from leaves(value, (*path, key))
            else:
                yield ".".join((*path, key))

    rows = {}
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        if line.startswith("| ") and len(cells) == 4:
            rows[cells[0].removeprefix("| ").replace('"', "")] = cells[3].removesuffix("|").strip()
    for name in leaves(yaml.safe_load((CHART / "values.yaml").read_text())):
        # A value that is explained as a whole, such as `resources`.
        parents = [name.rsplit(".", depth)[0] for depth in range(name.count(".") + 1)]
        assert any(rows.get(parent) for parent in parents), f"{name} is not explained"
