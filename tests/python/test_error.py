"""What grpcio and grpcio-status read when a call fails."""

import grpc
import pytest
from conftest import CALL_SECONDS
from google.rpc import error_details_pb2
from grpc_status import rpc_status


def failure(call, *arguments, **options) -> grpc.RpcError:
    options.setdefault("timeout", CALL_SECONDS)
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, **options)
    return raised.value


def details(error: grpc.RpcError) -> dict:
    """The details of an error, by the name of their type."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error}"
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    found = {}
    for detail in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest):
            if detail.Is(kind.DESCRIPTOR):
                found[kind.DESCRIPTOR.name] = kind.FromString(detail.value)
    return found


def text_to(v1, *user_ids: str):
    return v1.Message(users=v1.Users(user_ids=user_ids), text=v1.TextContent(text="hello"))


def test_every_wrong_field_is_named_at_once(stub, v1, gateway, someone):
    message = v1.Message(
        users=v1.Users(user_ids=[someone]), location=v1.LocationContent(latitude=91, address="beyond")
    )

    error = failure(stub.SendMessage, v1.SendMessageRequest(message=message))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    info = details(error)["ErrorInfo"]
    assert info.domain == "easemob-gateway"
    assert info.reason == "INVALID_REQUEST"
    assert info.metadata["send_state"] == "NOT_SENT"
    violations = details(error)["BadRequest"].field_violations
    assert {violation.field for violation in violations} == {
        "message.location.latitude",
        "message.location.longitude",
    }
    assert all(violation.description for violation in violations)
    assert gateway.messages(user=someone) == []


def test_a_message_without_target_and_content_is_refused(stub, v1):
    error = failure(stub.SendMessage, v1.SendMessageRequest(message=v1.Message()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error)["ErrorInfo"].reason == "INVALID_REQUEST"
    assert len(details(error)["BadRequest"].field_violations) == 2


def test_an_unknown_app_is_told_by_name(stub, v1, someone):
    error = failure(stub.SendMessage, v1.SendMessageRequest(app="nowhere", message=text_to(v1, someone)))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert details(error)["ErrorInfo"].reason == "APP_NOT_CONFIGURED"
    assert details(error)["ErrorInfo"].metadata["send_state"] == "NOT_SENT"


def test_a_deadline_that_has_passed_is_a_deadline_exceeded(stub, v1, gateway, someone):
    error = failure(stub.SendMessage, v1.SendMessageRequest(message=text_to(v1, someone)), timeout=-1)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gateway.messages(user=someone) == []


@pytest.mark.parametrize("milliseconds", [0, 0.2, 0.5, 1, 2, 3, 5, 8])
def test_a_short_deadline_ends_in_the_truth(stub, v1, gateway, someone, milliseconds):
    request = v1.SendMessageRequest(message=text_to(v1, someone))
    try:
        answer = stub.SendMessage(request, timeout=milliseconds / 1000)
    except grpc.RpcError as error:
        allowed = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN)
        assert error.code() in allowed, error
        # Without details it was grpcio's own timer, which knows nothing of the message.
        if rpc_status.from_call(error) is not None:
            state = details(error)["ErrorInfo"].metadata["send_state"]
            held = len(gateway.messages(user=someone))
            assert held <= (0 if state == "NOT_SENT" else 1)
    else:
        assert len(answer.accepted) == 1
        assert len(gateway.messages(user=someone)) == 1


def test_a_method_that_is_not_in_the_contract_is_unimplemented(channel):
    call = channel.unary_unary("/easemob.messaging.v1.MessagingService/RecallMessage")
    assert failure(call, b"").code() is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_are_refused(channel, stub, v1, someone):
    call = channel.unary_unary("/easemob.messaging.v1.MessagingService/SendMessage")
    error = failure(call, b"\xff\xff\xff\xff")
    # tonic says INTERNAL; what counts is that it is told, and that it could not be sent.
    assert error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT), error
    assert details(error)["ErrorInfo"].metadata["send_state"] == "NOT_SENT"
    assert stub.SendMessage(v1.SendMessageRequest(message=text_to(v1, someone)), timeout=CALL_SECONDS).accepted
