#!/usr/bin/env python3
"""Compares what tells of the dependencies: tools/dependencies.py SBOM BINARY

Cargo.lock, the SBOM and the list within the binary have to agree: nothing is linked that the other two do
not name in this version, and nothing is named that the lock file does not have, checksum included.
"""

import json
import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def locked():
    """Name and version of everything in Cargo.lock → its checksum."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}


def in_sbom(path):
    """The same of the SBOM."""
    sbom = json.loads(path.read_text())
    assert sbom["bomFormat"] == "CycloneDX", sbom["bomFormat"]
    return {
        (component["name"], component["version"]): next((h["content"] for h in component.get("hashes", [])), None)
        for component in sbom["components"]
    }


def in_binary(path):
    """What the binary says it is made of, without what only its build needed."""
    said = subprocess.run([ROOT / ".tools/bin/rust-audit-info", path], check=True, capture_output=True)
    packages = json.loads(said.stdout)["packages"]
    return {(package["name"], package["version"]) for package in packages if package.get("kind") != "build"}


def linked():
    """What cargo links into the binary: without macros, which run in the compiler, and what they need there."""
    command = ["cargo", "tree", "--locked", "--edges=normal,no-proc-macro", "--prefix=none", "--format={p}"]
    tree = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    words = (line.split() for line in tree.splitlines())
    return {(line[0], line[1].removeprefix("v")) for line in words}


def main(sbom, binary):
    lock, sbom, binary, own = locked(), in_sbom(sbom), in_binary(binary), ("easemob-gateway", version())
    wrong = [f"{name} {version} is linked, and the binary does not name it" for name, version in linked() - binary]
    wrong += [f"{name} {version} is in the binary and not in the SBOM" for name, version in binary - {own} - sbom.keys()]
    wrong += [f"{name} {version} of the SBOM is not what Cargo.lock has"
              for (name, version), checksum in sbom.items() if lock.get((name, version)) != checksum]
    print("\n".join(sorted(wrong)) or f"{len(binary)} packages in the binary, {len(sbom)} in the SBOM: all in Cargo.lock")
    return 1 if wrong else 0


def version():
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
