"""Uploads and downloads, chunk by chunk."""

import hashlib
from collections.abc import Callable, Iterator

from easemob.messaging.v1 import message_pb2 as m
from easemob.messaging.v1 import messaging_service_pb2 as s

CHUNK = 64 * 1024
CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).digest()


def upload_parts(
    filename: str, progress: Callable[[int], None] = lambda percent: None, sha256: bytes = SHA256
) -> Iterator[s.UploadFileRequest]:
    """Header, chunks, finish. gRPC takes the next part when there is room for it."""
    options = s.UploadOptions(size_bytes=len(CONTENT))
    yield s.UploadFileRequest(header=s.UploadFileHeader(filename=filename, upload=options))
    for start in range(0, len(CONTENT), CHUNK):
        yield s.UploadFileRequest(chunk=CONTENT[start : start + CHUNK])
        progress((start + CHUNK) * 100 // len(CONTENT))
    yield s.UploadFileRequest(finish=s.UploadFinish(size_bytes=len(CONTENT), sha256=sha256))


def media_parts(user: str) -> Iterator[s.SendMediaMessageRequest]:
    """The same, and the message that carries the file."""
    message = m.Message(users=m.Users(user_ids=[user]), file=m.FileContent(filename="cat.bin"))
    yield s.SendMediaMessageRequest(header=s.MediaHeader(message=message))
    for start in range(0, len(CONTENT), CHUNK):
        yield s.SendMediaMessageRequest(chunk=CONTENT[start : start + CHUNK])
    yield s.SendMediaMessageRequest(finish=s.UploadFinish(size_bytes=len(CONTENT), sha256=SHA256))


def download(stub, ref: m.FileRef) -> tuple[int, bytes]:
    """Size and SHA-256 of what comes back."""
    size, digest = 0, hashlib.sha256()
    for part in stub.DownloadFile(s.DownloadFileRequest(file=ref)):
        if part.WhichOneof("part") == "chunk":
            size += len(part.chunk)
            digest.update(part.chunk)
    return size, digest.digest()
