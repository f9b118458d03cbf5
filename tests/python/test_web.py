"""examples/web in a real browser: a page sends by gRPC-Web, and reads why it was refused."""

import functools
import http.server
import re
import subprocess
import threading
import urllib.request

import pytest
from conftest import CALL_SECONDS, ROOT, Gateway
from playwright.sync_api import Page, expect
from test_examples import BUILD_SECONDS, NAMED

MILLISECONDS = 10_000

pytestmark = pytest.mark.skipif(bool(NAMED) and "web" not in NAMED, reason="EXAMPLES names others alone")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        pass


@pytest.fixture(scope="module")
def site():
    """The page, as its author builds it, on a port of its own: another origin than the gateway's."""
    subprocess.run([ROOT / "tools/examples.sh", "build", "web"], check=True, timeout=BUILD_SECONDS)
    handler = functools.partial(Quiet, directory=ROOT / "examples/web/dist")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def gateway(site, tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("web") / "log.txt", web_origin=site)
    yield gateway
    gateway.kill()


@pytest.fixture
def open_page(browser, site, gateway):
    contexts = []

    def open_page(locale: str = "en-US", origin: str = site) -> Page:
        context = browser.new_context(locale=locale, viewport={"width": 900, "height": 700})
        contexts.append(context)
        context.set_default_timeout(MILLISECONDS)
        page = context.new_page()
        page.goto(f"{origin}/?gateway={gateway.web}")
        return page

    yield open_page
    for context in contexts:
        context.close()


def send(page: Page, to: str, text: str = "你好") -> None:
    page.get_by_label("To").fill(to)
    page.get_by_label("Text").fill(text)
    page.get_by_role("button", name="Send").click()


def output(page: Page, state: str):
    return page.locator(f'output[data-state="{state}"]')


def test_a_page_sends_a_text_and_shows_its_id(open_page, gateway, someone):
    page = open_page()
    send(page, someone)
    expect(output(page, "sent")).to_have_text(re.compile(rf"^{someone}: message \d+$"))
    (message,) = gateway.messages(user=someone)
    assert message["body"]["msg"] == "你好"
    assert page.locator("output").inner_text() == f"{someone}: message {message['ids'][someone]}"


def test_it_shows_a_refusal_by_its_typed_details(open_page, tmp_path):
    page = open_page()
    send(page, "bob, bob")
    told = output(page, "failed")
    expect(told).to_contain_text("InvalidArgument · INVALID_REQUEST · not sent")
    expect(told).to_contain_text("message.users.user_ids[1]")
    expect(told).to_contain_text(re.compile(r"Trace [0-9a-f]{32}"))


def test_it_shows_it_in_the_language_of_the_browser(open_page):
    page = open_page(locale="zh-CN")
    send(page, "")
    expect(output(page, "failed")).to_contain_text("未发送")


def test_what_may_have_been_sent_is_repeated_without_sending_it_twice(open_page, gateway):
    page = open_page()
    send(page, "fault-reset")
    told = output(page, "failed")
    expect(told).to_contain_text("Unknown · OUTCOME_UNKNOWN · may have been sent")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    expect(told).to_contain_text("Unknown · OUTCOME_UNKNOWN · may have been sent")
    # The gateway knows it again, and has not sent it.
    with urllib.request.urlopen(f"{gateway.operations}/metrics", timeout=CALL_SECONDS) as metrics:
        assert 'request_ids_total{app="demo",outcome="replayed"} 1' in metrics.read().decode()


def test_a_page_of_another_origin_may_not(open_page, site, gateway, someone):
    page = open_page(origin=site.replace("127.0.0.1", "localhost"))
    send(page, someone)
    expect(output(page, "failed")).to_contain_text("no ErrorInfo")
    assert gateway.messages(user=someone) == []
