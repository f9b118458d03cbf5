"""The server beside its methods: health, reflection, the way it stops, and what README says."""

import contextlib
import io
import re
import urllib.request

import grpc
import pytest
from conftest import CALL_SECONDS, ROOT
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import proto_reflection_descriptor_database

SERVICE = "easemob.messaging.v1.MessagingService"


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_serving(channel, service):
    request = health_pb2.HealthCheckRequest(service=service)
    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=CALL_SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service_is_not_found(channel):
    request = health_pb2.HealthCheckRequest(service="easemob.nowhere")
    with pytest.raises(grpc.RpcError) as raised:
        health_pb2_grpc.HealthStub(channel).Check(request, timeout=CALL_SECONDS)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_operations_port_says_alive_and_ready(gateway):
    for path in ("livez", "readyz"):
        with urllib.request.urlopen(f"{gateway.operations}/{path}", timeout=CALL_SECONDS) as answer:
            assert answer.status == 200


def test_reflection_knows_the_contract_and_the_details_of_errors(channel):
    database = proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase(channel)
    assert SERVICE in database.get_services()

    pool = descriptor_pool.DescriptorPool(database)
    methods = {method.name for method in pool.FindServiceByName(SERVICE).methods}
    assert methods >= {"SendMessage", "SendMessages", "SendMediaMessage", "UploadFile", "DownloadFile"}
    for name in (
        "easemob.messaging.v1.UploadedMedia",
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
        "google.rpc.RetryInfo",
        "google.rpc.QuotaFailure",
    ):
        assert pool.FindMessageTypeByName(name).full_name == name


def test_sigterm_ends_with_exit_code_0(own_gateway, v1, someone):
    message = v1.Message(users=v1.Users(user_ids=[someone]), text=v1.TextContent(text="last words"))
    with own_gateway.channel() as channel:
        stub = v1.MessagingServiceStub(channel)
        assert stub.SendMessage(v1.SendMessageRequest(message=message), timeout=CALL_SECONDS).accepted
        # The connection stays open: an idle one must not keep the server.
        assert own_gateway.terminate() == 0, own_gateway.log.read_text()
    assert not own_gateway.is_ready()


def test_the_sample_in_readme_runs(gateway, v1):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert "127.0.0.1:50051" in sample
    before = len(gateway.messages(user="bob"))

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(sample.replace("127.0.0.1:50051", gateway.target), "README.md", "exec"), {})

    assert "bob" in output.getvalue()
    assert len(gateway.messages(user="bob")) == before + 1
