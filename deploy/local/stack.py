"""The whole of Brain2 as processes: stores, provisioned resources, a trace receiver, four services.

They are started and stopped in order, and watched while they run. `up` in __main__.py shows it to a person; end-to-end
tests use it as it is.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import grpc.aio
from botocore.exceptions import BotoCoreError, ClientError
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import processes, provision, stores, traces, web
from deploy.local.console import Console, LaunchError
from protos.node.v1 import node_pb2
from shared.config import ClientSecurity, load
from shared.errors import Brain2Error
from shared.grpc.client import Channels
from shared.grpc.outgoing import Outgoing

SERVICES = ("node", "graph", "similarity", "cleanup")
# These mostly work in the background: nobody waits for a cleanup, and most of what similarity does is to index and link
# what was imported.
_BACKGROUND = ("similarity", "cleanup")
# Time slices in milliseconds: lookups in the graph take a core at once, then come callers, whose slice is the kernel's
# (1.4 ms with two cores), then what works for longer at a time.
_SLICES_MS = {"graph": 0.3, "node": 3.0, "similarity": 5.0, "cleanup": 10.0}
DEFAULT_PORT_BASE = 50051
# Longer than a service's own drain, so that it is killed only when it hangs.
_DRAIN_SECONDS = 65.0
# Generous, because a child that ends is noticed at once, and a slow machine is no failure.
_HEALTHY_SECONDS = 300.0
# DynamoDB deletes expired items within days.
_EXPIRE_SECONDS = 3600.0


def _module(context: str) -> Sequence[str]:
    return (sys.executable, "-m", f"services.{context}_service")


@dataclass(frozen=True)
class Options:
    """How to start a stack."""

    # Everything that it keeps: stores, traces, stack.json. One stack at a time per folder.
    data: Path = stores.ROOT / ".brain2"
    # The services' ports are this one and the three after it; None = free ones.
    port_base: int | None = DEFAULT_PORT_BASE
    log_level: str = "INFO"
    # On one machine every trace is kept; a bulk import asks for less.
    trace_ratio: float = 1.0
    save_seconds: float = 3.0
    # Processes of each service, on one port (BRAIN2_WORKERS).
    workers: int = 1
    # Of the services that mostly work in the background, and of the stores but Redis, above that of the launcher. On
    # busy cores they stand back behind what callers wait for, but also behind other programs.
    niceness: int = 10
    # Start the console, too: RPCs over HTTP, the graph view and the MCP server.
    web: bool = False
    # Added to the environment of every service.
    extra_env: dict[str, str] = field(default_factory=dict)
    # What is executed for a context; the launcher's own tests put stand-ins here.
    command: Callable[[str], Sequence[str]] = _module


@dataclass(frozen=True)
class Stack:
    """A running stack: where everything is."""

    addresses: dict[str, str]
    # Where each service answers GET /metrics.
    metrics: dict[str, str]
    endpoints: stores.Endpoints
    resources: provision.Resources
    traces: Path
    children: dict[str, processes.Child]
    # Starts the service of this context once more with the same configuration, after it was killed.
    restart: Callable[[str], "asyncio.Future[None]"]
    # The URL of the console; empty when there is none.
    console: str = ""

    async def died(self) -> str:
        """Wait for the first child that ends, and say in one line which and how."""
        watched = {child.ended: child for child in self.children.values()}
        done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        return watched[next(iter(done))].obituary()


@contextlib.asynccontextmanager
async def running(options: Options, console: Console) -> AsyncIterator[Stack]:
    """A stack whose services all answer SERVING; on leaving, services stop first, then the stores, which save.

    LaunchError says in one line what kept it from starting; whatever had been started is stopped by then.
    """
    try:
        options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(f"{options.data} can't be used as the folder of the data: {error.strerror}") from error
    async with _Undo() as undo:
        lock = await undo.enter_async_context(_only_one(options.data, console))
        ports = _service_ports(options)
        console.step(f"starting stores, data in {shown(options.data)}")
        store = await stores.start(
            options.data,
            on_line=console.log,
            save_seconds=options.save_seconds,
            niceness=options.niceness,
            held=[lock],
            avoid=[*ports.values(), (options.port_base or 0) + web.PORT_OFFSET],
        )
        undo.push_async_callback(store.stop)
        names = ", ".join(child.name for child in store.children) or "stores"
        console.step(f"{names} answer: {store.endpoints.dynamodb}, {store.endpoints.redis}")
        if store.in_ministack:
            console.step(
                "dynoxide is not installed: ministack serves DynamoDB, slower and saved about every "
                f"{options.save_seconds:g} s, so a crash costs what was written later"
            )
        resources = await provision.apply(store.endpoints)
        await _take_over(options.data, store, resources, console)
        console.step(f"table {resources.table}, bus {resources.bus}, queues and bucket are there")
        trace_file = options.data / "traces.jsonl"
        trace_port = processes.free_ports(1)[0]
        receiver = await traces.serve(trace_file, trace_port)
        undo.push_async_callback(receiver.stop, 1.0)

        addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        metrics_ports = dict(zip(SERVICES, processes.free_ports(len(SERVICES)), strict=True))
        metrics = {name: f"127.0.0.1:{port}" for name, port in metrics_ports.items()}
        children: dict[str, processes.Child] = {child.name: child for child in store.children}

        async def launch(name: str) -> None:
            env = _environment(options, name, addresses, store.endpoints, resources, trace_port)
            env.setdefault("BRAIN2_METRICS_LISTEN", metrics[name])
            child = await processes.start(
                name,
                options.command(name),
                env=env,
                on_line=console.log,
                cwd=stores.ROOT,
                niceness=options.niceness if name in _BACKGROUND else 0,
                slice_ms=_SLICES_MS[name],
                held=[lock],
            )
            children[name] = child
            # All processes load their code at the same time.
            await _wait_until_serving(child, addresses[name], _HEALTHY_SECONDS * options.workers)

        async def stop_services() -> None:
            await asyncio.gather(*(children[name].stop(_DRAIN_SECONDS) for name in SERVICES if name in children))

        undo.push_async_callback(stop_services)
        async with _first_failure() as group:
            for name in SERVICES:
                group.create_task(launch(name))
        console.step(f"{', '.join(SERVICES)} are serving")
        if store.dynoxide is not None:
            expiring = asyncio.create_task(_delete_expired(store.endpoints, resources.table, console))
            undo.push_async_callback(_cancelled, expiring)
        if (options.data / _REPLAY).exists():
            replay = asyncio.create_task(_replay(options.data, addresses["node"], store.endpoints, resources, console))
            undo.push_async_callback(_cancelled, replay)

        def restart(name: str) -> "asyncio.Future[None]":
            return asyncio.ensure_future(launch(name))

        url = ""
        if options.web:
            url = await undo.enter_async_context(web.serving(addresses, options.port_base, console))
        stack = Stack(addresses, metrics, store.endpoints, resources, trace_file, children, restart, url)
        described = options.data / "stack.json"
        described.write_text(json.dumps(_description(stack), indent=2) + "\n")
        undo.callback(described.unlink, missing_ok=True)
        yield stack


class _Undo(contextlib.AsyncExitStack):
    """An exit stack that a second Ctrl-C does not cut short: nobody would watch what it stops any more."""

    async def __aexit__(self, *details: Any) -> bool:
        await processes.to_the_end(super().__aexit__(*details))
        return False


# Stays in the folder until the events that ministack lost have been published again.
_REPLAY = "replay-events"


async def _take_over(data: Path, store: stores.Stores, resources: provision.Resources, console: Console) -> None:
    """Makes dynoxide's table the whole one after a start without it, and notes down that events were lost."""
    if store.events_lost:
        (data / _REPLAY).touch()
    if store.moved_from is not None:
        copied = await provision.copy_items(store.moved_from, store.endpoints, resources.table)
        console.step(f"{copied} items of the earlier store are in dynoxide's")
    if store.dynoxide is not None:
        (store.dynoxide / stores.MOVED).touch()


