"""Two graph processes over one Redis and one DynamoDB, in this process, with hands on everything between them.

Redis, DynamoDB, the adapters and the use cases are real. Ours are: the channel of invalidations (messages wait in an
inbox until they are delivered, or are dropped), a switch that cuts a process off from Redis, and gates at which a fill
or a write stops until the test opens it, or dies.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from services.graph_service.adapters.channel import Channel
from services.graph_service.adapters.dynamo import DynamoEdgeStore
from services.graph_service.adapters.feed import RedisFeed
from services.graph_service.adapters.instance import instance_name
from services.graph_service.adapters.list_cache import RedisLists
from services.graph_service.adapters.scripts import SOURCES
from services.graph_service.app import Components, assemble
from services.graph_service.config import GraphConfig
from services.graph_service.convert import WireCodec
from services.graph_service.ports import Invalidation, Lease, PackedList, VisibilityRecord, Write
from services.graph_service.usecases.limits import Limits
from shared import config
from shared.aws import Aws
from shared.dynamo import Put, Table
from shared.errors import Unavailable
from shared.events.envelope import Event
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from shared.redis import Redis
from shared.revisions import Revision
from tests.support.graph_planted import store_without_lease

_LONG_MS = 60_000


class Died(Exception):
    """The process died at this point."""


class Gate:
    """Armed, it stops the next one who comes until open()."""

    def __init__(self, *, armed: bool = False) -> None:
        self.armed = armed
        self.reached = asyncio.Event()
        self._go = asyncio.Event()

    async def passed(self) -> None:
        if self.armed:
            self.armed = False
            self.reached.set()
            await self._go.wait()

    def open(self) -> None:
        self.armed = False
        self._go.set()


@dataclass
class Hand:
    """What the test does to one process. fate of its next write: "" or "dies" or "lost" (its commit's answer).

    missed: an invalidation was dropped since the process noticed last.
    """

    cut: bool = False
    dropping: bool = False
    missed: bool = False
    inbox: list[bytes] = field(default_factory=list)
    fill_gate: Gate | None = None
    read_gate: Gate | None = None
    commit_gate: Gate | None = None
    fate: str = ""


class HandledCommands:
    """A Redis client that can be cut off, and whose published messages are handed out by the test."""

    def __init__(self, redis: Redis, hand: Hand, publish: Callable[[bytes], None]) -> None:
        self._redis = redis
        self._hand = hand
        self._publish = publish

    async def call(self, *args: Any) -> Any:
        if self._hand.cut:
            raise Unavailable("cut off by the test")
        if args[0] == "PUBLISH":
            self._publish(args[2].encode())
        reply = await self._redis.call(*args)
        if args[0] in ("GET", "MGET") and self._hand.read_gate is not None:
            await self._hand.read_gate.passed()  # the answer is on its way
        return reply

    def script(self, source: str) -> Any:
        script = self._redis.script(source)
        publishes = "'PUBLISH'" in source
        begins = source == SOURCES["begin"]
        stores = source in (SOURCES["store"], SOURCES["hub_store"], SOURCES["hub_repair"])

        async def run(keys: Sequence[Any] = (), args: Sequence[Any] = ()) -> Any:
            if self._hand.cut:
                raise Unavailable("cut off by the test")
            if stores:
                await self._pass()
            reply = await script(keys=keys, args=args)
            if publishes:
                message = args[3] if begins else args[2]
                self._publish(message if isinstance(message, bytes) else message.encode())
            return reply

        return run

    async def _pass(self) -> None:
        gate = self._hand.fill_gate
        if gate is not None:
            await gate.passed()
            if self._hand.cut:
                raise Unavailable("cut off by the test")


class HandledLists(RedisLists):
    """finish() may find that the process has died. Changes of visibility stay pending for longer than a test takes.

    check_leases: False plants the bug that every fill is stored. see_pending: False plants the bug that readers of the
    hidden set look at what is stored alone.
    """

    hand: Hand
    check_leases: bool
    see_pending: bool
    visibility_ms = _LONG_MS

    async def _invalidate(self, name: str, keys: list[str], args: list[Any]) -> Any:
        if name == "begin" and len(keys) % 2:  # with a change of visibility
            args[1] = self.visibility_ms
        return await super()._invalidate(name, keys, args)

    async def pending_visibilities(self, user_id: str) -> Sequence[VisibilityRecord]:
        return await super().pending_visibilities(user_id) if self.see_pending else ()

    async def store(self, lease: Lease, packed_list: PackedList) -> bool:
        if self.check_leases:
            return await super().store(lease, packed_list)
        if self.hand.fill_gate is not None:
            await self.hand.fill_gate.passed()
        return await store_without_lease(self, lease, packed_list)

    async def finish(self, invalidation: Invalidation, writer: str) -> int:
        if self.hand.fate == "dies":
            self.hand.fate = ""
            raise Died
        return await super().finish(invalidation, writer)


class HandledStore(DynamoEdgeStore):
    """A commit may wait, and its answer may be lost."""

    hand: Hand

    async def commit(self, write: Write) -> None:
        gate = self.hand.commit_gate
        if gate is not None:
            await gate.passed()
        await super().commit(write)
        if self.hand.fate == "lost":
            self.hand.fate = ""
            raise Unavailable("the answer got lost")


class NoOutbox:
    """Events are not what this is about; the item keeps the transaction's shape."""

    def put(self, event: Event) -> Put:
        return Put({"PK": "OUTBOX#machine", "SK": event.id, "expires_at": 1})

    def announce(self, *events: Event) -> None:
        return None


class Everyone:
    """Every note exists but for those in `gone`."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.records: dict[str, VisibilityRecord] = {}

    async def visibility(self, user_id: str, node_id: str, seen: Revision) -> VisibilityRecord | None:
        return self.records.get(node_id)

    async def live_titles(self, user_id: str, node_ids: Collection[str]) -> Mapping[str, str]:
        return {node_id: "" for node_id in node_ids if node_id not in self.gone}

    async def count(self, user_id: str, maximum: int) -> tuple[int, bool]:
        return 0, True


@dataclass
class Process:
    """One of the two. lists: its view of Redis."""

    components: Components
    lists: HandledLists
    hand: Hand
    channel: Channel

    def deliver(self) -> None:
        """What others published arrives."""
        waiting, self.hand.inbox = self.hand.inbox, []
        for message in waiting:
            self.channel.on_message(b"", message)

    def notice(self) -> None:
        """The process finds that its channel was gone for a while, and that it is there again."""
        self.hand.dropping = self.hand.missed = False
        self.hand.inbox.clear()
        self.channel.on_lost()
        self.channel.on_ready()


class World:
    """Use as `async with World(...)`. environment: that of a graph service on the test's stores."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        check_leases: bool = True,
        see_pending: bool = True,
        pending_write_ms: int = 400,
    ) -> None:
        self._settings = config.load(GraphConfig, dict(environment) | {"BRAIN2_QUEUE_URL": ""})
        self._check_leases = check_leases
        self._see_pending = see_pending
        self.pending_write_ms = pending_write_ms
        self.processes: list[Process] = []
        self.directory = Everyone()
        # The masters of the cluster; a process finds out at its next step of recovery.
        self.masters = ["first"]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "World":
        self._aws = await self._stack.enter_async_context(Aws(self._settings, use=("dynamodb",)))
        for _ in range(2):
            await self._add()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for process in self.processes:
            await process.components.hubs.close()
        await self._stack.aclose()

    async def _add(self) -> None:
        clock, hand, codec = SystemClock(), Hand(), WireCodec()
        redis = await self._stack.enter_async_context(Redis(self._settings, timeout=5.0))

        def publish(message: bytes) -> None:
            for other in self.processes:
                if other.hand is hand:
                    continue
                if other.hand.dropping:
                    other.hand.missed = True
                else:
                    other.hand.inbox.append(message)

        async def instance() -> str:
            return ",".join((await instance_name(redis)(), *self.masters))

        table = Table(self._aws.dynamodb, self._settings.table)
        ids = UlidFactory(clock)
        store = HandledStore(table, NoOutbox(), Idempotency(table, "graph", clock), ids, clock)
        store.hand = hand
        commands = HandledCommands(redis, hand, publish)
        lists = HandledLists(
            commands,
            codec,
            instance,
            hub_degree=2,
            pending_write_ms=self.pending_write_ms,
        )
        lists.hand, lists.check_leases, lists.see_pending = hand, self._check_leases, self._see_pending
        limits = Limits(hub_degree=2, page=2, filling_wait=0.002, hub_wait=0.05)
        feed = RedisFeed(commands, lists)
        components = assemble(store, lists, feed, self.directory, clock, ids, self._settings, limits)
        channel = Channel(components.lookup, components.existence, components.servicer.watch_edges, components.memory)
        channel.on_ready()
        await components.recovery.step()
        self.processes.append(Process(components, lists, hand, channel))

    async def renew(self) -> None:
        """As if both processes had just started."""
        for process in self.processes:
            fresh = Hand()
            process.hand.__dict__.update(fresh.__dict__)
            process.notice()
        for process in self.processes:
            await process.components.recovery.step()

    async def flush(self) -> None:
        """FLUSHALL, by the first connection that there is."""
        await self.processes[0].lists._redis._redis.call("FLUSHALL")  # type: ignore[attr-defined]
