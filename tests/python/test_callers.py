"""Keys, TLS and client certificates, through gRPC's own Python client and certificates of OpenSSL's making."""

import datetime
import hashlib
import ipaddress
import types

import grpc
import pytest
from conftest import CALL_SECONDS, Gateway
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.rpc import error_details_pb2
from grpc_status import rpc_status

KEY = "egk_of-a-python-client"
IDENTITY = "spiffe://acme.example/python"
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


class Authority:
    def __init__(self, name: str):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = self.builder(self.name, self.key.public_key(), NOW + DAY)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = builder.add_extension(constraints, critical=True).sign(self.key, hashes.SHA256())

    def builder(self, subject: x509.Name, key, until: datetime.datetime) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 2 * DAY)
            .not_valid_after(until)
        )

    def issue(self, name: x509.GeneralName, until: datetime.datetime = NOW + DAY) -> types.SimpleNamespace:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self.builder(x509.Name([]), key.public_key(), until)
        names = x509.SubjectAlternativeName([name])
        certificate = builder.add_extension(names, critical=True).sign(self.key, hashes.SHA256())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return types.SimpleNamespace(certificate=as_pem(certificate), key=pem)


def as_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


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
