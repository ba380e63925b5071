"""TLS and mTLS from files, which are read again when they change.

gRPC asks the server's fetcher for the certificate at each handshake. A channel can't change its credentials, so the
client makes a new channel (client.py). gRPC itself accepts TLS 1.2 and later only.
"""

import logging
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path

import grpc

from shared.auth import files as stamped
from shared.config import ClientSecurity, ConfigError, ServerSecurity

log = logging.getLogger(__name__)

SYSTEM = "system"
"""The value of BRAIN2_TLS_CA for the authorities that gRPC brings along."""


class ServerCertificates:
    """The certificate, key and client authorities of a server."""

    def __init__(self, config: ServerSecurity) -> None:
        self._paths = [config.tls_cert, config.tls_key] + ([config.tls_client_ca] if config.tls_client_ca else [])
        self._stamp = self._refused = stamped.stamp(self._paths)
        self._mutual = bool(config.tls_client_ca)
        self._lock = threading.Lock()
        try:
            self._current = self._read()
        except (OSError, ssl.SSLError) as error:
            files = {
                "BRAIN2_TLS_CERT": config.tls_cert,
                "BRAIN2_TLS_KEY": config.tls_key,
                "BRAIN2_TLS_CLIENT_CA": config.tls_client_ca,
            }
            raise _unusable(files, error) from None

    def credentials(self) -> grpc.ServerCredentials:
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._current,
            self.fetch,  # type: ignore[arg-type]  # the stubs don't know that None means "unchanged"
            require_client_authentication=self._mutual,
        )
        return credentials

    def fetch(self) -> "grpc.ServerCertificateConfiguration | None":
        """The files' present content, or None when nothing has changed. gRPC calls it in threads of its own."""
        with self._lock:
            return self._fetch()

    def _fetch(self) -> "grpc.ServerCertificateConfiguration | None":
        stamp = stamped.stamp(self._paths)
        if stamp in (self._stamp, self._refused):
            return None
        try:
            self._current = self._read()
        except (OSError, ssl.SSLError) as error:
            # Also while the files are being replaced one by one: they are read again when they have changed.
            self._refused = stamp
            log.warning("the TLS files can't be used, the former ones stay in use: %s", error)
            return None
        self._stamp = self._refused = stamp
        log.info("the TLS files were read again")
        return self._current

    def _read(self) -> "grpc.ServerCertificateConfiguration":
        certificate, key, *authorities = self._paths
        chain = _pair(certificate, key)
        roots = Path(authorities[0]).read_bytes() if authorities else None
        if authorities:
            ssl.create_default_context(cafile=authorities[0])
        return grpc.ssl_server_certificate_configuration([chain], roots)


def server_credentials(config: ServerSecurity) -> grpc.ServerCredentials | None:
    """The credentials of the server; None without BRAIN2_TLS_CERT. ConfigError when the files can't be used."""
    if not config.tls_cert:
        if config.tls_client_ca:
            raise ConfigError(["BRAIN2_TLS_CLIENT_CA needs BRAIN2_TLS_CERT and BRAIN2_TLS_KEY"])
        return None
    if not config.tls_key:
        raise ConfigError(["BRAIN2_TLS_CERT needs BRAIN2_TLS_KEY"])
    return ServerCertificates(config).credentials()


def client_files(config: ClientSecurity) -> list[str]:
    """The files that a channel's credentials are made of; empty when calls don't use TLS."""
    if not config.tls_ca:
        return []
    return [path for path in (config.tls_ca, config.tls_cert, config.tls_key) if path and path != SYSTEM]


def client_credentials(config: ClientSecurity) -> grpc.ChannelCredentials | None:
    """The credentials of a channel; None without BRAIN2_TLS_CA. ConfigError when the files can't be used."""
    if not config.tls_ca:
        return None
    if bool(config.tls_cert) != bool(config.tls_key):
        raise ConfigError(["BRAIN2_TLS_CERT and BRAIN2_TLS_KEY belong together: set both, or none"])
    try:
        roots = None if config.tls_ca == SYSTEM else Path(config.tls_ca).read_bytes()
        if roots is not None:
            ssl.create_default_context(cafile=config.tls_ca)
        key, chain = _pair(config.tls_cert, config.tls_key) if config.tls_cert else (None, None)
    except (OSError, ssl.SSLError) as error:
        files = {"BRAIN2_TLS_CA": config.tls_ca, "BRAIN2_TLS_CERT": config.tls_cert, "BRAIN2_TLS_KEY": config.tls_key}
        raise _unusable(files, error) from None
    return grpc.ssl_channel_credentials(roots, key, chain)


def _unusable(files: Mapping[str, str], error: OSError) -> ConfigError:
    """The error names the variables and files, since OpenSSL's own text doesn't: [SSL] PEM lib (_ssl.c:3900).

    files: variable -> path, which may be empty.
    """
    given = {name: path for name, path in files.items() if path and path != SYSTEM}
    missing = {name: path for name, path in given.items() if not Path(path).is_file()}
    if missing:
        why = "there is no such file"
    elif isinstance(error, ssl.SSLError):
        why = f"it is not PEM, or the key is not that of the certificate ({error.reason or error})"
    else:
        why = f"it can't be read: {error.strerror or error}"
    return ConfigError([f"{', '.join(f'{name}={path}' for name, path in (missing or given).items())}: {why}"])


def _pair(certificate: str, key: str) -> tuple[bytes, bytes]:
    """The bytes of the key and the certificate; ssl.SSLError when they don't belong together."""
    # Without a password OpenSSL would ask the terminal for that of an encrypted key, and wait.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    return Path(key).read_bytes(), Path(certificate).read_bytes()
