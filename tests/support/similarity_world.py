"""Replicas of the similarity context over shared stores in memory, and bursts of notes that they index and link."""

import random
from collections.abc import Mapping

from services.similarity_service.ports import NodeText
from services.similarity_service.subscriber import handlers
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.index_node import IndexNode
from services.similarity_service.usecases.link_node import LinkNode
from services.similarity_service.usecases.link_texts import LinkTexts
from services.similarity_service.usecases.record_changes import RecordChanges
from services.similarity_service.usecases.relink import Relinker
from services.similarity_service.usecases.relink_leases import RelinkLeases
from services.similarity_service.usecases.remove_node import RemoveNode
from services.similarity_service.usecases.set_node_visibility import SetNodeVisibility
from services.similarity_service.usecases.user_settings import UserSettingsCache
from shared.events.handlers import BatchHandler, Handler
from tests.support.clock import ManualClock
from tests.support.similarity_fakes import (
    FakeGraph,
    FakeLog,
    FakeNodes,
    FakePendingRelinks,
    FakeRecords,
    FakeUserSettings,
)

U = "u"
TOPICS = [
    "graph tree node edge path",
    "flour water salt dough oven",
    "sail mast wind sea rope",
    "chord key scale tone song",
]


def burst(count: int, seed: int = 1) -> list[NodeText]:
    """Notes on a few topics, some mentioning others by title."""
    rng = random.Random(seed)
    texts = []
    for n in range(count):
        words = [*rng.choices(TOPICS[n % len(TOPICS)].split(), k=8), f"own{n}", f"Title{rng.randrange(count)}"]
        texts.append(NodeText(f"n{n:03}", 1, 1, f"Title{n}", " ".join(words), ()))
    return texts


class Process:
    """One replica over shared stores."""

    def __init__(self, world: "World", owner: str = "p0") -> None:
        self.cache = IndexCache(world.records, world.log, world.clock, max_bytes=1 << 30)
        settings = UserSettingsCache(world.settings, world.clock)
        changes = RecordChanges(world.records, self.cache)
        self.index_node = IndexNode(changes, self.cache, settings)
        self.set_visibility = SetNodeVisibility(world.records, changes, self.cache, world.nodes, world.clock)
        self.remove_node = RemoveNode(changes, self.cache, world.nodes)
        self.clock = world.clock
        # Whom the handlers ask for a text that an event leaves out.
        self.nodes = FakeNodes()
        leases = RelinkLeases(world.pending_relinks, world.clock, owner, lease_seconds=60)
        self.relinker = Relinker(self.cache, settings, world.graph, world.records, leases, world.clock, quiet_seconds=1)
        self.link_node = LinkNode(self.cache, settings, world.graph, self.relinker)
        self.link_texts = LinkTexts(world.records, self.cache, world.graph)

    @property
    def handlers(self) -> Mapping[str, Handler | BatchHandler]:
        """What it does with events."""
        return handlers(
            self.index_node,
            self.set_visibility,
            self.remove_node,
            self.link_texts,
            self.link_node,
            self.relinker,
            self.nodes,
            self.link_texts.graph,
        )

    async def hear(self, text: NodeText) -> None:
        since_ms = self.clock.now_ms()
        await self.index_node(U, [text])
        await self.link_node(U, [text.node_id], since_ms)


class World:
    def __init__(self, replicas: int = 1) -> None:
        self.clock = ManualClock()
        self.records, self.log, self.graph = FakeRecords(clock=self.clock), FakeLog(), FakeGraph()
        self.settings, self.pending_relinks = FakeUserSettings(), FakePendingRelinks()
        self.nodes = FakeNodes()
        self.processes = [Process(self, f"p{number}") for number in range(replicas)]

    def crash(self, number: int) -> Process:
        """Lose a process; the one that is started in its place."""
        self.processes[number] = Process(self, f"p{number}, again")
        return self.processes[number]

    async def relink(self) -> None:
        for _ in range(5):
            await self.clock.advance(1.1)
            for process in self.processes:
                if U in process.relinker.users:
                    await process.relinker.relink_if_quiet(U)
        assert not any(process.relinker.pending for process in self.processes)


async def links_of(texts: list[NodeText], *, replicas: int = 1, seed: int = 0) -> set[tuple[str, ...]]:
    world = World(replicas)
    rng = random.Random(seed)
    texts = list(texts)
    if seed:
        rng.shuffle(texts)
    for text in texts:
        await rng.choice(world.processes).hear(text)
    await world.relink()
    return world.graph.pairs(U)
