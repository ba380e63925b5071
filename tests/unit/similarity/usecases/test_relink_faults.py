"""Relinking in random histories: answers of the store get lost, processes die, and others stand still for a minute."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from services.similarity_service.ports import Related
from services.similarity_service.usecases import relink
from shared.errors import Unavailable
from tests.support.clock import run_ready
from tests.support.similarity_fakes import FakePendingRelinks
from tests.support.similarity_world import Process, U, World, burst


class View:
    """The store as one process sees it.

    loses: the share of the calls whose answers get lost. A third of these calls are not done.
    runs: cleared while the process stands still: a call then waits before it is done, and before its answer.
    """

    def __init__(self, store: FakePendingRelinks, rng: random.Random, loses: float) -> None:
        self.loses = loses
        self.runs = asyncio.Event()
        self.runs.set()
        self._store = store
        self._rng = rng

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        async def faulty(*args: Any) -> Any:
            lost, done = self._rng.random() < self.loses, self._rng.random() < 0.67
            await self.runs.wait()
            answer = await call(*args) if done or not lost else None
            await self.runs.wait()
            if lost:
                raise Unavailable("the answer got lost")
            return answer

        return faulty


class History:
    """Steps of three processes, in the order that a seed gives.

    indexed, relinked: the step at which a note was indexed, and considered for the last time. heard: the notes whose
    events were acknowledged. waiting: the texts of the other events. written: when a note was written, in ms.
    """

    def __init__(self, seed: int, loses: float) -> None:
        self.rng = random.Random(seed)
        self.loses = loses
        self.world = World(0)
        self.store = self.world.pending_relinks
        self.step = 0
        self.indexed: dict[str, int] = {}
        self.relinked: dict[str, int] = {}
        self.heard: set[str] = set()
        self.waiting = burst(30)
        self.written: dict[str, int] = {}
        self.views: dict[Process, View] = {}
        self.tasks: dict[asyncio.Task[None], Process] = {}
        self.relinking: set[Process] = set()
        self.started = 0
        for _ in range(3):
            self.start()
        related = self.world.graph.related

        async def noted(user_id: str, node_ids: Sequence[str]) -> Mapping[str, Related]:
            self.step += 1
            self.relinked |= dict.fromkeys(node_ids, self.step)
            return await related(user_id, node_ids)

        self.world.graph.related = noted  # type: ignore[method-assign]

    def start(self) -> None:
        """A process."""
        view: Any = View(self.store, self.rng, self.loses)
        self.world.pending_relinks = view
        process = Process(self.world, f"p{self.started}")
        self.started += 1
        self.views[process] = view

    def crash(self, process: Process) -> None:
        """What it does ends; another one is started in its place."""
        for task, of in self.tasks.items():
            if of is process:
                task.cancel()
        del self.views[process]
        self.start()

    async def hear(self, process: Process) -> None:
        if not self.waiting:
            return
        text = self.waiting.pop(0)
        since_ms = self.written.setdefault(text.node_id, self.world.clock.now_ms())
        try:
            await process.index_node(U, [text])
            self.step += 1
            self.indexed[text.node_id] = self.step
            await process.relinker.schedule(U, [text.node_id], since_ms)
        except BaseException:
            self.waiting.append(text)  # its event is delivered again
            raise
        self.heard.add(text.node_id)
        covered = any(entry.since_ms <= since_ms for entry in self.store.items.values())
        assert covered or self.relinked.get(text.node_id, 0) > self.indexed[text.node_id]

    async def relink(self, process: Process) -> None:
        if process not in self.relinking:  # one after the other, as in run()
            self.relinking.add(process)
            try:
                await process.relinker.relink_if_quiet(U)
            finally:
                self.relinking.discard(process)

    def begin_step(self) -> None:
        """Have a process do something."""
        process = self.rng.choice(list(self.views))
        chance = self.rng.random()
        if chance < 0.35:
            work = self.hear(process)
        elif chance < 0.7:
            work = self.relink(process)
        else:
            work = process.relinker.renew_and_take_over()
        self.tasks[asyncio.create_task(work)] = process

    async def run(self) -> None:
        """A history, and then a time in which everything works."""
        for _ in range(80):
            if self.rng.random() < 0.3:
                await self.world.clock.advance(self.rng.choice([0.3, 1.1, 1.1, 5, 11, 21, 31, 61]))
            if self.rng.random() < 0.03:
                self.crash(self.rng.choice(list(self.views)))
            for view in self.views.values():
                if self.rng.random() < (0.05 if view.runs.is_set() else 0.3):
                    view.runs.clear() if view.runs.is_set() else view.runs.set()
            self.begin_step()
            if self.rng.random() < 0.6:
                await run_ready()
        for view in self.views.values():
            view.loses = 0.0
            view.runs.set()
        await self.end_steps()
        while self.waiting:
            await self.hear(self.rng.choice(list(self.views)))
        for _ in range(40):
            await self.world.clock.advance(7)
            for process in self.views:
                await process.relinker.renew_and_take_over()
                await process.relinker.relink_if_quiet(U)

    async def end_steps(self) -> None:
        for error in await asyncio.gather(*self.tasks, return_exceptions=True):
            if error is not None and not isinstance(error, Unavailable | asyncio.CancelledError):
                raise error
        self.tasks.clear()


@pytest.mark.parametrize("loses", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(10))
async def test_every_note_is_relinked_whatever_happens(
    seed: int, loses: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relink, "_WHOLE", 0)  # relinking all notes would hide that one was lost
    history = History(seed, loses)
    await history.run()
    assert len(history.heard) == 30
    assert [each for each in history.heard if history.relinked.get(each, 0) < history.indexed[each]] == []
    assert history.store.items == {}
    assert [process.relinker.users for process in history.views] == [[]] * 3
