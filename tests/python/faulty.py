"""An Easemob that acts on messages and then fails to say so, and keeps count of what it has acted on."""

import asyncio
import collections
import itertools
import json
import socket
import struct
import threading

REACH_LIMIT = {"error": "reach_limit", "error_description": "This request has reached api limit"}
SEND_LIMIT = {"error": "message_send_error", "error_description": "message send reach limit"}
# Longer than the gateway waits.
LATE_SECONDS = 2

# What it answers, and whether it has acted on the message before.
FAULTS = {
    "500": True,
    "502": True,
    "503": True,
    "408": True,
    "redirect": True,
    "nobody": True,
    "truncated": True,
    "late": True,
    "close": True,
    "reset": True,
    "429": False,
    "403": False,
}


class FaultyEasemob:
    """Answers one send in `often` with the next of FAULTS, the others after `seconds`. `acted` has the messages by recipient."""

    def __init__(self, often: int, seconds: float = 0):
        self.often, self.seconds = often, seconds
        # A refusal makes a gateway pause: after one of each, it is called again and again for the others.
        self.faults = itertools.chain(FAULTS, itertools.cycle(fault for fault, acted in FAULTS.items() if acted))
        self.sends = itertools.count(1)
        self.acted, self.played = collections.Counter(), collections.Counter()
        # In a thread of its own from the start: the browser's driver keeps a loop in the main one.
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        listening = asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.server = asyncio.run_coroutine_threadsafe(listening, self.loop).result()
        self.url = "http://127.0.0.1:{}".format(self.server.sockets[0].getsockname()[1])

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def end(self) -> None:
        self.server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def serve(self, reader, writer) -> None:
        try:
            while await self.answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, reader, writer) -> bool:
        """Answers one request, and says whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        (length,) = [line.split(":")[1] for line in head.split("\r\n") if line.startswith("content-length:")]
        body = json.loads(await reader.readexactly(int(length)))
        if head.split()[1].endswith("/token"):
            return self.write(writer, 200, {"access_token": "token", "expires_in": 86400})
        fault = "" if next(self.sends) % self.often else next(self.faults)
        self.played[fault] += 1
        if FAULTS.get(fault, True):
            self.acted.update(body["to"])
        return await self.fail(fault, body, writer)

    async def fail(self, fault: str, body: dict, writer) -> bool:
        fine = {"data": {each.lower(): "1136000000000000000" for each in body["to"]}}
        match fault:
            case "":
                await asyncio.sleep(self.seconds)
                return self.write(writer, 200, fine)
            case "429":
                return self.write(writer, 429, REACH_LIMIT)
            case "403":
                return self.write(writer, 403, SEND_LIMIT)
            case "redirect":
                return self.write(writer, 302, {}, "location: http://127.0.0.1:9/\r\n")
            case "nobody":
                return self.write(writer, 200, {"data": {}})
            case "truncated":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
                return False
            case "late":
                await asyncio.sleep(LATE_SECONDS)
                return self.write(writer, 200, fine)
            case "close":
                return False
            case "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return False
            case _:
                return self.write(writer, int(fault), {"error": "internal", "error_description": "try later"})

    def write(self, writer, status: int, body: dict, headers: str = "") -> bool:
        body = json.dumps(body)
        head = f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        writer.write((head + body).encode())
        return True
