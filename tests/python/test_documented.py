"""What docs/clients.md tells a newcomer to type, typed in an empty folder; and the same in Chinese."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import CALL_SECONDS, ROOT, Gateway

PAGES = ["docs/clients.md", "docs/clients.zh-CN.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def test_both_languages_show_the_same_code():
    english, chinese = (
        [re.sub(r" +(//|#) .*", "", code) for _, code in blocks(page)] for page in PAGES
    )
    assert english == chinese


@pytest.mark.parametrize("name", ["README", "docs/clients", "docs/delivery", "docs/errors"])
def test_the_chinese_page_has_every_chapter_and_row(name):
    """Whoever adds to the one has the other to go on with."""

    def shape(page: str) -> list:
        text = BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
        chapters = re.split(r"^(#+) .*$", text, flags=re.MULTILINE)
        # Each level of heading, and how many rows of tables follow it.
        return [(level, body.count("\n|")) for level, body in zip(chapters[1::2], chapters[2::2])]

    assert shape(f"{name}.md") == shape(f"{name}.zh-CN.md")


@pytest.fixture
def newcomer(tmp_path):
    """An empty folder, with the proto files and what `dev --secure` has made."""
    gateway = Gateway(tmp_path / "log.txt", secure=tmp_path / "first/.secure")
    shutil.copytree(ROOT / "proto", tmp_path / "first/proto")
    yield tmp_path / "first", gateway
    gateway.kill()


def test_the_first_program_in_python_sends_and_is_told_why_not(newcomer):
    folder, gateway = newcomer
    code = dict(blocks(PAGES[0]))
    program = code["python"].replace("50051", gateway.target.rpartition(":")[2])
    (folder / "gen").mkdir()
    commands = next(text for _, text in blocks(PAGES[0]) if "grpc_tools.protoc" in text).splitlines()
    (generate,) = [line for line in commands if "grpc_tools.protoc" in line]
    generate = generate.replace("python", sys.executable, 1)
    subprocess.run(generate, shell=True, cwd=folder, check=True, timeout=CALL_SECONDS)

    def run(to: str) -> str:
        (folder / "send.py").write_text(program.replace('"bob"', f'"{to}"'), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": "gen"}
        done = subprocess.run(
            [sys.executable, "send.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.fullmatch(r"bob \d+\n", run("bob"))
    assert run("fault-429").startswith("RESOURCE_EXHAUSTED QUOTA_EXCEEDED ")
