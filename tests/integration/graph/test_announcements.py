"""Changes of visibility that are announced before they are written: two processes, real stores."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from protos.graph.v1 import graph_pb2
from services.graph_service.model.edge import NewEdge
from services.graph_service.model.neighbors import NeighborQuery, NeighborsRequest
from services.graph_service.ports import HIDDEN, PackedList, VisibilityRecord
from shared.errors import FailedPrecondition
from shared.ids import SystemClock
from tests.support.clock import ManualClock
from tests.support.graph_world import Process, World
from tests.support.stores import Stores
from tests.support.waiting import until

BORN = 7


@pytest.fixture
async def world(stores: Stores, user: str) -> AsyncIterator[World]:
    """The notes a and b are linked, and the list of b is in the memory of both processes."""
    async with World(stores.environment("graph")) as found:
        await found.processes[0].components.servicer.edges.create_edge(user, NewEdge("a", "b"))
        for process in found.processes:
            process.deliver()
            assert await neighbors(process, user) == ["a"]
        yield found


async def neighbors(process: Process, user: str) -> list[str]:
    """Those of b."""
    request = NeighborsRequest(NeighborQuery(user, "b", 50))
    answer = await process.components.get_neighbors.get_neighbors(request)
    return [n.node_id for n in graph_pb2.GetNeighborsResponse.FromString(answer).neighbors]


async def shown_now(world: World, user: str) -> list[list[str]]:
    """The neighbours of b on both processes, when all invalidations have arrived."""
    for process in world.processes:
        process.deliver()
    return [await neighbors(process, user) for process in world.processes]


async def shown(world: World, user: str) -> list[list[str]]:
    """The same, asked twice, because caches may answer the second time."""
    first = await shown_now(world, user)
    assert await shown_now(world, user) == first
    return first


async def announce(
    process: Process, user: str, version: int, announcement_id: str, *, visible: bool = False, note: str = "a"
) -> bool:
    record = VisibilityRecord(note, version, hidden=not visible, incarnation=BORN)
    return await process.components.servicer.announce_node_visibility.announce(user, record, announcement_id)


async def withdraw(process: Process, user: str, announcement_id: str) -> None:
    await process.components.servicer.announce_node_visibility.withdraw(user, "a", announcement_id)


async def store(process: Process, user: str, version: int, announcement_id: str = "", *, visible: bool = False) -> bool:
    record = VisibilityRecord("a", version, hidden=not visible, incarnation=BORN)
    return await process.components.servicer.set_node_visibility.set_node_visibility(user, record, announcement_id)


async def record(process: Process, user: str) -> VisibilityRecord | None:
    return await process.components.node_events.store.visibility(user, "a")


async def cached(process: Process, user: str) -> bool:
    """Whether Redis holds the hidden set for readers."""
    (hidden,) = await process.lists.read(user, [HIDDEN])
    return isinstance(hidden, PackedList)


async def test_what_is_announced_is_seen_by_every_process_and_stored_nowhere(world: World, user: str) -> None:
    one, two = world.processes
    assert await announce(one, user, 2, "x")
    assert await shown(world, user) == [[], []]
    assert await record(one, user) is None
    assert not await cached(one, user)
    with pytest.raises(FailedPrecondition):
        await two.components.servicer.edges.create_edge(user, NewEdge("a", "c"))

    assert await store(two, user, 2, "x")  # any process may get the confirmation
    assert await record(one, user) == VisibilityRecord("a", 2, True, BORN)
    assert await shown(world, user) == [[], []]
    assert await cached(one, user), "nothing is pending any more"


async def test_what_is_withdrawn_is_seen_as_before(world: World, user: str) -> None:
    one, two = world.processes
    assert await announce(one, user, 2, "x")
    assert await shown(world, user) == [[], []]
    await withdraw(two, user, "x")
    assert await shown(world, user) == [["a"], ["a"]]
    assert await cached(one, user)
    await withdraw(two, user, "x")  # it comes twice
    assert await shown(world, user) == [["a"], ["a"]]


async def test_a_withdrawal_ends_no_other_announcement(world: World, user: str) -> None:
    """Two processes of the node service delete the note at the same time. One loses and withdraws."""
    one, two = world.processes
    assert await announce(one, user, 2, "winner")
    assert await announce(two, user, 2, "loser")
    await withdraw(two, user, "loser")
    assert await shown(world, user) == [[], []]
    assert await store(one, user, 2, "winner")
    assert await shown(world, user) == [[], []]


async def test_a_restore_is_announced(world: World, user: str) -> None:
    one, two = world.processes
    assert await store(one, user, 2)
    assert await announce(two, user, 3, "x", visible=True)
    assert await shown(world, user) == [["a"], ["a"]]
    await two.components.servicer.edges.create_edge(user, NewEdge("a", "c"))
    await withdraw(one, user, "x")
    assert await shown(world, user) == [[], []]


@pytest.mark.parametrize("latest_first", [False, True])
async def test_the_latest_version_counts_in_any_order(world: World, user: str, latest_first: bool) -> None:
    one, two = world.processes
    changes = [(2, False), (3, True), (4, False), (5, True)]
    for version, visible in reversed(changes) if latest_first else changes:
        assert await announce(one, user, version, f"x{version}", visible=visible)
        assert await shown(world, user) == [["a"] if latest_first or visible else []] * 2
    for version, visible in changes if latest_first else reversed(changes):
        await store(two, user, version, f"x{version}", visible=visible)
        assert await shown(world, user) == [["a"]] * 2
    assert await record(one, user) == VisibilityRecord("a", 5, False, BORN)
    assert await cached(one, user)


async def test_an_announcement_loses_against_what_is_stored(world: World, user: str) -> None:
    one, _ = world.processes
    await store(one, user, 2)
    await store(one, user, 3, visible=True)
    for version in (2, 3):
        assert await announce(one, user, version, f"late{version}")
        assert await shown(world, user) == [["a"], ["a"]]


async def test_an_announcement_that_nobody_ends_is_void_in_every_process(world: World, user: str) -> None:
    """The node service died before its transaction."""
    one, _ = world.processes
    one.lists.visibility_ms = 150
    assert await announce(one, user, 2, "x")

    async def is_shown() -> bool:
        return await shown_now(world, user) == [["a"], ["a"]]

    await until(is_shown, what="the end of the announcement")
    assert await record(one, user) is None


async def test_an_announcement_of_another_note_does_not_prolong_it(world: World, user: str) -> None:
    one, two = world.processes
    one.lists.visibility_ms = 150
    assert await announce(one, user, 2, "x")
    assert await announce(two, user, 2, "y", note="c")  # this one lasts

    async def is_shown() -> bool:
        return await shown_now(world, user) == [["a"], ["a"]]

    await until(is_shown, what="the end of the announcement")
    assert await two.components.lookup.hidden(user) == {"c"}


async def test_no_cache_keeps_what_is_announced(world: World, user: str) -> None:
    """Redis has lost the state of the hidden set, so that readers may fill it, and has kept the announcement."""
    one, two = world.processes
    assert await announce(one, user, 2, "x")
    key = one.lists.key(user, "a", HIDDEN)
    await one.lists._redis._redis.call("DEL", key)  # type: ignore[attr-defined]
    assert await shown(world, user) == [[], []]
    assert not await cached(one, user)
    assert two.components.memory.get(user, HIDDEN) is None
    await withdraw(one, user, "x")
    assert await shown(world, user) == [["a"], ["a"]]


async def test_the_event_stores_what_nobody_has_confirmed(world: World, user: str) -> None:
    """The node service died after its transaction."""
    one, two = world.processes
    assert await announce(one, user, 2, "x")
    await two.components.node_events.node_deleted(user, "a", 2, BORN)
    assert await record(one, user) == VisibilityRecord("a", 2, True, BORN)
    assert await shown(world, user) == [[], []]
    await world.flush()  # the announcement with it
    for process in world.processes:
        process.notice()
    assert await shown(world, user) == [[], []]


async def test_an_update_that_came_first_shows_the_note(world: World, user: str) -> None:
    """A deletion was announced over a version that had been replaced, and its process died."""
    one, two = world.processes
    assert await announce(one, user, 2, "x")
    two.deliver()
    await two.components.node_events.node_updated(user, "a", 2, BORN)
    assert await shown(world, user) == [["a"], ["a"]]


async def test_without_redis_nothing_is_announced(world: World, user: str) -> None:
    one, _ = world.processes
    one.hand.cut = True
    assert not await announce(one, user, 2, "x")
    await withdraw(one, user, "x")
    assert await store(one, user, 2, "x")
    assert await record(one, user) == VisibilityRecord("a", 2, True, BORN)


async def test_a_process_that_has_found_redis_again_shows_what_is_announced(world: World, user: str) -> None:
    """It replays the journal, and does not use the lists yet."""
    one, two = world.processes
    one.lists.disable()
    await one.lists.identify_instance()
    assert not one.lists.enabled
    assert await announce(one, user, 2, "x")
    assert await shown(world, user) == [[], []]
    await withdraw(two, user, "x")
    assert await shown(world, user) == [["a"], ["a"]]


async def test_a_process_whose_clock_is_behind_ends_the_announcement_too(world: World, user: str) -> None:
    """It finds the version not likely, and asks the node service."""
    one, two = world.processes
    assert await announce(one, user, 12, "x")
    use_case = replace(two.components.servicer.set_node_visibility, clock=ManualClock(BORN))
    state = world.directory.records["a"] = VisibilityRecord("a", 12, True, BORN)
    assert await use_case.set_checked(user, state, "x")
    assert await record(one, user) == state
    assert await shown(world, user) == [[], []]
    assert await cached(one, user), "nothing is pending any more"


async def call(process: Process, user: str, version: int, *, visible: bool) -> bool:
    """SetNodeVisibility without an announcement, as similarity calls it before it links a restored note."""
    record = VisibilityRecord("a", version, hidden=not visible, incarnation=BORN)
    return await process.components.servicer.set_node_visibility.set_checked(user, record)


async def test_a_call_that_comes_again_or_late_changes_nothing_in_any_cache(world: World, user: str) -> None:
    one, two = world.processes
    assert await store(one, user, 2)
    assert await store(one, user, 3, visible=True)
    assert await shown(world, user) == [["a"], ["a"]]
    feed = one.components.servicer.watch_edges._feed
    last = await feed.last(user)
    for version, visible in ((3, True), (2, False), (1, True)):
        assert not await call(one, user, version, visible=visible)
    assert two.hand.inbox == []
    assert await cached(two, user)
    assert await feed.last(user) == last
    assert await record(one, user) == VisibilityRecord("a", 3, False, BORN)
    await one.components.node_events.node_restored(user, "a", 3, BORN)
    assert await feed.last(user) != last, "whoever stored the change may have died before it was in the feed"


async def test_after_a_call_that_comes_again_the_process_shows_the_note(world: World, user: str) -> None:
    """The invalidation of the restore is still on its way to it."""
    one, two = world.processes
    assert await store(one, user, 2)
    assert await shown(world, user) == [[], []]
    assert await store(one, user, 3, visible=True)
    assert not await call(two, user, 3, visible=True)
    assert await neighbors(two, user) == ["a"]


async def test_a_version_that_is_not_likely_is_not_announced(world: World, user: str) -> None:
    one, _ = world.processes
    born: Any = SystemClock().now_ms()
    use_case = one.components.servicer.announce_node_visibility
    assert not await use_case.announce(user, VisibilityRecord("a", 1_000, True, born), "x")
    assert await shown(world, user) == [["a"], ["a"]]
