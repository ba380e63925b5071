"""The config of a process: frozen dataclasses that are read from the environment and checked before anything starts.

Each field names its variable and its purpose. load() reports all wrong variables at once, so that an operator can mend
a deployment in one step. An empty variable means the default, because manifests can't leave a variable out. pydantic-
settings was considered: it reports wrong fields but not their variables, and is one more compiled dependency.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints
from urllib.parse import urlsplit

from protos.table import OUTBOX_SHARDS

MISSING = dataclasses.MISSING
T = TypeVar("T")
# A check returns None for an allowed value, and else a text that says what is allowed.
Check = Callable[[Any], str | None]
_KEY = "brain2.env"


class ConfigError(Exception):
    """The environment is wrong. problems: one line for each wrong variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclasses.dataclass(frozen=True)
class _EnvField:
    env: str
    why: str
    parse: Callable[[str], Any] | None
    check: Check | None
    secret: bool


def env_field(
    default: Any = MISSING,
    *,
    env: str,
    why: str,
    parse: Callable[[str], Any] | None = None,
    check: Check | None = None,
    secret: bool = False,
) -> Any:
    """A dataclass field that load() reads from the variable `env`. Without a default the variable is required.

    why: the purpose of the variable, for errors and for the docs.
    parse: makes the value from the text, and raises ValueError. Without it the field's annotation decides (str, int,
        float or bool).
    check: says what is allowed when the value isn't.
    secret: the value is shown neither in errors nor in the repr.
    """
    metadata = {_KEY: _EnvField(env, why, parse, check, secret)}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def load(cls: type[T], env: Mapping[str, str] = os.environ) -> T:
    """Make an instance of the class from the environment. Raises ConfigError with every wrong variable."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, declared, kind, default in _fields(cls):
        text = env.get(declared.env, "").strip()
        if not text:
            if default is MISSING:
                problems.append(f"{declared.env} is required: {declared.why}")
            continue
        try:
            value = (declared.parse or _PARSERS[kind])(text)
            allowed = declared.check(value) if declared.check else None
        except ValueError as error:
            allowed = str(error) or "something else"
        if allowed:
            shown = "its value (not shown)" if declared.secret else repr(text)
            problems.append(f"{declared.env}: {shown} is not allowed, it must be {allowed} ({declared.why})")
        else:
            values[name] = value
    if problems:
        raise ConfigError(problems)
    return cls(**values)


def describe(cls: type[Any]) -> str:
    """The variables of a config class as a Markdown table, for the docs and for --help."""
    lines = ["| variable | default | why |", "|---|---|---|"]
    for _, declared, _, default in _fields(cls):
        shown = "(required)" if default is MISSING else "(empty)" if default == "" else f"`{default}`"
        lines.append(f"| {declared.env} | {shown} | {declared.why} |")
    return "\n".join(lines)


def _fields(cls: type[Any]) -> list[tuple[str, _EnvField, Any, Any]]:
    hints = get_type_hints(cls)
    return [
        (field.name, field.metadata[_KEY], hints[field.name], field.default)
        for field in dataclasses.fields(cls)
        if _KEY in field.metadata
    ]


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError("0 or 1")


def _number(kind: type[int] | type[float], allowed: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(allowed) from None

    return parse


_PARSERS: Mapping[Any, Callable[[str], Any]] = {
    str: str,
    int: _number(int, "a whole number"),
    float: _number(float, "a number"),
    bool: _boolean,
}


def between(low: float, high: float) -> Check:
    """Allow the numbers from low to high, both included; NaN is not allowed."""
    return lambda value: None if low <= value <= high else f"between {low:g} and {high:g}"


def at_least(low: float) -> Check:
    return lambda value: None if low <= value < float("inf") else f"at least {low:g}"


def one_of(*allowed: str) -> Check:
    return lambda value: None if value in allowed else "one of " + ", ".join(allowed)


def url(*schemes: str) -> Check:
    """Allow an address that has one of these schemes and a host."""

    def check(value: str) -> str | None:
        wanted = "an address like " + " or ".join(f"{scheme}://host:port" for scheme in schemes)
        try:
            parts = urlsplit(value)
            sound = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            sound = False
        return None if sound else wanted

    return check


def host_port(value: str) -> str | None:
    """Check an address to listen on: host:port or [v6]:port."""
    matched = re.fullmatch(r"(?:[^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})", value)
    return None if matched and int(matched[1]) <= 65535 else "host:port"


def target(value: str) -> str | None:
    """Check the address of a gRPC server: host:port, [v6]:port, unix:path, or a resolver's dns:///host:port."""
    if re.fullmatch(r"unix:.+|(dns|ipv4|ipv6|unix-abstract|xds):\S+", value):
        return None
    return None if host_port(value) is None else "host:port or unix:/path"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClientSecurity:
    """How a process proves who it is, and checks whom it calls: the services and the tools alike."""

    token: str = env_field(
        "", env="BRAIN2_TOKEN", why="the bearer token of the calls that this process makes", secret=True
    )
    token_file: str = env_field(
        "", env="BRAIN2_TOKEN_FILE", why="a file with that token; it is read again when it changes"
    )
    tls_ca: str = env_field(
        "",
        env="BRAIN2_TLS_CA",
        why="PEM file of the authorities that sign the servers' certificates, `system` for the usual ones; set, calls "
        "use TLS",
    )
    tls_cert: str = env_field(
        "",
        env="BRAIN2_TLS_CERT",
        why="PEM file of this process's certificate and its chain; a server that has one uses TLS",
    )
    tls_key: str = env_field("", env="BRAIN2_TLS_KEY", why="PEM file of the certificate's private key")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerSecurity(ClientSecurity):
    """Who may call a server."""

    auth: str = env_field(
        "none",
        env="BRAIN2_AUTH",
        why="how callers prove who they are: none, preshared (BRAIN2_AUTH_KEYS), or oidc (JWTs, and those keys)",
        check=one_of("none", "preshared", "oidc"),
    )
    insecure: bool = env_field(
        False,
        env="BRAIN2_INSECURE",
        why="1 lets a server without authentication, or without TLS, listen where other machines can reach it",
    )
    auth_keys: str = env_field(
        "",
        env="BRAIN2_AUTH_KEYS",
        why="JSON file of the preshared keys and TLS identities; it is read again when it changes",
    )
    oidc_issuer: str = env_field("", env="BRAIN2_OIDC_ISSUER", why="what the claim iss of a JWT must be")
    oidc_audience: str = env_field("", env="BRAIN2_OIDC_AUDIENCE", why="what the claim aud of a JWT must contain")
    oidc_jwks: str = env_field(
        "", env="BRAIN2_OIDC_JWKS", why="file or http(s) URL of the issuer's public keys (a JWKS)"
    )
    oidc_leeway_seconds: float = env_field(
        30.0,
        env="BRAIN2_OIDC_LEEWAY_SECONDS",
        why="seconds by which the issuer's clock may differ, for exp and nbf",
        check=between(0, 300),
    )
    oidc_user_claim: str = env_field("sub", env="BRAIN2_OIDC_USER_CLAIM", why="the claim with the user_id")
    oidc_scope_claim: str = env_field(
        "scope", env="BRAIN2_OIDC_SCOPE_CLAIM", why="the claim with the scopes, a text with spaces or a list"
    )
    oidc_scope_prefix: str = env_field(
        "", env="BRAIN2_OIDC_SCOPE_PREFIX", why="what stands before Brain2's scopes in that claim, such as `brain2.`"
    )
    user_rate: float = env_field(
        0.0,
        env="BRAIN2_USER_RATE",
        why="calls a second of one user, over all callers and replicas; needs BRAIN2_AUTH; 0 = not limited",
        check=at_least(0),
    )
    user_burst: int = env_field(
        100, env="BRAIN2_USER_BURST", why="calls of one user that may come at once", check=between(1, 1_000_000)
    )
    caller_rate: float = env_field(
        0.0,
        env="BRAIN2_CALLER_RATE",
        why="calls a second of one caller (a token's user, or a key), for whichever users; 0 = not limited",
        check=at_least(0),
    )
    caller_burst: int = env_field(
        1000,
        env="BRAIN2_CALLER_BURST",
        why="calls of one caller that may come at one time",
        check=between(1, 1_000_000),
    )
    tls_client_ca: str = env_field(
        "",
        env="BRAIN2_TLS_CLIENT_CA",
        why="PEM file of the authorities that sign callers' certificates; set, every caller must have one (mTLS)",
    )
    health_listen: str = env_field(
        "",
        env="BRAIN2_HEALTH_LISTEN",
        why="where health alone is served, without TLS, for probes that have no certificate; empty = nowhere",
        check=target,
    )
    reflection: bool = env_field(
        False, env="BRAIN2_REFLECTION", why="1 answers gRPC reflection, which describes the API to anybody"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerConfig(ServerSecurity):
    """The config that the processes of all services need."""

    listen: str = env_field(
        "127.0.0.1:50051",
        env="BRAIN2_LISTEN",
        why="where the gRPC server listens, host:port or unix:/path; loopback unless you open it",
        check=target,
    )
    drain_seconds: float = env_field(
        10.0,
        env="BRAIN2_DRAIN_SECONDS",
        why="how long running calls may go on after SIGTERM; keep it under the pod's termination grace period",
        check=between(0, 45),  # the whole drain may take 60 s (lifecycle.py)
    )
    max_concurrent_rpcs: int = env_field(
        1024,
        env="BRAIN2_MAX_CONCURRENT_RPCS",
        why="calls beyond it are turned away with RESOURCE_EXHAUSTED instead of slowing all the others down",
        check=at_least(1),
    )
    max_subscriptions: int = env_field(
        1024,
        env="BRAIN2_MAX_SUBSCRIPTIONS",
        why="subscriptions (WatchEdges) that are served at one time, apart from other calls; a connection may have a "
        "quarter of them, and so may a caller",
        check=at_least(1),
    )
    max_bulk_rpcs: int = env_field(
        16,
        env="BRAIN2_MAX_BULK_RPCS",
        why="bulk calls (exports, warming, reindexing) that are served at one time; a connection may have half of "
        "them, and so may a caller",
        check=at_least(1),
    )
    max_inflight_bytes: int = env_field(
        0,
        env="BRAIN2_MAX_INFLIGHT_BYTES",
        why="bytes of requests and answers of all running calls of a process; 0 = a quarter of the container's memory "
        "limit, or of 1 GiB without one, divided by BRAIN2_WORKERS",
        check=at_least(0),
    )
    max_message_bytes: int = env_field(
        4 * 1024 * 1024,
        env="BRAIN2_MAX_MESSAGE_BYTES",
        why="the largest request or response; each one is held in memory whole",
        check=between(1024, 256 * 1024 * 1024),
    )
    token_secret: str = env_field(
        "",
        env="BRAIN2_TOKEN_SECRET",
        why="signs page, resume and consistency tokens, the same for all replicas; several separated by commas: the "
        "first signs, all verify; empty = not signed",
        secret=True,
    )
    default_deadline_seconds: float = env_field(
        30.0,
        env="BRAIN2_DEFAULT_DEADLINE_SECONDS",
        why="the deadline of calls whose caller sets none, so that nothing hangs for ever",
        check=between(0.1, 3600),
    )
    slow_call_seconds: float = env_field(
        1.0,
        env="BRAIN2_SLOW_CALL_SECONDS",
        why="calls that take longer are logged at INFO",
        check=at_least(0),
    )
    max_connection_age_seconds: float = env_field(
        300.0,
        env="BRAIN2_MAX_CONNECTION_AGE_SECONDS",
        why="connections are closed gently after it, so that clients find replicas that came later; 0 = never",
        check=between(0, 86400),
    )
    max_connection_age_grace_seconds: float = env_field(
        30.0,
        env="BRAIN2_MAX_CONNECTION_AGE_GRACE_SECONDS",
        why="how long calls on an aged connection may still run",
        check=between(1, 86400),
    )
    workers: int = env_field(
        1,
        env="BRAIN2_WORKERS",
        why="processes of this service that share its port, each with its own memory and one core; needs Linux",
        check=between(1, 64),
    )
    reuse_port: bool = env_field(
        False,
        env="BRAIN2_REUSE_PORT",
        why="1 lets several processes of one machine share the port (SO_REUSEPORT)",
    )
    trace_ratio: float = env_field(
        0.01,
        env="BRAIN2_TRACE_RATIO",
        why="the share of traces that are recorded when the caller hasn't decided",
        check=between(0, 1),
    )
    otlp_endpoint: str = env_field(
        "",
        env="OTEL_EXPORTER_OTLP_ENDPOINT",
        why="the OTLP gRPC collector that gets the spans and the metrics; empty = none are recorded",
        check=url("http", "https"),
    )
    metrics_seconds: float = env_field(
        30.0,
        env="BRAIN2_METRICS_SECONDS",
        why="how often the metrics are read and sent",
        check=between(0.1, 3600),
    )
    metrics_listen: str = env_field(
        "",
        env="BRAIN2_METRICS_LISTEN",
        why="where GET /metrics answers Prometheus, host:port; empty = nowhere",
        check=host_port,
    )
    log_level: str = env_field(
        "INFO",
        env="BRAIN2_LOG_LEVEL",
        why="DEBUG logs each call",
        parse=str.upper,
        check=one_of("DEBUG", "INFO", "WARNING", "ERROR"),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandConfig:
    """What a command-line tool reads for its own trace."""

    trace_ratio: float = env_field(
        1.0, env="BRAIN2_TRACE_RATIO", why="the share of the runs that are recorded", check=between(0, 1)
    )
    otlp_endpoint: str = env_field(
        "",
        env="OTEL_EXPORTER_OTLP_ENDPOINT",
        why="the OTLP gRPC collector that gets the spans; empty = the services decide for each call",
        check=url("http", "https"),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """The stores, which all services share."""

    region: str = env_field(env="AWS_REGION", why="the region of the table, bus, queues and bucket")
    dynamodb_endpoint: str = env_field(
        "", env="DYNAMODB_ENDPOINT", why="DynamoDB's address; empty = AWS's own", check=url("http", "https")
    )
    eventbridge_endpoint: str = env_field(
        "", env="EVENTBRIDGE_ENDPOINT", why="EventBridge's address; empty = AWS's own", check=url("http", "https")
    )
    sqs_endpoint: str = env_field(
        "", env="SQS_ENDPOINT", why="SQS's address; empty = AWS's own", check=url("http", "https")
    )
    s3_endpoint: str = env_field(
        "", env="S3_ENDPOINT", why="S3's address; empty = AWS's own", check=url("http", "https")
    )
    table: str = env_field("Brain2-Main", env="BRAIN2_TABLE", why="the DynamoDB table that holds everything")
    outbox_shards: int = env_field(
        OUTBOX_SHARDS,
        env="BRAIN2_OUTBOX_SHARDS",
        why="partitions of each service's outbox, the same for all services; it may be raised, cleanup first, and is "
        "never lowered (docs/outbox.md)",
        check=between(OUTBOX_SHARDS, 1024),
    )
    event_bus: str = env_field(env="BRAIN2_EVENT_BUS", why="the EventBridge bus that carries the events")
    redis_url: str = env_field(
        env="REDIS_URL",
        why="the Redis or Valkey that caches; the services work without it, but slower",
        check=url("redis", "rediss"),
        secret=True,
    )
    redis_cluster: bool = env_field(
        False, env="BRAIN2_REDIS_CLUSTER", why="1 when REDIS_URL is a node of a cluster (ElastiCache with shards)"
    )
