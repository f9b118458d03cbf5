"""Files through grpcio: what goes in comes out, and a refusal in the middle of an upload is seen as what it is."""

import hashlib
import os

import grpc
import pytest
from conftest import CALL_SECONDS
from test_error import details, failure

CHUNK = 64 * 1024
TEN_MEGABYTES = 10 * 1000 * 1000
# More than the sandbox's app may upload.
TOO_LARGE = 11 * 1024 * 1024
TIMES = 50


def upload_parts(v1, content, filename="cat.jpg", **options):
    header = v1.UploadFileHeader(filename=filename, upload=v1.UploadOptions(**options))
    yield v1.UploadFileRequest(header=header)
    for start in range(0, len(content), CHUNK):
        yield v1.UploadFileRequest(chunk=content[start : start + CHUNK])
    finish = v1.UploadFinish(size_bytes=len(content), sha256=hashlib.sha256(content).digest())
    yield v1.UploadFileRequest(finish=finish)


def message_parts(v1, content, message):
    yield v1.SendMediaMessageRequest(header=v1.MediaHeader(message=message))
    for start in range(0, len(content), CHUNK):
        yield v1.SendMediaMessageRequest(chunk=content[start : start + CHUNK])
    yield v1.SendMediaMessageRequest(finish=v1.UploadFinish(size_bytes=len(content)))


def image_to(v1, *user_ids, **content):
    return v1.Message(users=v1.Users(user_ids=user_ids), image=v1.ImageContent(filename="cat.jpg", **content))


def downloaded(v1, stub, ref):
    parts = list(stub.DownloadFile(v1.DownloadFileRequest(file=ref), timeout=CALL_SECONDS))
    assert parts[0].WhichOneof("part") == "header"
    assert all(part.WhichOneof("part") == "chunk" for part in parts[1:])
    return b"".join(part.chunk for part in parts[1:])


@pytest.mark.parametrize("size", [0, 1, 300_000, TEN_MEGABYTES])
def test_a_file_comes_back_as_it_was(stub, v1, size):
    content = os.urandom(size)
    stored = stub.UploadFile(upload_parts(v1, content, size_bytes=size), timeout=CALL_SECONDS).file
    assert stored.size_bytes == size
    assert stored.sha256 == hashlib.sha256(content).digest()
    assert downloaded(v1, stub, stored.ref) == content


def test_a_message_carries_its_file(stub, v1, gateway, someone):
    content = os.urandom(300_000)
    parts = message_parts(v1, content, image_to(v1, someone))
    answer = stub.SendMediaMessage(parts, timeout=CALL_SECONDS)
    assert len(answer.sent.accepted) == 1
    (message,) = gateway.messages(user=someone)
    assert message["type"] == "img"
    assert message["body"]["url"].endswith(answer.file.ref.uuid)
    assert downloaded(v1, stub, answer.file.ref) == content


def assert_reason(error: grpc.RpcError, reason: str) -> None:
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    assert details(error)["ErrorInfo"].reason == reason


def test_a_file_declared_too_large_is_told_so_every_time(stub, v1):
    content = bytes(TEN_MEGABYTES)
    for _ in range(TIMES):
        parts = upload_parts(v1, content, size_bytes=TOO_LARGE)
        assert_reason(failure(stub.UploadFile, parts), "FILE_TOO_LARGE")


def test_a_wrong_message_is_told_so_every_time(stub, v1, gateway, someone):
    content = bytes(TEN_MEGABYTES)
    # A width without its height.
    wrong = image_to(v1, someone, width=3)
    for _ in range(TIMES):
        error = failure(stub.SendMediaMessage, message_parts(v1, content, wrong))
        assert_reason(error, "INVALID_REQUEST")
    assert gateway.messages(user=someone) == []


def test_a_file_that_grows_too_large_is_told_so_every_time(stub, v1):
    content = bytes(TOO_LARGE)
    for _ in range(TIMES):
        assert_reason(failure(stub.UploadFile, upload_parts(v1, content)), "FILE_TOO_LARGE")
