"""Announcements in random histories: at each moment every process shows what is stored or announced, and no more."""

import random

import pytest

from services.similarity_service.model.stored import Stored
from services.similarity_service.usecases.index_cache import ANNOUNCED_SECONDS
from tests.unit.similarity.usecases.test_announce_node_visibility import U, World, ids


class History:
    """A note that is deleted, restored and written, in the order that a seed gives.

    version, visible: the note at its owner. announced: (version, visible, seconds) by id, until it is withdrawn.
    certain_at: from this time on (seconds) every process knows all announcements; before it, the log has lost some.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = World()
        self.version, self.visible = 1, True
        self.announced: dict[str, tuple[int, bool, float]] = {}
        self.number = 0
        self.certain_at = 0.0

    @property
    def now(self) -> float:
        return self.world.clock.monotonic()

    async def change(self) -> None:
        """A deletion or a restore, which is written or not, and whose process may die at any moment."""
        self.number += 1
        version, visible, name = self.version + 1, not self.visible, f"x{self.number}"
        if await self.world.announce(version, visible, name):
            self.announced[name] = version, visible, self.now
        fate = self.rng.random()
        if fate < 0.25:
            await self.world.withdraw(version, name)
            if not self.world.log.down:
                self.announced.pop(name, None)
        elif fate < 0.4:
            pass  # its process dies, and nothing was written
        else:
            self.version, self.visible = version, visible
            if fate < 0.85:
                await self.world.set(version, visible)

    async def write(self) -> None:
        """The text is changed."""
        if self.visible:
            self.version += 1
            await self.world.write("a", self.version)

    async def event(self) -> None:
        """That of the latest version, or of an earlier one, late."""
        await self.world.set(self.version, self.visible, probably_known=True)

    async def trouble(self) -> None:
        """The log is lost or can't be reached, or a process looks at the records again."""
        kind = self.rng.choice(["lose", "down", "stale"])
        if kind == "lose":
            self.world.log.lose(U)
            self.certain_at = self.now + ANNOUNCED_SECONDS
        elif kind == "down":
            self.world.log.down = True
            await self.change()
            self.world.log.down = False
            await self.world.one.publish_pending()
            self.certain_at = self.now + ANNOUNCED_SECONDS
        else:
            self.rng.choice([self.world.one, self.world.two]).mark_all_stale()

    async def expected(self) -> bool:
        """Whether the note is to be shown."""
        stored: Stored = await self.world.records.get(U, "a")
        latest = stored.state_version, stored.visible
        for version, visible, at in self.announced.values():
            if self.now < at + ANNOUNCED_SECONDS and version > latest[0]:
                latest = version, visible
        return latest[1]

    async def step(self) -> None:
        await self.rng.choice([self.change, self.change, self.write, self.event, self.trouble])()
        if self.rng.random() < 0.5:
            await self.world.clock.advance(self.rng.choice([0.01, 1, 7, 14.9, 15.1, 3_600]))


@pytest.mark.parametrize("seed", range(30))
async def test_every_process_shows_what_is_stored_or_announced(seed: int) -> None:
    history = History(seed)
    world = history.world
    await world.write("a")
    for _ in range(60):
        await history.step()
        if history.rng.random() < 0.7 and history.now >= history.certain_at:
            shown = await history.expected()
            for cache in history.rng.sample([world.one, world.two, world.cache()], 2):
                assert ("a" in await cache.query(U, ids)) == shown
    await world.clock.advance(ANNOUNCED_SECONDS + 1)
    stored = await world.records.get(U, "a")
    for cache in (world.one, world.two, world.cache()):
        assert ("a" in await cache.query(U, ids)) == stored.visible
        assert await cache.query_links(U, lambda links: "a" in links) == stored.visible
