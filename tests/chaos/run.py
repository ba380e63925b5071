"""One run: a stack behind faulty proxies, the load, the nemesis, quiet, the check."""

import asyncio
import contextlib
import os
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from google.protobuf.field_mask_pb2 import FieldMask

from deploy.local import stores as launched
from deploy.local.console import Console
from deploy.local.stack import Stack
from deploy.local.stack import running as stack_running
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.grpc.client import Channels
from tests.chaos import checker, quiet
from tests.chaos.client import Client
from tests.chaos.history import History
from tests.chaos.load import LINK_THRESHOLD, Shared, Worker
from tests.chaos.nemesis import Nemesis
from tests.chaos.proxy import HttpProxy, TcpProxy
from tests.support import valkey
from tests.support.stack import stack_options
from tests.support.stores import Stores
from tests.support.valkey import Valkey

_AWS = {"dynamodb": "DYNAMODB", "sqs": "SQS", "events": "EVENTBRIDGE", "s3": "S3"}


@dataclass(frozen=True)
class Plan:
    """What to do. seconds, operations, faults: the load goes on until each is reached, but never past longest.

    cluster: Redis is a cluster of three masters.
    env: more variables of the services. follows: the weight of Worker.follow() among what workers do.
    """

    data: Path
    seed: int = 1
    seconds: float = 15.0
    operations: int = 0
    faults: int = 0
    longest: float = 3600.0
    users: int = 3
    workers: int = 4
    pause: float = 1.0
    quiet_seconds: float = 240.0
    bug: str = ""
    cluster: bool = False
    kinds: dict[str, int] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    follows: int = 0
    rolling: bool = False
    rebuild: bool = False
    verbose: bool = False


@dataclass
class Outcome:
    """What came of it."""

    seconds: float
    acknowledged: int
    unknown: int
    faults: dict[str, int]
    injected: dict[str, int]
    violations: list[dict[str, Any]]
    errors: dict[str, int]
    calm: quiet.Calm
    looked_at: dict[str, int]
    slowest: float
    rolling: dict[str, int] = field(default_factory=dict)
    rebuild: dict[str, int] = field(default_factory=dict)


@dataclass
class Bench:
    """A stack with its proxies, and direct ways around them."""

    stack: Stack
    stores: Stores
    http: dict[str, HttpProxy]
    redis: list[TcpProxy]
    redis_urls: list[str]
    masters: list[Valkey]


@contextlib.asynccontextmanager
async def bench(plan: Plan) -> AsyncIterator[Bench]:
    """Stores, proxies in front of them, and four services that know only the proxies."""
    rng = random.Random(f"proxies {plan.seed}")
    log = (plan.data / "services.log").open("w", encoding="utf-8")
    console = Console(log, quiet=not plan.verbose)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(log.close)
        redis: list[TcpProxy] = []

        @contextlib.asynccontextmanager
        async def front(server: Valkey) -> AsyncIterator[int]:
            async with TcpProxy(f"redis {len(redis)}", "127.0.0.1", server.port, rng).running() as proxy:
                redis.append(proxy)
                yield proxy.port

        masters: list[Valkey] = []
        if plan.cluster:
            masters = await stack.enter_async_context(
                valkey.cluster(plan.data / "redis", front=front, options={"cluster_node_timeout": "1000"})
            )
        given = {"REDIS_URL": masters[0].url} if masters else {}
        started = await launched.start(plan.data / "stores", on_line=console.log, env=given, save_seconds=3600)
        stack.push_async_callback(started.stop)
        direct = started.endpoints
        http = {}
        for name in _AWS:
            upstream = direct.eventbridge if name == "events" else getattr(direct, name)
            http[name] = await stack.enter_async_context(HttpProxy(name, upstream, rng).running())
        if not plan.cluster:
            at = urlsplit(direct.redis)
            tcp = TcpProxy("redis", at.hostname or "", at.port or 0, rng)
            redis.append(await stack.enter_async_context(tcp.running()))
        env = {f"{variable}_ENDPOINT": http[name].url for name, variable in _AWS.items()}
        env |= {"REDIS_URL": f"redis://127.0.0.1:{redis[0].port}/0", "CLOUDFORMATION_ENDPOINT": direct.cloudformation}
        stack.enter_context(mock.patch.dict(os.environ, {**env, **launched.credentials({})}))
        options = stack_options(
            plan.data,
            log_level="WARNING",
            trace_ratio=0.0,
            extra_env={
                "BRAIN2_RETENTION_SECONDS": "3",
                "BRAIN2_CLEANUP_POLL_SECONDS": "0.5",
                "BRAIN2_CLEANUP_BACKOFF_SECONDS": "0.2",
                "BRAIN2_CLEANUP_ATTEMPTS": "50",
                "BRAIN2_CLEANUP_LEASE_SECONDS": "5",
                "BRAIN2_DRAIN_SECONDS": "3",
                "BRAIN2_RELINK_LEASE_SECONDS": "6",
                "BRAIN2_REDIS_CLUSTER": str(int(plan.cluster)),
                **plan.env,
            },
            command=lambda name: _command(name, plan.bug),
        )
        running = await stack.enter_async_context(stack_running(options, console))
        urls = [master.url for master in masters] or [direct.redis]
        yield Bench(running, Stores(direct, running.resources), http, redis, urls, masters)