async def _replay(
    data: Path, address: str, endpoints: stores.Endpoints, resources: provision.Resources, console: Console
) -> None:
    """Publishes the events of every note again: consumers that know them already ignore them.

    ministack keeps its queues in memory and saves them every few seconds, while the table is durable at each write. So
    after a kill or a power cut the newest events may be missing, though their outbox items are gone.
    """
    try:
        users = await provision.users(endpoints, resources.table)
        console.step(f"the queues were not stopped cleanly: publishing the events of {len(users)} users again")
        async with Channels(security=load(ClientSecurity)) as channels:
            node = channels.stub(address, node_pb2.DESCRIPTOR.services_by_name["NodeService"])
            for user_id in users:
                async for _ in node.ReplayEvents(node_pb2.ReplayEventsRequest(user_id=user_id)):
                    pass
    except (Brain2Error, ClientError, BotoCoreError) as error:
        said = error.message if isinstance(error, Brain2Error) else error
        console.step(f"the events could not be published again ({said}): the next start tries it once more")
        return
    (data / _REPLAY).unlink()
    console.step("the events are published again")


async def _delete_expired(endpoints: stores.Endpoints, table: str, console: Console) -> None:
    """What AWS and ministack do by themselves, and dynoxide does not: otherwise its file would grow for ever."""
    while True:
        try:
            await provision.delete_expired(endpoints, table, time.time())
        except (ClientError, BotoCoreError) as error:
            console.step(f"expired items could not be deleted ({error}): it is tried again in an hour")
        await asyncio.sleep(_EXPIRE_SECONDS)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def _first_failure() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first failure is raised as itself: people read one line, not a group."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


