"""Every message type reaches every kind of target, by way of grpcio."""

import uuid

import grpc
import pytest
from conftest import CALL_SECONDS
from google.protobuf import json_format, struct_pb2


PHOTO = "https://files.example.com/cat.jpg"
STORED = "11111111-2222-3333-4444-555555555555"


def contents(v1) -> dict:
    """One of each, by its REST type: the fields of a Message, and the body that Easemob documents for it."""
    photo = v1.FileRef(url=PHOTO)
    return {
        "txt": ({"text": v1.TextContent(text="你好 👋")}, {"msg": "你好 👋"}),
        "img": (
            {"image": v1.ImageContent(file=photo, filename="cat.jpg", width=640, height=480)},
            {"url": PHOTO, "filename": "cat.jpg", "size": {"width": 640, "height": 480}},
        ),
        "audio": (
            {
                "audio": v1.AudioContent(
                    file=v1.FileRef(uuid=STORED, secret="AbC_dEf-123"), filename="hello.amr", duration_seconds=3
                )
            },
            {"url": f"/chatfiles/{STORED}", "secret": "AbC_dEf-123", "filename": "hello.amr", "length": 3},
        ),
        "video": (
            {
                "video": v1.VideoContent(
                    file=v1.FileRef(uuid=STORED),
                    filename="cat.mp4",
                    thumbnail=photo,
                    duration_seconds=12,
                    size_bytes=5_000_000_000,
                )
            },
            {
                "url": f"/chatfiles/{STORED}",
                "filename": "cat.mp4",
                "thumb": PHOTO,
                "length": 12,
                "file_length": 5_000_000_000,
            },
        ),
        "file": ({"file": v1.FileContent(file=photo, filename="cat.jpg")}, {"url": PHOTO, "filename": "cat.jpg"}),
        "loc": (
            {"location": v1.LocationContent(latitude=39.9042, longitude=116.4074, address="Tian'anmen")},
            {"lat": "39.9042", "lng": "116.4074", "addr": "Tian'anmen"},
        ),
        "cmd": ({"command": v1.CommandContent(action="refresh")}, {"action": "refresh"}),
        "custom": (
            {"custom": v1.CustomContent(event="order/paid", attributes={"order": "7", "amount": "9.90"})},
            {"customEvent": "order/paid", "customExts": {"order": "7", "amount": "9.90"}},
        ),
    }


TYPES = ["txt", "img", "audio", "video", "file", "loc", "cmd", "custom"]


def a_number() -> str:
    """An ID of a group or room that no other test sends to."""
    return str(uuid.uuid4().int % 10**14 + 10**14)


def targets(v1) -> dict:
    """One of each kind: the fields of a Message, who is told as accepted, the members, and how to ask the sandbox."""
    users = [f"amy-{a_number()}", f"ben-{a_number()}"]
    groups, rooms = [a_number(), a_number()], [a_number(), a_number()]
    member = f"cat-{a_number()}"
    return {
        "users": ({"users": v1.Users(user_ids=users)}, users, [], {"user": users[0]}),
        "groups": ({"groups": v1.Groups(group_ids=groups)}, groups, [], {"group": groups[0]}),
        "chatrooms": ({"chatrooms": v1.Chatrooms(chatroom_ids=rooms)}, rooms, [], {"chatroom": rooms[0]}),
        "members of a group": (
            {"groups": v1.Groups(group_ids=groups[:1], member_ids=[member])},
            groups[:1],
            [member],
            {"user": member, "group": groups[0]},
        ),
        "members of a room": (
            {"chatrooms": v1.Chatrooms(chatroom_ids=rooms[:1], member_ids=[member])},
            rooms[:1],
            [member],
            {"user": member, "chatroom": rooms[0]},
        ),
    }


KINDS = ["users", "groups", "chatrooms", "members of a group", "members of a room"]


