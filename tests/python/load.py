"""Callers that send at a rate, each message to somebody of its own, and try again only if they are told to."""

import collections
import itertools
import threading
import time
import uuid

import grpc

CLIENTS = 4
ONCE = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]

Sent = collections.namedtuple("Sent", "user trace outcome")


class Load(threading.Thread):
    """Sends from `start` to `finish`; `deadline(number)` is how many seconds the sender waits. With `ids`, each request has one:
    two loads ask for the same messages.
    """

    def __init__(self, v1, target: str, rate: float, deadline, options=ONCE, ids=False):
        super().__init__(daemon=True)
        self.v1, self.ids = v1, ids
        self.channels = [grpc.insecure_channel(target, options) for _ in range(CLIENTS)]
        self.stubs = [v1.MessagingServiceStub(channel) for channel in self.channels]
        self.rate, self.deadline = rate, deadline
        self.sent = []
        self.over = threading.Event()

    def run(self) -> None:
        turn = time.monotonic()
        for number in itertools.count():
            turn += 1 / self.rate
            late = time.monotonic() - turn
            # A machine that stood still does not make up for it by a burst.
            turn += max(0, late - 0.05)
            if self.over.wait(max(0, -late)):
                return
            user, trace = f"user-{number}", uuid.uuid4().hex
            message = self.v1.Message(
                users=self.v1.Users(user_ids=[user]), text=self.v1.TextContent(text="hello")
            )
            outcome = self.stubs[number % CLIENTS].SendMessage.future(
                self.v1.SendMessageRequest(message=message, request_id=user if self.ids else ""),
                timeout=self.deadline(number),
                metadata=[("traceparent", f"00-{trace}-{trace[:16]}-01")],
            )
            self.sent.append(Sent(user, trace, outcome))

    def finish(self) -> list:
        """Ends it, waits for all outcomes, and gives what was sent."""
        self.over.set()
        self.join()
        for each in self.sent:
            # For its outcome, whatever that is.
            each.outcome.exception()
        for channel in self.channels:
            channel.close()
        return self.sent
