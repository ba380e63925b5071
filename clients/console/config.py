"""How the console listens and where the services are: the command line, and the environment in its place."""

import argparse
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clients.console.methods import CONTEXTS

DEFAULT_LISTEN = "127.0.0.1:50080"
_DEFAULT_PORTS = dict(zip(CONTEXTS, range(50051, 50055), strict=True))
# It is for operators, and a network may keep the console from it.
_OPTIONAL = ("cleanup",)


class ConfigError(ValueError):
    """The settings do not fit together; the message is one line."""


@dataclass(frozen=True)
class Config:
    """What the console needs.

    host, port: where it listens. Other addresses than loopback need TLS or BRAIN2_INSECURE=1.
    targets: context -> "host:port" of the service. A service that the console does not reach by design has none.
    certificate, key: PEM files for HTTPS. ca: PEM file with the CA of the services; "" means plain connections to them.
    hosts: further values of the Host header that are accepted: names that a proxy or a Service of Kubernetes gives it.
    authorization_servers: URLs of OAuth issuers, for the metadata of the MCP server (RFC 9728).
    public_url: the address under which clients know the console, for the same metadata; "" means url.
    user: whose notes the MCP server serves to a request that names no user and has no token.
    reachable: other machines can reach the console. It then refuses all calls of a service without authentication.
    """

    host: str
    port: int
    targets: Mapping[str, str]
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    hosts: tuple[str, ...] = ()
    authorization_servers: tuple[str, ...] = ()
    public_url: str = ""
    user: str = ""
    reachable: bool = False

    @property
    def url(self) -> str:
        """The address of the console."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{_bracketed(self.host)}:{self.port}"

    @property
    def known_hosts(self) -> frozenset[str]:
        """Every value of the Host header that is this console."""
        own = {_bracketed(self.host), "localhost", "127.0.0.1", "[::1]"}
        return frozenset({f"{name}:{self.port}" for name in own} | set(self.hosts))


def load(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Config:
    """The settings from arguments, and from the environment where there is no argument. Raises ConfigError."""
    parser = argparse.ArgumentParser(prog="python -m clients.console", description="Brain2 over HTTP")
    env = environ.get
    parser.add_argument("--listen", default=env("BRAIN2_CONSOLE_LISTEN", DEFAULT_LISTEN), help="host:port")
    for context in CONTEXTS:
        variable = f"BRAIN2_{context.upper()}_TARGET"
        default = env(variable, f"127.0.0.1:{_DEFAULT_PORTS[context]}")
        without = ', or "none": its RPCs and the exports are refused' if context in _OPTIONAL else ""
        parser.add_argument(
            f"--{context}", default=default, metavar="HOST:PORT", help=f"the service ({variable}){without}"
        )
    parser.add_argument("--tls-certificate", type=Path, default=_path(env("BRAIN2_CONSOLE_TLS_CERTIFICATE")))
    parser.add_argument("--tls-key", type=Path, default=_path(env("BRAIN2_CONSOLE_TLS_KEY")))
    parser.add_argument("--ca", type=Path, default=_path(env("BRAIN2_CONSOLE_CA")), help="CA of the services (PEM)")
    hosts, issuers = _words(env("BRAIN2_CONSOLE_HOSTS")), _words(env("BRAIN2_CONSOLE_AUTHORIZATION_SERVERS"))
    parser.add_argument("--host", action="append", default=hosts, help="a further Host header to accept, with its port")
    parser.add_argument("--authorization-server", action="append", default=issuers, help="URL of an OAuth issuer")
    parser.add_argument(
        "--public-url", default=env("BRAIN2_CONSOLE_PUBLIC_URL", ""), help="as clients know the console"
    )
    parser.add_argument("--user", default=env("BRAIN2_USER", "me"), help="whose notes MCP serves, without a token")
    found = parser.parse_args(argv)
    host, port = _address(found.listen)
    targets = {context: target for context in CONTEXTS if (target := getattr(found, context)) != "none"}
    if missing := set(CONTEXTS) - set(_OPTIONAL) - targets.keys():
        raise ConfigError(
            f"the console needs the {' and the '.join(sorted(missing))} service: only cleanup may be none"
        )
    if (found.tls_certificate is None) != (found.tls_key is None):
        raise ConfigError("TLS needs both --tls-certificate and --tls-key")
    reachable = not _is_loopback(host) and env("BRAIN2_INSECURE") != "1"
    if reachable and found.tls_certificate is None:
        raise ConfigError(
            f"{host} is not a loopback address: notes and tokens would cross the network readable by all. Give "
            "--tls-certificate and --tls-key, or set BRAIN2_INSECURE=1 where the network itself is protected"
        )
    return Config(
        host,
        port,
        targets,
        found.tls_certificate,
        found.tls_key,
        found.ca,
        tuple(found.host),
        tuple(found.authorization_server),
        found.public_url.rstrip("/"),
        found.user,
        reachable,
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"--listen {text!r} is not host:port")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _words(text: str | None) -> list[str]:
    return (text or "").split()
