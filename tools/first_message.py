"""How long it takes from `cargo run -- dev`, on a built tree, to the first message that the page shows.

Two commands, as the README has them, and a browser that is open already. Needs what the page's tests need:
`tools/install.sh python chromium && cargo build && .tools/venv/bin/python tools/first_message.py`
"""

import pathlib
import statistics
import subprocess
import sys
import time

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
RUN = ["cargo", "run", "--quiet", "--locked", "--"]
TIMES = 5
LIMIT_SECONDS = 5


def once(page) -> tuple[float, float]:
    """Seconds until `dev` says that it is there, and until the message is seen."""
    begin = time.monotonic()
    dev = subprocess.Popen([*RUN, "dev"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        if not dev.stdout.readline():
            sys.exit("dev did not start: is another one running?")
        ready = time.monotonic() - begin
        page.goto("http://127.0.0.1:8025/")
        subprocess.run([*RUN, "send", "text", "--to", "bob", "你好"], cwd=ROOT, check=True, capture_output=True)
        page.locator('.message[data-type="txt"]').first.wait_for()
        return ready, time.monotonic() - begin
    finally:
        dev.terminate()
        dev.wait()


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
    measured = [once(browser.new_page()) for _ in range(TIMES)]
    browser.close()
for ready, seen in measured:
    print(f"ready after {ready:.2f} s, seen after {seen:.2f} s")
median = statistics.median(seen for _, seen in measured)
print(f"median {median:.2f} s, longest {max(seen for _, seen in measured):.2f} s, limit {LIMIT_SECONDS} s")
sys.exit(0 if median < LIMIT_SECONDS else 1)
