"""What an error says, from its typed details."""

from dataclasses import dataclass, field

import grpc
from easemob.messaging.v1.messaging_service_pb2 import UploadedMedia
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from grpc_status import rpc_status


@dataclass
class Problem:
    code: str
    reason: str = "no ErrorInfo"
    # Without word of the gateway, nobody knows: a proxy or a timer may have made the error.
    send_state: str = "MAYBE_SENT"
    fields: list[str] = field(default_factory=list)
    retry_after: float | None = None
    uploaded: UploadedMedia | None = None

    def __str__(self) -> str:
        text = f"{self.code} {self.reason}" + (f" {self.send_state}" if self.send_state else "")
        if self.fields:
            text += ", fields " + ", ".join(self.fields)
        if self.retry_after is not None:
            text += ", tells when to try again"
        if self.uploaded is not None:
            text += f", uploaded {self.uploaded.file.size_bytes} bytes"
        return text


def read(error: grpc.RpcError) -> Problem:
    """Of an error that a call has raised."""
    status = rpc_status.from_call(error)
    return of_status(status) if status else Problem(error.code().name)


def of_status(status: status_pb2.Status) -> Problem:
    """Of a status: that of an error, or one in a SendFailure."""
    problem = Problem(next(code.name for code in grpc.StatusCode if code.value[0] == status.code))
    for detail in status.details:
        if detail.Is(details.ErrorInfo.DESCRIPTOR):
            info = details.ErrorInfo.FromString(detail.value)
            problem.reason = info.reason
            problem.send_state = info.metadata.get("send_state", "")
        elif detail.Is(details.BadRequest.DESCRIPTOR):
            wrong = details.BadRequest.FromString(detail.value).field_violations
            problem.fields = sorted(violation.field for violation in wrong)
        elif detail.Is(details.RetryInfo.DESCRIPTOR):
            problem.retry_after = details.RetryInfo.FromString(detail.value).retry_delay.ToTimedelta().total_seconds()
        elif detail.Is(UploadedMedia.DESCRIPTOR):
            problem.uploaded = UploadedMedia.FromString(detail.value)
    return problem
