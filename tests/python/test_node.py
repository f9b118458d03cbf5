"""The same refusals as in test_media.py, seen by Node's own client."""

import json
import os
import pathlib
import subprocess

from conftest import ROOT

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "node" / "refused_upload.mjs"
MODULES = ROOT / ".tools" / "npm" / "node_modules"


def test_node_sees_why_its_upload_was_refused_every_time(gateway):
    run = subprocess.run(
        ["node", SCRIPT, gateway.target, ROOT / "proto"],
        env={**os.environ, "NODE_MODULES": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr
    for kind, statuses in json.loads(run.stdout).items():
        assert sum(statuses.values()) == 50
        assert len(statuses) == 1, f"{kind}: {statuses}"
        assert next(iter(statuses)).startswith("INVALID_ARGUMENT: "), f"{kind}: {statuses}"
