"""Certificates of OpenSSL's making, for whoever listens and whoever calls."""

import datetime
import types

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

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
