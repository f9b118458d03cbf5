"""All that the API can do, once: what it prints is the same in every language."""

import sys
import uuid
from collections.abc import Callable

import grpc
from easemob.messaging.v1 import message_pb2 as m
from easemob.messaging.v1 import messaging_service_pb2 as s
from easemob.messaging.v1.messaging_service_pb2_grpc import MessagingServiceStub

from . import drill
from .errors import of_status, read
from .files import CONTENT, download, media_parts, upload_parts
from .gateway import connect


def say(what: str, outcome: str) -> None:
    print(f"{what}: {outcome}", flush=True)


def request(**message) -> s.SendMessageRequest:
    """One with an ID, so that it may be repeated: by the service config, too."""
    message.setdefault("users", m.Users(user_ids=["bob"]))
    return s.SendMessageRequest(message=m.Message(from_user_id="amy", **message), request_id=str(uuid.uuid4()))


def text(words: str, *users: str) -> s.SendMessageRequest:
    return request(text=m.TextContent(text=words), users=m.Users(user_ids=users or ["bob"]))


def told(answer: s.SendMessageResponse) -> str:
    """Both lists: with several recipients, OK does not mean all."""
    accepted = "accepted for " + ", ".join(sorted(one.recipient for one in answer.accepted))
    failures = [f"{', '.join(one.recipients)} {of_status(one.status)}" for one in answer.failures]
    return "; ".join([accepted, *failures])


def fails(what: str, call: Callable[[], object]):
    try:
        call()
    except grpc.RpcError as error:
        problem = read(error)
        say(what, str(problem))
        return problem
    raise SystemExit(f"{what}: no error")


def files(stub: MessagingServiceStub) -> m.FileRef:
    def progress(percent: int) -> None:
        if percent % 25 == 0:
            say("upload", f"{percent} %")

    stored = stub.UploadFile(upload_parts("cat.bin", progress)).file
    say("uploaded", f"{stored.size_bytes} bytes, sha256 {stored.sha256.hex()}")
    size, digest = download(stub, stored.ref)
    say("downloaded", f"{size} bytes, sha256 {digest.hex()}")
    return stored.ref


def messages(stub: MessagingServiceStub, ref: m.FileRef) -> None:
    for kind, content in {
        "text": m.TextContent(text="你好"),
        "image": m.ImageContent(file=ref, filename="cat.png", width=640, height=480),
        "audio": m.AudioContent(file=ref, filename="cat.mp3", duration_seconds=3),
        "video": m.VideoContent(file=ref, filename="cat.mp4", duration_seconds=3, size_bytes=len(CONTENT)),
        "file": m.FileContent(file=ref, filename="cat.pdf"),
        "location": m.LocationContent(latitude=39.966, longitude=116.322, address="Zhongguancun"),
        "command": m.CommandContent(action="refresh"),
        "custom": m.CustomContent(event="order", attributes={"number": "A-7"}),
    }.items():
        say(kind, told(stub.SendMessage(request(**{kind: content}))))
    hello = m.TextContent(text="hello")
    groups = request(text=hello, users=None, groups=m.Groups(group_ids=["1001", "1002"]))
    say("groups", told(stub.SendMessage(groups)))
    rooms = request(text=hello, users=None, chatrooms=m.Chatrooms(chatroom_ids=["77"]))
    say("chat rooms", told(stub.SendMessage(rooms)))
    answer = stub.SendMessage(text("hello", *(f"user{number:04}" for number in range(1000))))
    say("1000 users", f"{len(answer.accepted)} accepted, {len(answer.failures)} failures")


def stream(stub: MessagingServiceStub) -> None:
    """Answers come as they finish; the correlation ID tells whose they are."""
    asked = {"a": text("first"), "b": text(""), "c": text("third", "carol")}
    requests = (s.SendMessagesRequest(correlation_id=name, request=one) for name, one in asked.items())
    answers = {answer.correlation_id: answer for answer in stub.SendMessages(requests, timeout=15)}
    for name in sorted(answers):
        answer = answers[name]
        ok = answer.WhichOneof("result") == "response"
        say(f"stream {name}", told(answer.response) if ok else str(of_status(answer.failure.status)))


def repeats(stub: MessagingServiceStub) -> None:
    once = text("once")
    first, again = stub.SendMessage(once), stub.SendMessage(once)
    say("first", f"{told(first)}, replayed {str(first.replayed).lower()}")
    same = first.accepted[0].message_id == again.accepted[0].message_id
    say("repeat", f"{told(again)}, replayed {str(again.replayed).lower()}, same ID {str(same).lower()}")


def deadline(stub: MessagingServiceStub) -> None:
    try:
        stub.SendMessage(text("hello", "fault-silence"), timeout=2)
    except grpc.RpcError as error:
        # The gateway's verdict, or this client's own timer, which knows less: the same to us.
        say("deadline", read(error).send_state)


def errors(stub: MessagingServiceStub) -> None:
    fails("wrong fields", lambda: stub.SendMessage(text("", "bob", "")))
    fails("quota", lambda: stub.SendMessage(text("hello", "fault-429"), timeout=2.5))
    fails("in doubt", lambda: stub.SendMessage(text("hello", "fault-reset")))
    wrong = upload_parts("cat.bin", sha256=bytes(32))
    fails("checksum", lambda: stub.UploadFile(wrong))
    problem = fails("refused after the upload", lambda: stub.SendMediaMessage(media_parts("fault-403")))
    finished = request(file=m.FileContent(file=problem.uploaded.file.ref, filename="cat.bin"))
    say("the same file to another", told(stub.SendMessage(finished)))
    with connect(key="egk_nobodys") as stranger:
        fails("unknown key", lambda: MessagingServiceStub(stranger).SendMessage(text("hello")))


def golden(stub: MessagingServiceStub) -> None:
    messages(stub, files(stub))
    say("media message", told(stub.SendMediaMessage(media_parts("bob")).sent))
    stream(stub)
    repeats(stub)
    deadline(stub)
    errors(stub)


def main() -> None:
    name, *arguments = sys.argv[1:] or ["golden"]
    with connect() as channel:
        stub = MessagingServiceStub(channel)
        golden(stub) if name == "golden" else getattr(drill, name)(stub, *arguments)


if __name__ == "__main__":
    main()
