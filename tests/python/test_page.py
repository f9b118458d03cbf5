"""The inbox page in a real browser: what is sent by gRPC is seen without a reload, and harms nothing."""

import math
import pathlib
import struct
import urllib.request
import wave
import zlib

import grpc
import pytest
from conftest import CALL_SECONDS, Gateway
from playwright.sync_api import Page, expect
from test_media import upload_parts

MILLISECONDS = 10_000

FILM = (pathlib.Path(__file__).parent / "data/film.webm").read_bytes()
TYPES = ["txt", "img", "audio", "video", "file", "loc", "cmd", "custom"]


@pytest.fixture
def inbox(tmp_path):
    """A gateway whose inbox no other test writes to, without quotas."""
    gateway = Gateway(tmp_path / "log.txt")
    api(gateway, "PATCH", "settings", b'{"quotas": null}')
    yield gateway
    gateway.kill()


@pytest.fixture
def stub(inbox, v1):
    with inbox.channel() as channel:
        yield v1.MessagingServiceStub(channel)


@pytest.fixture
def page(browser, inbox):
    """The page, which has said nothing wrong by the end of the test."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 860})
    context.set_default_timeout(MILLISECONDS)
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    # A policy that is broken is an error on the console.
    page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
    page.on("request", lambda request: problems.append(request.url) if not request.url.startswith(inbox.sandbox) else None)
    page.goto(inbox.sandbox)
    expect(page.locator("#live")).to_have_text("Live")
    yield page
    context.close()
    assert problems == []


def api(gateway: Gateway, method: str, path: str, body: bytes | None = None) -> None:
    request = urllib.request.Request(f"{gateway.sandbox}/sandbox/{path}", data=body, method=method)
    urllib.request.urlopen(request, timeout=CALL_SECONDS).close()


def send(stub, v1, **fields):
    fields.setdefault("users", v1.Users(user_ids=["bob"]))
    message = v1.Message(**{"from_user_id": "amy", **fields})
    return stub.SendMessage(v1.SendMessageRequest(message=message), timeout=CALL_SECONDS)


def say(stub, v1, text: str, **fields):
    return send(stub, v1, text=v1.TextContent(text=text), **fields)


def stored(stub, v1, content: bytes, filename: str, content_type: str = ""):
    parts = upload_parts(v1, content, filename, content_type=content_type)
    return stub.UploadFile(parts, timeout=CALL_SECONDS).file.ref


def picture(width: int = 200, height: int = 100) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([255 * y // height, 120, 200]) * width for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def sound(folder: pathlib.Path) -> bytes:
    path = folder / "note.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(at / 4))) for at in range(8000)))
    return path.read_bytes()


def message(page: Page, kind: str):
    return page.locator(f'.message[data-type="{kind}"]')


def test_all_eight_types_are_seen_as_their_recipient_would(page, stub, v1, tmp_path):
    say(stub, v1, "你好, Bob")
    expect(message(page, "txt").locator(".words")).to_have_text("你好, Bob")

    ref = stored(stub, v1, picture(), "cat.png", "image/png")
    send(stub, v1, image=v1.ImageContent(file=ref, filename="cat.png"))
    image = message(page, "img").locator("img")
    expect(image).to_have_js_property("naturalWidth", 200)
    image.click()
    expect(page.locator("#viewer img")).to_have_js_property("naturalHeight", 100)
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()

    ref = stored(stub, v1, sound(tmp_path), "note.wav", "audio/wav")
    send(stub, v1, audio=v1.AudioContent(file=ref, filename="note.wav"))
    plays(page, message(page, "audio").locator("audio"))

    ref = stored(stub, v1, FILM, "film.webm", "video/webm")
    send(stub, v1, video=v1.VideoContent(file=ref, filename="film.webm"))
    plays(page, message(page, "video").locator("video"))

    ref = stored(stub, v1, b"x" * 2048, "offer.pdf", "application/pdf")
    send(stub, v1, file=v1.FileContent(file=ref, filename="offer.pdf"))
    expect(message(page, "file").locator(".file")).to_contain_text("offer.pdf")
    expect(message(page, "file").locator("small")).to_have_text("2 KiB")
    with page.expect_download() as download:
        message(page, "file").locator("a").click()
    assert pathlib.Path(download.value.path()).read_bytes() == b"x" * 2048

    send(stub, v1, location=v1.LocationContent(latitude=39.966, longitude=116.322, address="Zhongguancun"))
    expect(message(page, "loc")).to_contain_text("Zhongguancun")
    expect(message(page, "loc")).to_contain_text("39.966, 116.322")

    send(stub, v1, command=v1.CommandContent(action="refresh"))
    expect(message(page, "cmd").locator("code")).to_have_text("refresh")

    send(stub, v1, custom=v1.CustomContent(event="order", attributes={"number": "A-7"}))
    expect(message(page, "custom").locator(".fields")).to_have_text("numberA-7")

    for kind in TYPES:
        expect(message(page, kind)).to_have_count(1)


def plays(page: Page, player) -> None:
    expect(player).to_have_js_property("error", None)
    player.evaluate("async (player) => { player.muted = true; await player.play(); }")
    page.wait_for_function("(player) => player.currentTime > 0.1", arg=player.element_handle())


def test_conversations_are_by_user_group_and_room(page, stub, v1):
    say(stub, v1, "to bob", users=v1.Users(user_ids=["bob", "carol"]))
    say(stub, v1, "to the group", users=None, groups=v1.Groups(group_ids=["1001"]))
    say(stub, v1, "to the room", users=None, chatrooms=v1.Chatrooms(chatroom_ids=["77"]))
    for name, text in [("bob", "to bob"), ("carol", "to bob"), ("1001", "to the group"), ("77", "to the room")]:
        page.locator(".conversation", has=page.get_by_text(name, exact=True)).first.click()
        expect(page.locator("#title")).to_have_text(name)
        expect(page.locator(".message")).to_have_count(1)
        expect(page.locator(".message .words")).to_have_text(text)


def test_the_request_is_one_click_away_and_shows_no_secret(page, stub, v1, inbox):
    ref = stub.UploadFile(upload_parts(v1, picture(), "a.png", restrict_access=True), timeout=CALL_SECONDS).file.ref
    trace = "0af7651916cd43dd8448eb211c80319c"
    message_to_bob = v1.Message(users=v1.Users(user_ids=["bob"]), image=v1.ImageContent(file=ref, filename="a.png"))
    stub.SendMessage(
        v1.SendMessageRequest(message=message_to_bob),
        timeout=CALL_SECONDS,
        metadata=[("traceparent", f"00-{trace}-b7ad6b7169203331-01")],
    )
    (sent,) = inbox.messages(user="bob")
    expect(message(page, "img").locator("img")).to_have_js_property("naturalWidth", 200)
    message(page, "img").locator(".more").click()
    detail = page.locator("#detail")
    expect(detail).to_contain_text("POST /sandbox/demo/messages/users")
    expect(detail).to_contain_text(sent["ids"]["bob"])
    expect(detail).to_contain_text(sent["token"])
    expect(detail.locator(".trace code")).to_have_text(trace)
    secret = sent["body"]["secret"]
    assert len(secret) > 8
    expect(detail).not_to_contain_text(secret)
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_what_is_sent_harms_nothing(page, stub, v1):
    script = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    right_to_left = "\u202eevil\u2066 اسم \u200f!"
    emoji = "👩‍👩‍👧‍👦" * 120
    for text in [script, right_to_left, emoji]:
        say(stub, v1, text, users=v1.Users(user_ids=["bob"]))
    words = page.locator(".message .words")
    expect(words).to_have_count(3)
    assert words.all_inner_texts() == [script, right_to_left, emoji]
    assert page.locator(".words *").count() == 0
    # Nothing is wider than the window, and what stands beside the words runs as it did.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    custom = v1.CustomContent(event="order", attributes={script[:20]: script})
    send(stub, v1, custom=custom, ext_json='{"<b>": "<script>alert(3)</script>"}')
    message(page, "custom").locator(".more").click()
    expect(page.locator("#detail")).to_contain_text("<script>alert(3)</script>")


def test_a_file_that_could_run_is_only_saved(page, stub, v1, inbox):
    html = b"<script>alert(document.domain)</script>"
    ref = stored(stub, v1, html, "page.html", "text/html")
    with urllib.request.urlopen(f"{inbox.sandbox}/sandbox/files/{ref.uuid}/content", timeout=CALL_SECONDS) as answer:
        assert answer.headers["content-type"] == "application/octet-stream"
    send(stub, v1, image=v1.ImageContent(file=ref, filename="page.html"))
    expect(message(page, "img")).to_contain_text("not in the sandbox")


def test_search_and_types_filter_and_clear_clears(page, stub, v1):
    for text in ["apples", "pears", "apple pie"]:
        say(stub, v1, text)
    send(stub, v1, command=v1.CommandContent(action="apple"))
    expect(page.locator(".message")).to_have_count(4)
    page.keyboard.press("/")
    page.keyboard.type("APPLE")
    expect(page.locator(".message")).to_have_count(3)
    page.get_by_role("button", name="Text", exact=True).click()
    expect(page.locator(".message")).to_have_count(2)
    # What comes is filtered too.
    say(stub, v1, "bananas")
    say(stub, v1, "apples again")
    expect(page.locator(".message .words")).to_have_text(["apples", "apple pie", "apples again"])
    page.locator("#search").fill("")
    page.get_by_role("button", name="All types").click()
    expect(page.locator(".message")).to_have_count(6)
    page.locator("#clear").click()
    page.get_by_role("button", name="Clear messages").click()
    expect(page.locator(".message")).to_have_count(0)
    expect(page.locator(".empty")).to_contain_text("Nothing here yet")
    expect(page.locator(".conversation")).to_have_count(1)


def test_a_thousand_messages_stay_fluid(page, stub, v1):
    for batch in range(100):
        calls = [
            stub.SendMessage.future(
                v1.SendMessageRequest(message=v1.Message(
                    users=v1.Users(user_ids=[f"user-{at}"]),
                    text=v1.TextContent(text=f"number {10 * batch + at}"),
                ))
            )
            for at in range(10)
        ]
        for call in calls:
            call.result(CALL_SECONDS)
    expect(page.locator("#subtitle")).to_have_text("1,000 messages")
    expect(page.locator(".message").last).to_contain_text("number 99")
    # The document holds a window of them, whatever their number.
    assert page.locator(".message").count() <= 201
    # Who reads further up is left there, and told of what comes.
    page.locator("#messages").hover()
    page.mouse.wheel(0, -2000)
    page.wait_for_function("""() => {
        const { scrollTop, clientHeight, scrollHeight } = document.getElementById("messages");
        return scrollTop + clientHeight < scrollHeight - 500;
    }""")
    say(stub, v1, "the newest")
    fresh = page.get_by_role("button", name="1 new")
    expect(fresh).to_be_visible()
    fresh.click()
    expect(page.locator(".message").last).to_contain_text("the newest")
    expect(page.locator(".message").last).to_be_in_viewport()
    page.locator("#messages").evaluate("(list) => list.scrollTop = 0")
    page.get_by_role("button", name="Load older").click()
    expect(page.locator(".message").first).to_contain_text("number 8")
    page.locator("#search").fill("number 123")
    expect(page.locator(".message")).to_have_count(1)


def test_faults_are_added_met_and_removed_on_the_page(page, stub, v1):
    page.locator("#faults").click()
    dialog = page.locator("#fault-dialog")
    expect(dialog).to_contain_text("No faults")
    dialog.locator("[name=name]").select_option("plan_limit")
    dialog.locator("[name=count]").fill("1")
    dialog.get_by_role("button", name="Add fault").click()
    expect(dialog.locator(".faults li")).to_contain_text("1 left")
    with pytest.raises(grpc.RpcError) as refused:
        say(stub, v1, "refused")
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    expect(dialog.locator(".faults li")).to_contain_text("happened 1×")
    dialog.locator("[name=kind]").select_option("reset_after")
    dialog.get_by_role("button", name="Add fault").click()
    expect(dialog.locator(".faults li")).to_have_count(2)
    with pytest.raises(grpc.RpcError) as unknown:
        say(stub, v1, "who knows")
    assert unknown.value.code() is grpc.StatusCode.UNKNOWN
    for _ in range(2):
        dialog.locator(".faults button").first.click()
    expect(dialog).to_contain_text("No faults")
    page.keyboard.press("Escape")
    say(stub, v1, "fine again")
    expect(page.locator(".message .words")).to_have_text("fine again")


def test_it_works_by_keyboard_in_chinese_and_in_the_dark(page, stub, v1):
    say(stub, v1, "one")
    say(stub, v1, "two", users=v1.Users(user_ids=["carol"]))
    expect(page.locator(".message")).to_have_count(2)
    page.locator(".conversation").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".message")).to_have_count(1)
    page.locator(".message").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_contain_text("Trace ID")
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    expect(page.locator("#fault-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#language").click()
    expect(page.locator("#faults")).to_contain_text("故障")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.locator("#theme").click()
    assert page.evaluate(background) != light
    page.reload()
    expect(page.locator("#faults")).to_contain_text("故障")
    assert page.evaluate(background) != light


def test_it_is_readable_on_a_phone(page, stub, v1):
    page.set_viewport_size({"width": 360, "height": 700})
    say(stub, v1, "long " * 60 + "w" * 300)
    page.locator(".conversation", has_text="bob").click()
    expect(page.locator(".message .words")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#back").click()
    expect(page.locator(".conversation", has_text="bob")).to_be_visible()


def test_the_page_comes_back_after_an_outage(page, stub, v1, inbox):
    say(stub, v1, "before")
    expect(page.locator(".message")).to_have_count(1)
    api(inbox, "POST", "faults", b'{"kind": "outage", "delay": "1s"}')
    expect(page.locator("#live")).to_have_text("Reconnecting")
    expect(page.locator("#live")).to_have_text("Live")
    say(stub, v1, "after")
    expect(page.locator(".message .words")).to_have_text(["before", "after"])