def _command(name: str, bug: str) -> list[str]:
    return [sys.executable, "-m", "tests.chaos.entry", name, *([bug] if bug else [])]


async def run(plan: Plan, say: Any = print) -> Outcome:
    """The whole of it; raises only when it couldn't be done."""
    shutil.rmtree(plan.data, ignore_errors=True)  # what an earlier run left would count as ours
    plan.data.mkdir(parents=True)
    history = History(plan.data / "history.jsonl")
    started = time.monotonic()
    try:
        async with bench(plan) as made, Channels(timeout=5.0, attempts=1) as channels:
            return await _run(plan, made, channels, history, say, started)
    finally:
        history.close()


async def _run(plan: Plan, made: Bench, channels: Channels, history: History, say: Any, started: float) -> Outcome:
    say(f"the stack serves after {time.monotonic() - started:.0f} s, seed {plan.seed}")
    client = Client(channels, made.stack.addresses, history, random.Random(f"client {plan.seed}"), patience=90.0)
    users = [f"u{plan.seed}x{number}" for number in range(plan.users)]
    shared = {user: [Shared(f"{user}-shared-{number}", user) for number in range(2)] for user in users}
    for user in users:
        settings = similarity_pb2.UserSettings(link_threshold=LINK_THRESHOLD)
        wanted = similarity_pb2.UpdateUserSettingsRequest(
            user_id=user, settings=settings, update_mask=FieldMask(paths=["link_threshold"])
        )
        await client.call("similarity", "UpdateUserSettings", wanted)
        for one in shared[user]:
            draft = node_pb2.NewNode(node_id=one.node_id, title=f"Shared {one.node_id}", content="first")
            await client.call("node", "CreateNode", node_pb2.CreateNodeRequest(user_id=user, node=draft))
    workers = [
        Worker(number, user, shared[user], client, history, random.Random(f"{user} {number} {plan.seed}"), plan.follows)
        for user in users
        for number in range(plan.workers)
    ]
    kinds = plan.kinds or None
    rng = random.Random(f"nemesis {plan.seed}")
    nemesis = Nemesis(
        made.stack,
        made.http,
        made.redis,
        made.redis_urls,
        history,
        rng,
        masters=made.masters,
        pause=plan.pause,
        kinds=kinds,
    )
    stop, calm = asyncio.Event(), asyncio.Event()
    loads = [asyncio.create_task(worker.run(stop)) for worker in workers]
    breaking = asyncio.create_task(nemesis.run(calm))
    await _until_enough(plan, history, loads, breaking, say)
    calm.set()
    await breaking
    rolling: dict[str, int] = {}
    if plan.rolling:
        before = (sum(history.acknowledged.values()), sum(history.unknown.values()))
        await nemesis.rolling_restart()
        rolling = {
            "calls": sum(history.acknowledged.values()) - before[0],
            "failed": sum(history.unknown.values()) - before[1],
        }
        say(f"rolling restart under load: {rolling['calls']} calls, {rolling['failed']} failed")
    stop.set()
    await asyncio.gather(*loads)
    load_seconds = time.monotonic() - started
    injected = {
        f"{proxy.name} {kind}": count
        for proxy in (*made.http.values(), *made.redis)
        for kind, count in proxy.injected.items()
    }
    say(f"load done after {load_seconds:.0f} s: {_summary(history)}; waiting for quiet")
    found = await quiet.until_quiet(made.stores, history, plan.quiet_seconds, say)
    say(f"quiet after {found.seconds:.0f} s" if found.quiet else f"not quiet: {found.left}")
    if not found.quiet:
        history.violation("NOT_QUIET", f"left after {found.seconds:.0f} s: {found.left}")
    looked_at = await checker.check(client, made.stores, history, workers, shared)
    say(f"looked at {looked_at}")
    rebuild = await checker.rebuilt(client, history, users) if plan.rebuild else {}
    return Outcome(
        seconds=load_seconds,
        acknowledged=sum(history.acknowledged.values()),
        unknown=sum(history.unknown.values()),
        faults=dict(history.faults),
        injected=injected,
        violations=history.violations,
        errors=dict(history.errors),
        calm=found,
        looked_at=looked_at,
        slowest=history.slowest,
        rolling=rolling,
        rebuild=rebuild,
    )


async def _until_enough(
    plan: Plan, history: History, loads: list["asyncio.Task[None]"], breaking: "asyncio.Task[None]", say: Any
) -> None:
    started = said = time.monotonic()
    while True:
        done, _ = await asyncio.wait((*loads, breaking), timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a worker or the nemesis ends early only by an error of ours
        now = time.monotonic()
        enough = (
            now - started >= plan.seconds
            and sum(history.acknowledged.values()) >= plan.operations
            and sum(history.faults.values()) >= plan.faults
        )
        if enough or now - started > plan.longest:
            return
        if now - said > 15:
            said = now
            say(f"{now - started:5.0f} s  {_summary(history)}")


def _summary(history: History) -> str:
    return (
        f"{sum(history.acknowledged.values()):,} acknowledged, {sum(history.unknown.values())} unknown, "
        f"{sum(history.faults.values())} faults, {len(history.violations)} violations"
    )
