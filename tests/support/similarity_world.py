"""Replicas of the similarity context over shared stores in memory, and bursts of notes that they index and link."""

import random

from services.similarity_service.ports import NodeText
from services.similarity_service.usecases.indexing import Indexing
from services.similarity_service.usecases.library import Library
from services.similarity_service.usecases.linking import Linking
from services.similarity_service.usecases.marks import Marks
from services.similarity_service.usecases.preferences import Preferences
from tests.support.clock import ManualClock
from tests.support.similarity_fakes import FakeGraph, FakeLog, FakeRecords, FakeSettings, FakeUnsettled

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
        self.library = Library(world.records, world.log, world.clock, max_bytes=1 << 30)
        preferences = Preferences(world.settings, world.clock)
        self.indexing = Indexing(world.records, self.library, preferences)
        self.clock = world.clock
        marks = Marks(world.unsettled, world.clock, owner, lease_seconds=60)
        self.linking = Linking(
            self.library, preferences, world.graph, world.records, marks, world.clock, quiet_seconds=1
        )

    async def hear(self, text: NodeText) -> None:
        since_ms = self.clock.now_ms()
        await self.indexing.write(U, text)
        await self.linking.link(U, text.node_id, since_ms)


class World:
    def __init__(self, replicas: int = 1) -> None:
        self.clock = ManualClock()
        self.records, self.log, self.graph = FakeRecords(clock=self.clock), FakeLog(), FakeGraph()
        self.settings, self.unsettled = FakeSettings(), FakeUnsettled()
        self.processes = [Process(self, f"p{number}") for number in range(replicas)]

    def crash(self, number: int) -> Process:
        """Lose a process; the one that is started in its place."""
        self.processes[number] = Process(self, f"p{number}, again")
        return self.processes[number]

    async def settle(self) -> None:
        for _ in range(5):
            await self.clock.advance(1.1)
            for process in self.processes:
                if U in process.linking.users:
                    await process.linking.settle_if_quiet(U)
        assert not any(process.linking.pending for process in self.processes)


async def links_of(texts: list[NodeText], *, replicas: int = 1, seed: int = 0) -> set[tuple[str, ...]]:
    world = World(replicas)
    rng = random.Random(seed)
    texts = list(texts)
    if seed:
        rng.shuffle(texts)
    for text in texts:
        await rng.choice(world.processes).hear(text)
    await world.settle()
    return world.graph.pairs(U)
