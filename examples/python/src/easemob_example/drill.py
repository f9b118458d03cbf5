"""What the tests try besides: uploads that are refused or given up, and sends while the gateway restarts."""

import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import grpc
from easemob.messaging.v1 import message_pb2 as m
from easemob.messaging.v1 import messaging_service_pb2 as s

from .errors import read
from .files import CHUNK, media_parts

TEN_MB = 10 * 1024 * 1024


def too_large():
    options = s.UploadOptions(size_bytes=TEN_MB + 1)
    yield s.UploadFileRequest(header=s.UploadFileHeader(filename="large.bin", upload=options))
    for _ in range(TEN_MB // CHUNK):
        yield s.UploadFileRequest(chunk=bytes(CHUNK))
    yield s.UploadFileRequest(finish=s.UploadFinish())


def refused(stub, times: str) -> None:
    """Uploads a file that is too large, and counts what it is told."""
    told = Counter()
    for _ in range(int(times)):
        try:
            stub.UploadFile(too_large())
        except grpc.RpcError as error:
            told[str(read(error))] += 1
    for problem, count in sorted(told.items()):
        print(f"{count} × {problem}")


def cancelled(stub, user: str) -> None:
    """Gives up in the middle of a file."""
    on_its_way, given_up = Event(), Event()

    def half():
        for number, part in enumerate(media_parts(user)):
            if number == 8:
                on_its_way.set()
                given_up.wait()
                return
            yield part

    call = stub.SendMediaMessage.future(half())
    on_its_way.wait()
    call.cancel()
    given_up.set()
    print(call.code().name)


def steady(stub, user: str, seconds: str) -> None:
    """Sends for so long, and prints what became of each message."""
    end = time.monotonic() + float(seconds)

    def tell(line: str) -> None:
        # In one piece: several do so at once.
        sys.stdout.write(f"{line}\n")

    def send_on(_):
        while time.monotonic() < end:
            nonce = str(uuid.uuid4())
            message = m.Message(users=m.Users(user_ids=[user]), text=m.TextContent(text=nonce))
            try:
                stub.SendMessage(s.SendMessageRequest(message=message, request_id=nonce))
                tell(f"ok {nonce}")
            except grpc.RpcError as error:
                tell(f"failed {nonce} {read(error)}")

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(send_on, range(4)))
