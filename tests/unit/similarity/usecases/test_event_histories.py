"""Random histories of notes, whose events come in any order, several times and among faults, to two processes that work
at the same time: at the end records and indexes have the newest state of each note.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest

from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import NodeState
from services.similarity_service.usecases.index_cache import IndexCache
from shared.errors import Brain2Error, Unavailable
from shared.events.envelope import Event, new_event
from shared.events.handlers import BatchHandler
from shared.ids import UlidFactory
from shared.revisions import Revision
from tests.support.similarity_world import U, World

_WRITES = 25
_HANDLED_AT_ONCE = 6
_FAULTS = 0.04
# How many turns of the event loop a step may take.
_TURNS = (0, 0, 1, 1, 2, 5, 30)


class State(NamedTuple):
    """What the node service has of a note."""

    incarnation: int
    version: int
    visible: bool


class History:
    """Three notes, in the order that a seed gives."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = World(2)
        self.ids = UlidFactory(self.world.clock)
        self.notes: dict[str, State] = {}
        # The states before, the newest last: a cache of the node service may still have them.
        self.before: dict[str, list[State]] = {"a": [], "b": [], "c": []}
        self.born = itertools.count(1)
        self.purging: set[str] = set()
        self.events: list[Event] = []
        self.calls: list[asyncio.Task[None]] = []
        self.handling: set[asyncio.Task[None]] = set()
        self.faulty = True
        for port, names in (
            (self.world.records, ("get", "get_many", "put", "put_many", "set_visibility")),
            (self.world.log, ("append", "since", "tail")),
        ):
            for name in names:
                setattr(port, name, self.unreliable(getattr(port, name)))
        self.world.nodes.state = self.state  # type: ignore[method-assign]

    async def pause(self) -> None:
        for _ in range(self.rng.choice(_TURNS)):
            await asyncio.sleep(0)

    def unreliable(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method takes its time, before and after it did its work, and fails before or after it."""

        async def call(*args: Any, **named: Any) -> Any:
            await self.pause()
            self.fail()
            answer = await method(*args, **named)
            await self.pause()
            self.fail()
            return answer

        return call

    def fail(self) -> None:
        if self.faulty and self.rng.random() < _FAULTS:
            raise Unavailable("down")

    async def state(self, user_id: str, node_id: str, seen: Revision) -> NodeState | None:
        await self.pause()
        found = self.notes.get(node_id)
        if (older := self.before[node_id]) and self.rng.random() < 0.3:
            cached = self.rng.choice(older[-3:])
            found = cached if (cached.incarnation, cached.version) >= seen else found
        await self.pause()
        return found and NodeState(incarnation=found.incarnation, version=found.version, visible=found.visible)

    def write(self) -> None:
        """The next write of one of the notes."""
        node_id = self.rng.choice(list(self.before))
        old = self.notes.get(node_id)
        if old is None:
            self.before[node_id] = []
            self.put(node_id, "node.created", State(next(self.born), 1, visible=True))
        elif node_id in self.purging:
            return
        elif not old.visible and self.rng.random() < 0.25:
            self.purging.add(node_id)
            self.calls.append(asyncio.create_task(self.purge(node_id, old)))
        else:
            changed = old.visible and self.rng.random() < 0.5
            new = State(old.incarnation, old.version + 1, visible=changed or not old.visible)
            self.before[node_id].append(old)
            self.put(node_id, "node.updated" if changed else "node.restored" if new.visible else "node.deleted", new)
            if not changed and self.rng.random() < 0.8:
                self.calls.append(asyncio.create_task(self.set_visibility(node_id, new)))

    def put(self, node_id: str, type: str, state: State) -> None:
        self.notes[node_id] = state
        self.publish(node_id, type, state)

    def publish(self, node_id: str, type: str, state: State) -> None:
        data = {"incarnation": str(state.incarnation)}
        if state.visible:
            data |= {"title": node_id, "content": f"text {state.version} of {state.incarnation}"}
        event = new_event(
            self.ids,
            self.world.clock,
            source="brain2.node",
            type=type,
            user_id=U,
            node_id=node_id,
            version=state.version,
            data=data,
        )
        self.events += [event] * self.rng.choice([1, 1, 1, 2])

    async def set_visibility(self, node_id: str, state: State) -> None:
        """The node service's call after a deletion or a restore: nobody makes it again when it fails."""
        await self.pause()
        process = self.rng.choice(self.world.processes)
        try:
            await process.set_visibility(
                U, node_id, state.version, visible=state.visible, incarnation=state.incarnation
            )
        except Brain2Error:
            return

    async def purge(self, node_id: str, state: State) -> None:
        """Of a note that is fenced, by cleanup, which repeats its steps."""
        process = self.rng.choice(self.world.processes)
        while True:
            try:
                await process.remove_node.checked(U, node_id, state.version)
                break
            except Unavailable:
                await self.pause()
        del self.notes[node_id]
        self.purging.remove(node_id)
        self.publish(node_id, "node.purged", state._replace(version=state.version + 1))

    def hand_out(self) -> None:
        """Give some of the events, in any order, to a handler."""
        if not self.events or len(self.handling) == _HANDLED_AT_ONCE:
            return
        self.rng.shuffle(self.events)
        handlers = self.rng.choice(self.world.processes).handlers
        first = self.events.pop()
        handler, group = handlers[first.type], [first]
        for event in list(self.events) if isinstance(handler, BatchHandler) else ():
            if handlers[event.type] is handler and event.node_id not in {each.node_id for each in group}:
                self.events.remove(event)
                group.append(event)
        task = asyncio.create_task(self.handle(group, handler))
        self.handling.add(task)
        task.add_done_callback(self.handling.discard)

    async def handle(self, group: Sequence[Event], handler: Any) -> None:
        try:
            failed = await handler.handle(group) if isinstance(handler, BatchHandler) else await handler(group[0])
        except Brain2Error:
            failed = {event.id for event in group}
        # What was handled comes again too, when its process is killed before it deletes the messages.
        killed = self.faulty and self.rng.random() < 0.15
        self.events += [event for event in group if killed or event.id in (failed or ())]

    async def run(self) -> None:
        for _ in range(_WRITES):
            self.write()
            for _ in range(self.rng.choice([0, 1, 5, 20, 100])):
                if self.rng.random() < 0.2:
                    self.hand_out()
                await asyncio.sleep(0)
        await asyncio.gather(*self.calls)
        self.faulty = False
        while self.events or self.handling:
            self.hand_out()
            await asyncio.sleep(0)
        for process in self.world.processes:
            await process.set_visibility.drain()
            await process.cache.publish_pending()
        await self.world.clock.advance(60)


async def shown(cache: IndexCache) -> dict[str, Revision]:
    stamps: dict[str, Any] = await cache.query(U, lambda index: {each: index.stamp(each) for each in index.ids()})
    return stamps


@pytest.mark.parametrize("seed", range(60))
async def test_the_newest_state_of_each_note_is_left(seed: int) -> None:
    history = History(seed)
    await history.run()
    for node_id in history.before:
        stored = history.world.records.items.get((U, node_id), Stored())
        state = history.notes.get(node_id)
        if state is None:
            assert stored.shown is None
            continue
        assert (stored.incarnation, stored.state_version, stored.visible) == state
        assert stored.note is not None
        assert not stored.visible or stored.note.stamp == state[:2]
    live = {node_id: state[:2] for node_id, state in history.notes.items() if state.visible}
    for process in history.world.processes:
        assert await shown(process.cache) == live