@pytest.mark.parametrize("rest_type", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_each_type_reaches_each_kind_of_target(stub, v1, gateway, kind, rest_type):
    target, recipients, members, query = targets(v1)[kind]
    content, body = contents(v1)[rest_type]
    message = v1.Message(from_user_id="alice", **target, **content)

    answer = stub.SendMessage(v1.SendMessageRequest(message=message), timeout=CALL_SECONDS)

    assert not answer.failures
    assert not answer.replayed
    ids = {accepted.recipient: accepted.message_id for accepted in answer.accepted}
    assert sorted(ids) == sorted(recipients)
    assert all(message_id.isdigit() for message_id in ids.values()), ids
    assert len(set(ids.values())) == len(ids), f"the same id twice: {ids}"

    (held,) = gateway.messages(**query)
    assert held["ids"] == ids
    assert held["members"] == members
    assert held["from"] == "alice"
    assert held["type"] == rest_type
    # The host of a stored file is the sandbox's own.
    if body.get("url", "").startswith("/"):
        assert held["body"].pop("url").endswith(body.pop("url"))
    assert held["body"] == body


def test_the_accept_time_is_the_servers(stub, v1, someone):
    message = v1.Message(users=v1.Users(user_ids=[someone]), text=v1.TextContent(text="when?"))
    answer = stub.SendMessage(v1.SendMessageRequest(message=message), timeout=CALL_SECONDS)
    assert answer.accepted[0].accept_time.seconds > 1_700_000_000


def test_the_extension_is_passed_on(stub, v1, gateway, someone):
    extension = struct_pb2.Struct()
    json_format.ParseDict({"order": 5, "tags": ["a", None], "rate": 0.5}, extension)
    message = v1.Message(
        users=v1.Users(user_ids=[someone]), text=v1.TextContent(text="see ext"), ext=extension, silent=True
    )
    stub.SendMessage(v1.SendMessageRequest(message=message), timeout=CALL_SECONDS)
    (held,) = gateway.messages(user=someone)
    assert held["ext"] == {"order": 5, "tags": ["a", None], "rate": 0.5, "em_ignore_notification": True}
    assert isinstance(held["ext"]["order"], int), "5, not 5.0"


def test_extension_text_keeps_its_digits(stub, v1, gateway, someone):
    message = v1.Message(
        users=v1.Users(user_ids=[someone]),
        text=v1.TextContent(text="see ext"),
        ext_json='{"id": 9007199254740993}',
    )
    stub.SendMessage(v1.SendMessageRequest(message=message), timeout=CALL_SECONDS)
    (held,) = gateway.messages(user=someone)
    assert held["ext"] == {"id": 9007199254740993}


def test_requests_may_be_compressed(stub, v1, gateway, someone):
    message = v1.Message(users=v1.Users(user_ids=[someone]), text=v1.TextContent(text="long " * 400))
    answer = stub.SendMessage(
        v1.SendMessageRequest(message=message), timeout=CALL_SECONDS, compression=grpc.Compression.Gzip
    )
    assert len(answer.accepted) == 1
    assert len(gateway.messages(user=someone)) == 1


def test_many_messages_over_one_stream(stub, v1, gateway, someone):
    def requests():
        for i in range(20):
            message = v1.Message(users=v1.Users(user_ids=[f"{someone}-{i}"]), text=v1.TextContent(text=f"{i}"))
            yield v1.SendMessagesRequest(correlation_id=f"{i}", request=v1.SendMessageRequest(message=message))
        yield v1.SendMessagesRequest(correlation_id="wrong", request=v1.SendMessageRequest())

    answers = {answer.correlation_id: answer for answer in stub.SendMessages(requests(), timeout=CALL_SECONDS)}

    assert len(answers) == 21
    wrong = answers.pop("wrong")
    assert wrong.failure.reason == v1.ERROR_REASON_INVALID_REQUEST
    assert wrong.failure.state == v1.SEND_STATE_NOT_SENT
    for i, answer in answers.items():
        assert [accepted.recipient for accepted in answer.response.accepted] == [f"{someone}-{i}"]
        assert len(gateway.messages(user=f"{someone}-{i}")) == 1
