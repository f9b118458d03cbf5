"""The connection to a gateway: TLS, the caller's key, and the service config that retries what is safe."""

import os
import pathlib
from urllib.parse import urlsplit

import grpc

SERVICE_CONFIG = pathlib.Path(__file__).parents[4] / "proto/easemob/messaging/v1/service_config.json"


def connect(key: str | None = None) -> grpc.Channel:
    """To the gateway that the environment names; with this key in place of the one there."""
    url = urlsplit(os.environ.get("EASEMOB_GATEWAY_URL", "http://127.0.0.1:50051"))
    options = [("grpc.service_config", SERVICE_CONFIG.read_text())]
    if url.scheme == "http":
        return grpc.insecure_channel(url.netloc, options)
    authority = os.environ.get("EASEMOB_GATEWAY_CA")
    tls = grpc.ssl_channel_credentials(pathlib.Path(authority).read_bytes() if authority else None)
    key = key or caller_key()
    if key:
        tls = grpc.composite_channel_credentials(tls, grpc.access_token_call_credentials(key))
    return grpc.secure_channel(url.netloc, tls, options)


def caller_key() -> str | None:
    if file := os.environ.get("EASEMOB_GATEWAY_KEY_FILE"):
        return pathlib.Path(file).read_text().strip()
    return os.environ.get("EASEMOB_GATEWAY_KEY")