@contextlib.asynccontextmanager
async def _only_one(data: Path, console: Console) -> AsyncIterator[int]:
    """Two stacks on one folder would overwrite each other's stores. Yields the open file that holds the folder's lock.

    The stores and the services keep that file open, too. So a start after kill -9 of a launcher waits until the last of
    them has ended: until then its stores save.
    """
    with (data / "lock").open("a+") as lock:
        if not _locked(lock):
            lock.seek(0)
            pid = lock.read()
            if not pid.isdigit() or processes.runs(int(pid)):
                raise LaunchError(f"a stack is running on {shown(data)} already: stop it, or use --data")
            console.step(
                f"the launcher on {shown(data)} was killed, and its processes are still stopping: waiting for them"
            )
            try:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    while not _locked(lock):
                        await asyncio.sleep(0.1)
            except TimeoutError:
                raise LaunchError(
                    f"processes of a launcher that was killed still use {shown(data)}: end them"
                ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock.fileno()


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _service_ports(options: Options) -> dict[str, int]:
    if options.port_base is None:
        return dict(zip(SERVICES, processes.free_ports(len(SERVICES)), strict=True))
    ports = {name: options.port_base + offset for offset, name in enumerate(SERVICES)}
    for name, port in ports.items():
        if not processes.is_free(port):
            raise LaunchError(f"port {port} (for {name}) is taken: use --port-base N or --free-ports")
    return ports


def _environment(
    options: Options,
    name: str,
    addresses: dict[str, str],
    endpoints: stores.Endpoints,
    resources: provision.Resources,
    trace_port: int,
) -> dict[str, str]:
    """What a service reads; nothing of the caller's shell gets in, but for what finding programs needs."""
    return {
        **{key: os.environ[key] for key in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if key in os.environ},
        "PYTHONUNBUFFERED": "1",
        "BRAIN2_LISTEN": addresses[name],
        **{f"BRAIN2_{peer.upper()}_TARGET": address for peer, address in addresses.items()},
        **endpoints.environment(),
        **resources.environment(name),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{trace_port}",
        "BRAIN2_TRACE_RATIO": str(options.trace_ratio),
        "BRAIN2_LOG_LEVEL": options.log_level,
        # So that grpcurl needs no .proto files here; the stack listens on loopback alone.
        "BRAIN2_REFLECTION": "1",
        "BRAIN2_WORKERS": str(options.workers),
        # Anything that is set for Brain2 itself reaches every service: BRAIN2_RETENTION_SECONDS=5 make run
        **{key: value for key, value in os.environ.items() if key.startswith("BRAIN2_") and key not in _OURS},
        **options.extra_env,
    }


# Set by the launcher for each service: one value from the shell for all four would be wrong.
_OURS = {
    "BRAIN2_LISTEN", "BRAIN2_METRICS_LISTEN", "BRAIN2_HEALTH_LISTEN", "BRAIN2_TABLE", "BRAIN2_EVENT_BUS",
    "BRAIN2_QUEUE_URL", "BRAIN2_DLQ_URL", "BRAIN2_ARCHIVE_BUCKET", "BRAIN2_WORKERS",
    "BRAIN2_TRACE_RATIO", "BRAIN2_LOG_LEVEL", *(f"BRAIN2_{name.upper()}_TARGET" for name in SERVICES),
}  # fmt: skip


async def _wait_until_serving(child: processes.Child, address: str, seconds: float) -> None:
    async with Outgoing(load(ClientSecurity)).channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        try:
            async with asyncio.timeout(seconds):
                while not child.ended.done():
                    try:
                        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
                        if answer.status == health_pb2.HealthCheckResponse.SERVING:
                            return
                    except grpc.aio.AioRpcError:
                        # Not listening yet. The channel's own backoff would wait for seconds.
                        pass
                    await asyncio.wait({child.ended}, timeout=0.05)
        except TimeoutError:
            raise LaunchError(f"{child.name} was not SERVING within {seconds:.0f} s{child.said()}") from None
    raise LaunchError(child.obituary())


def _description(stack: Stack) -> dict[str, object]:
    """stack.json: what other programs on this machine need to find a running stack."""
    return {
        "pid": os.getpid(),
        "services": stack.addresses,
        "metrics": {name: f"http://{address}/metrics" for name, address in stack.metrics.items()},
        "console": stack.console,
        "endpoints": asdict(stack.endpoints),
        "resources": asdict(stack.resources),
        "traces": str(stack.traces),
    }


def describe(data: Path = Options.data) -> dict[str, dict[str, str]] | None:
    """The stack.json of a stack that is running on this folder, or None."""
    try:
        found = json.loads((data / "stack.json").read_text())
        with (data / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        # Its processes hold the lock for a while when the launcher was killed.
        return found if processes.runs(found["pid"]) else None
    except (OSError, ValueError):
        return None
    # Nobody holds the lock: the file was left by a launcher that was killed.
    return None


def shown(path: Path) -> str:
    """Relative to the checkout where it lies inside."""
    resolved = path.resolve()
    return str(resolved.relative_to(stores.ROOT)) if resolved.is_relative_to(stores.ROOT) else str(path)
