"""What the image holds, started in a root of its own: nothing else is there, and nothing else is needed.

Runs in a network of its own, so that port 53 is free: `make image` sees to it.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.request

import pytest
from machine import Authority, Names, TlsProxy, loopback_up

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE = ROOT / os.environ.get("IMAGE_ROOT", "target/image/root")
BINARY = "/usr/bin/easemob-gateway"
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"
USER = 65532
CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
HOST = "easemob.test"
MOST_BYTES = 15_000_000
START_SECONDS = 20
SECONDS = 20

CONFIG = f"""
[apps.shop]
base_url = "https://{HOST}:8443"
org_name = "sandbox"
app_name = "demo"
client_id = "sandbox-client-id"
client_secret_file = "/etc/easemob-gateway/secret"
"""


def files(root: pathlib.Path) -> dict:
    return {str(path.relative_to(root)): path for path in root.rglob("*") if not path.is_dir()}


def test_the_root_holds_the_binary_the_c_library_and_the_authorities_alone():
    found = files(IMAGE)
    names = {pathlib.Path(name).name for name in found}
    loader = next(name for name in names if name.startswith("ld-linux-"))
    libraries = {loader, "libc.so.6", "libm.so.6", "libgcc_s.so.1"}
    assert names == {"easemob-gateway", "ca-certificates.crt"} | libraries
    assert {BINARY.removeprefix("/"), AUTHORITIES} <= set(found)
    runnable = {pathlib.Path(name).name for name, path in found.items() if path.read_bytes()[:4] == b"\x7fELF"}
    assert runnable == {"easemob-gateway"} | libraries
    assert not any(path.is_symlink() or path.stat().st_mode & 0o7000 for path in found.values())


def test_the_layer_is_the_root_and_small():
    layer = IMAGE.with_name(IMAGE.name + ".tar.gz")
    print(f"{layer.stat().st_size} bytes compressed")
    assert layer.stat().st_size < MOST_BYTES
    with tarfile.open(layer) as members:
        held = {member.name.removeprefix("./"): member for member in members}
    assert {name for name, member in held.items() if not member.isdir()} == set(files(IMAGE))
    assert {(member.uid, member.gid) for member in held.values()} == {(0, 0)}
    # One time, that of the commit.
    assert len({member.mtime for member in held.values()}) == 1


def test_no_path_of_the_machine_is_in_the_binary():
    binary = pathlib.Path(f"{IMAGE}{BINARY}").read_bytes()
    for place in (ROOT, pathlib.Path.home() / ".cargo"):
        assert f"{place}/".encode() not in binary


def test_the_binary_tells_what_it_is_made_of():
    tool = ROOT / ".tools/bin/rust-audit-info"
    assert tool.exists(), f"{tool} is missing: tools/install.sh rust-audit-info"
    told = subprocess.run([tool, f"{IMAGE}{BINARY}"], capture_output=True, text=True, check=True).stdout
    assert {"easemob-gateway", "tonic", "rustls"} <= {package["name"] for package in json.loads(told)["packages"]}


class Root:
    """A copy of the image's root, with what Kubernetes would mount."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder / "root"
        shutil.copytree(IMAGE, self.folder)
        self.write("etc/resolv.conf", "nameserver 127.0.0.1\n")
        self.write("etc/easemob-gateway/gateway.toml", CONFIG)
        self.write("etc/easemob-gateway/secret", "sandbox-client-secret")

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def trust(self, authority: Authority) -> None:
        with (self.folder / AUTHORITIES).open("ab") as file:
            file.write(authority.pem)

    def command(self, *arguments: str) -> list:
        # Who has just itself for a user cannot be another one.
        alone = pathlib.Path("/proc/self/uid_map").read_text(encoding="ascii").split()[2] == "1"
        user = [] if alone else [f"--userspec={USER}:{USER}"]
        return [CHROOT, *user, str(self.folder), BINARY, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        # No variable of this machine: the image has none.
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=SECONDS, env={})

    @contextlib.contextmanager
    def running(self, page: str, *arguments: str):
        """A process that is up once the page answers."""
        log = self.folder.with_name(f"{arguments[0]}.txt")
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(*arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env={}
            )
        try:
            give_up = time.monotonic() + START_SECONDS
            while not answers(page):
                assert process.poll() is None and time.monotonic() < give_up, log.read_text()
                time.sleep(0.02)
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def answers(page: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(page, timeout=SECONDS) as answer:
        return answer.status == 200
    return False


@pytest.fixture(scope="module", autouse=True)
def machine():
    """Loopback, and a name server that knows Easemob."""
    assert CHROOT, "chroot is missing"
    loopback_up()
    with Names({HOST: "127.0.0.1"}) as names:
        yield names


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def test_it_starts(root):
    run = root.run("--version")
    assert run.returncode == 0 and run.stdout.startswith("easemob-gateway "), run.stderr
    run = root.run("config", "check", "--config", "/etc/easemob-gateway/gateway.toml")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture
def easemob(root):
    """A sandbox in the same root, and TLS in front of it."""
    authority = Authority()
    with root.running("http://127.0.0.1:8025/sandbox/messages", "sandbox"):
        with TlsProxy(authority, HOST, 8443, to=8025):
            yield authority


def send(root) -> subprocess.CompletedProcess:
    with root.running("http://127.0.0.1:9090/readyz", "serve", "--config", "/etc/easemob-gateway/gateway.toml"):
        return root.run("send", "text", "--to", "bob", "hello")


def test_it_finds_easemob_by_name_trusts_it_and_sends(root, easemob, machine):
    root.trust(easemob)
    run = send(root)
    assert run.returncode == 0, run.stdout + run.stderr
    assert HOST in machine.asked
    with urllib.request.urlopen("http://127.0.0.1:8025/sandbox/messages?user=bob", timeout=SECONDS) as answer:
        assert len(json.load(answer)["messages"]) == 1


def test_it_finds_easemob_by_etc_hosts_before_it_asks_a_name_server(root, easemob, machine):
    root.trust(easemob)
    root.write("etc/hosts", f"127.0.0.1 localhost {HOST}\n")
    machine.asked.clear()
    run = send(root)
    assert run.returncode == 0, run.stdout + run.stderr
    assert HOST not in machine.asked


def test_it_trusts_nobody_beside_the_authorities(root, easemob):
    run = send(root)
    assert run.returncode != 0
    assert "EASEMOB_UNREACHABLE" in run.stdout + run.stderr
