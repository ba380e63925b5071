"""A token issuer of the tests' own, key files, and certificates."""

import datetime
import ipaddress
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER = "https://issuer.test"
AUDIENCE = "brain2"


class Issuer:
    """Signs tokens with the newest of its keys."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.rotate()

    def rotate(self) -> str:
        """Add a key; returns its id."""
        kid = f"key-{len(self.keys)}"
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return kid

    def jwks(self) -> bytes:
        algorithm = jwt.algorithms.RSAAlgorithm
        keys = [
            {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
            for kid, key in self.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()

    def public_pem(self) -> bytes:
        key = list(self.keys.values())[-1].public_key()
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def token(
        self,
        user: str,
        scope: str = "",
        *,
        algorithm: str = "RS256",
        headers: Mapping[str, Any] = MappingProxyType({}),
        **claims: Any,
    ) -> str:
        """A token that is valid for ten minutes; a claim of None is left out. headers: further ones of the JWT."""
        kid, key = list(self.keys.items())[-1]
        return jwt.encode(self.claims(user, scope, **claims), key, algorithm=algorithm, headers={"kid": kid, **headers})

    def claims(self, user: str, scope: str = "", **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": user, "exp": now + 600, "nbf": now - 5, "scope": scope}
        return {name: value for name, value in (claims | changed).items() if value is not None}


def write_keys(path: Path, *entries: dict[str, Any]) -> str:
    """A key file; returns its path."""
    path.write_text(json.dumps({"keys": list(entries)}))
    return str(path)


class Authority:
    """A certificate authority, which writes PEM files into a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._certificate(self._name, self._key.public_key(), ca=True)
        self.path = str(folder / f"{name}.pem")
        Path(self.path).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, uri: str = "") -> tuple[str, str]:
        """Write a certificate for loopback and its key; returns their paths. An issued name is overwritten."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.DNSName(f"{name}.test"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        if uri:
            names.append(x509.UniformResourceIdentifier(uri))
        certificate = self._certificate(subject, key.public_key(), names=names)
        paths = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(paths[0]), str(paths[1])

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool = False, names: Any = ()
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self._key, hashes.SHA256())
