"""Keys, TLS and client certificates, through gRPC's own Python client and certificates of OpenSSL's making."""

import hashlib
import ipaddress

import grpc
import pytest
from authority import DAY, NOW, Authority, as_pem
from conftest import CALL_SECONDS, Gateway
from cryptography import x509
from google.rpc import error_details_pb2
from grpc_status import rpc_status

KEY = "egk_of-a-python-client"
IDENTITY = "spiffe://acme.example/python"


@pytest.fixture(scope="module")
def authority():
    return Authority("gateway and callers")


@pytest.fixture(scope="module", params=["mtls", "api_key"])
def secure(request, authority, gateway, tmp_path_factory):
    """A gateway with TLS in front of the sandbox of the other one."""
    folder = tmp_path_factory.mktemp(request.param)
    server = authority.issue(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    files = {"tls.crt": server.certificate, "tls.key": server.key, "ca.crt": as_pem(authority.certificate)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    settings = {
        "SERVER__TLS__CERT_FILE": str(folder / "tls.crt"),
        "SERVER__TLS__KEY_FILE": str(folder / "tls.key"),
        "AUTH__MODE": request.param,
        "AUTH__CALLERS__PYTHON__APPS": "shop",
        "AUTH__CALLERS__PYTHON__IDENTITY": IDENTITY,
        "AUTH__CALLERS__PYTHON__KEY_SHA256": hashlib.sha256(KEY.encode()).hexdigest(),
        "APPS__SHOP__ORG_NAME": "sandbox",
        "APPS__SHOP__APP_NAME": "demo",
        "APPS__SHOP__CLIENT_ID": "sandbox-client-id",
        "APPS__SHOP__CLIENT_SECRET_ENV": "SANDBOX_SECRET",
    }
    if request.param == "mtls":
        settings["SERVER__TLS__CLIENT_CA_FILE"] = str(folder / "ca.crt")
    variables = {f"EASEMOB_GATEWAY__{name}": value for name, value in settings.items()}
    secure = Gateway(folder / "log.txt", gateway.sandbox, **variables)
    secure.mode = request.param
    yield secure
    secure.kill()


def channel(gateway: Gateway, authority: Authority, shown=None, key: str = "") -> grpc.Channel:
    certificate = (shown.key, shown.certificate) if shown else (None, None)
    credentials = grpc.ssl_channel_credentials(as_pem(authority.certificate), *certificate)
    if key:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(key))
    return grpc.secure_channel(gateway.target, credentials)


def send(channel: grpc.Channel, v1, someone: str):
    message = v1.Message(users=v1.Users(user_ids=[someone]), text=v1.TextContent(text="hello"))
    return v1.MessagingServiceStub(channel).SendMessage(v1.SendMessageRequest(message=message), timeout=CALL_SECONDS)


def reason(error: grpc.RpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    details = rpc_status.from_call(error).details
    assert any(detail.Unpack(info) for detail in details)
    return info.reason


def test_a_caller_that_proves_who_it_is_sends(secure, authority, gateway, v1, someone):
    shown = authority.issue(x509.UniformResourceIdentifier(IDENTITY)) if secure.mode == "mtls" else None
    key = KEY if secure.mode == "api_key" else ""
    with channel(secure, authority, shown, key) as good:
        assert send(good, v1, someone).accepted
    assert len(gateway.messages(user=someone)) == 1


def test_a_caller_that_nobody_knows_is_told_so(secure, authority, gateway, v1, someone):
    other = x509.UniformResourceIdentifier("spiffe://evil.example/python")
    shown = authority.issue(other) if secure.mode == "mtls" else None
    with channel(secure, authority, shown, "egk_another") as unknown, pytest.raises(grpc.RpcError) as raised:
        send(unknown, v1, someone)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason(raised.value) == "CALLER_UNAUTHENTICATED"
    assert not gateway.messages(user=someone)


@pytest.mark.parametrize("secure", ["mtls"], indirect=True)
@pytest.mark.parametrize("which", ["none", "expired", "foreign"])
def test_a_certificate_that_is_not_good_gets_no_rpc(secure, which, authority, gateway, v1, someone):
    identity = x509.UniformResourceIdentifier(IDENTITY)
    shown = {
        "none": lambda: None,
        "expired": lambda: authority.issue(identity, NOW - DAY),
        "foreign": lambda: Authority("another").issue(identity),
    }[which]()
    with channel(secure, authority, shown) as bad, pytest.raises(grpc.RpcError) as raised:
        send(bad, v1, someone)
    # Of the client's own making: the handshake failed, and no gateway answered.
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert rpc_status.from_call(raised.value) is None
    assert not gateway.messages(user=someone)
