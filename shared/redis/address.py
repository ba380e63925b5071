"""Parses a Redis URL: host, credentials, database, verification of the certificate."""

import ssl
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and how to log in."""

    host: str
    port: int
    username: str = ""
    password: str = ""
    database: int = 0
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def beside(self, host: str, port: int) -> "Address":
        """Another server of the same cluster: credentials and TLS are the same."""
        return replace(self, host=host, port=port)

    def greeting(self, name: str) -> list[tuple[str, ...]]:
        """The commands that a new connection starts with."""
        commands: list[tuple[str, ...]] = []
        if self.password:
            commands.append(("AUTH", self.username, self.password) if self.username else ("AUTH", self.password))
        if self.database:
            commands.append(("SELECT", str(self.database)))
        # CLIENT SETNAME takes no spaces; the name is for operators who look at CLIENT LIST.
        commands.append(("CLIENT", "SETNAME", name))
        return commands


def parse(url: str) -> Address:
    """The address in a URL redis:// or rediss:// (TLS).

    The path or ?db= is the database. ?ssl_ca_certs=, ?ssl_cert_reqs=none and ?ssl_check_hostname=false are redis-py's.
    ValueError names what is wrong, without the password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError("a Redis URL starts with redis:// or rediss://")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    database = options.get("db", "") or parts.path.strip("/")
    if database and not database.isdigit():
        raise ValueError("the database in a Redis URL is a number")
    return Address(
        host=parts.hostname or "localhost",
        port=parts.port or 6379,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=int(database or 0),
        tls=_tls(options) if parts.scheme == "rediss" else None,
    )


def url_beside(url: str, host: str, port: int) -> str:
    """The URL of another server of the same cluster: credentials and options are the same."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    shown = f"[{host}]" if ":" in host else host
    return urlunsplit(parts._replace(netloc=f"{login}{at}{shown}:{port}"))


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    required = options.get("ssl_cert_reqs", "required").lower()
    if required not in ("none", "required"):
        raise ValueError("ssl_cert_reqs in a Redis URL is none or required")
    if required == "none" or options.get("ssl_check_hostname", "true").lower() in ("false", "0", "no"):
        context.check_hostname = False
    if required == "none":
        context.verify_mode = ssl.CERT_NONE
    return context
