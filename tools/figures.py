#!/usr/bin/env python3
"""Measures the figures that CONTRIBUTING states: build times, size, start and idle memory.

    python3 tools/figures.py            builds everything twice, about ten minutes on two cores
    python3 tools/figures.py BINARY     measures a binary that is built already

Linux only, as memory is read from /proc.
"""

import contextlib
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = 1024 * 1024
# Lazily made parts (pools, the first timer ticks) are there after this time.
SETTLE_SECONDS = 3
START_SECONDS = 30


def main() -> None:
    rows = []
    if len(sys.argv) > 1:
        binary = pathlib.Path(sys.argv[1]).resolve()
        measure_binary(binary, rows)
    else:
        with tempfile.TemporaryDirectory(prefix="figures-", dir=made(ROOT / "target")) as target:
            # Downloads depend on the line, and not on us.
            cargo(target, "fetch", "--locked")
            rows.append(("debug build, cold", f"{cargo(target, 'build', '--locked'):.0f} s"))
            rows.append(("release build, cold", f"{timed(target, 'tools/release.sh'):.0f} s"))
            measure_binary(pathlib.Path(target, "release", "easemob-gateway"), rows)

    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout
    print(f"\n{os.cpu_count()} cores, {' '.join(rustc.split()[:2])}\n")
    print("| what | measured |\n| --- | --- |")
    for what, measured in rows:
        print(f"| {what} | {measured} |")


def made(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir(exist_ok=True)
    return folder


def timed(target: str, *command: str) -> float:
    """Runs a build with a target folder of its own, and tells how many seconds it took."""
    environment = os.environ | {"CARGO_TARGET_DIR": target, "TARGET_DIR": target, "CARGO_INCREMENTAL": "0"}
    begin = time.monotonic()
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return time.monotonic() - begin


def cargo(target: str, *arguments: str) -> float:
    """Runs cargo so."""
    return timed(target, "cargo", *arguments)


def measure_binary(binary: pathlib.Path, rows: list) -> None:
    rows.append(("binary", f"{binary.stat().st_size / MIB:.1f} MiB"))
    with tempfile.TemporaryDirectory() as folder:
        # A copy, since a binary built with symbols may be wanted as it is.
        stripped = pathlib.Path(folder, "stripped")
        shutil.copy(binary, stripped)
        subprocess.run(["strip", stripped], check=True)
        rows.append(("binary, stripped", f"{stripped.stat().st_size / MIB:.1f} MiB"))

        grpc, operations, sandbox = free_ports(3)
        settings = pathlib.Path(folder, "gateway.toml")
        settings.write_text(
            f"""
[server]
listen = "127.0.0.1:{grpc}"
operations_listen = "127.0.0.1:{operations}"

[auth]
mode = "none"

[apps.shop]
base_url = "http://127.0.0.1:{sandbox}"
org_name = "acme"
app_name = "shop"
client_id = "figures"
client_secret_env = "FIGURES_SECRET"
"""
        )
        serve = ["serve", "--config", str(settings)]
        dev = [
            "dev",
            f"--listen=127.0.0.1:{grpc}",
            f"--operations-listen=127.0.0.1:{operations}",
            f"--sandbox-listen=127.0.0.1:{sandbox}",
        ]
        for command in (serve, dev):
            seconds, resident = run(binary, command, operations)
            rows.append((f"`{command[0]}`, start to ready", f"{seconds * 1000:.0f} ms"))
            rows.append((f"`{command[0]}`, idle memory (RSS)", f"{resident / MIB:.1f} MiB"))


def run(binary: pathlib.Path, arguments: list, operations: int) -> tuple:
    """Starts the binary; tells how long it took to be ready, and its memory at rest in bytes."""
    environment = os.environ | {"FIGURES_SECRET": "none"}
    begin = time.monotonic()
    process = subprocess.Popen(
        [binary, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not is_ready(operations):
            if process.poll() is not None:
                sys.exit(f"{arguments[0]} ended before it was ready:\n{process.stderr.read()}")
            if time.monotonic() - begin > START_SECONDS:
                sys.exit(f"{arguments[0]} was not ready within {START_SECONDS} s")
            time.sleep(0.005)
        seconds = time.monotonic() - begin
        time.sleep(SETTLE_SECONDS)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        return seconds, int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024
    finally:
        process.terminate()
        process.communicate()


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_ports(count: int) -> list:
    """Ports that nobody holds now; not of those that the kernel gives out, which others have at any moment."""
    ports = []
    for port in random.sample(range(20_000, 32_768), 1_000):
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError("no port is free")


if __name__ == "__main__":
    main()
