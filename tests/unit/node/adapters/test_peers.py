"""What the peers get of a deletion, and how long it waits for them."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from services.node_service.adapters.peers import PeerVisibility
from services.node_service.model import Summary
from shared.errors import Unavailable
from shared.grpc import deadline
from tests.support.clock import ManualClock
from tests.support.node_fakes import CountingIds
from tests.support.waiting import until, within

# Whoever waits for so many seconds here has waited for something that must not be waited for.
FOR_EVER = 1e6


class Stub:
    """Stands for a peer, which answers as long as it is not busy.

    called: the notes of all calls, and remaining: what the call that caused them had left. set: the notes that were
    set, and ended: the ids that came along. announced: what its readers see, by announcement_id. error: of all calls.
    announces: False, as without Redis.
    """

    def __init__(self) -> None:
        self.called: list[str] = []
        self.remaining: list[float | None] = []
        self.set: list[str] = []
        self.announced: dict[str, tuple[str, int, bool]] = {}
        self.ended: list[str] = []
        self.free = asyncio.Event()
        self.free.set()
        self.error: Exception | None = None
        self.announces = True

    async def SetNodeVisibility(self, request: Any, timeout: float) -> None:
        await self._answer(request)
        self.set.append(request.node_id)
        self.ended.append(getattr(request, "announcement_id", ""))

    async def AnnounceNodeVisibility(self, request: Any, timeout: float) -> Any:
        await self._answer(request)
        if request.withdraw:
            self.announced.pop(request.announcement_id, None)
        elif self.announces:
            self.announced[request.announcement_id] = request.node_id, request.version, request.visible
        return SimpleNamespace(announced=self.announces and not request.withdraw)

    async def _answer(self, request: Any) -> None:
        self.called.append(request.node_id)
        self.remaining.append(deadline.remaining())
        await self.free.wait()
        if self.error is not None:
            raise self.error


def note(node_id: str) -> Summary:
    return Summary(user_id="u", node_id=node_id, version=2, incarnation=1, create_ms=1, update_ms=1, title="")


@pytest.fixture
async def peers() -> AsyncIterator[dict[str, Stub]]:
    found = {"graph": Stub(), "similarity": Stub()}
    yield found
    for stub in found.values():
        stub.free.set()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def visibility(peers: dict[str, Stub], clock: ManualClock) -> AsyncIterator[PeerVisibility]:
    found = PeerVisibility(peers, CountingIds(), clock, budget_seconds=FOR_EVER)
    yield found
    for stub in peers.values():
        stub.free.set()
    await found.drain()


async def test_both_peers_are_waited_for(peers: dict[str, Stub], visibility: PeerVisibility) -> None:
    await visibility.set_visibility(note("a"), 0)
    assert [stub.set for stub in peers.values()] == [["a"], ["a"]]


async def test_a_call_that_outlasts_the_budget_goes_on(peers: dict[str, Stub], visibility: PeerVisibility) -> None:
    peers["graph"].free.clear()
    await visibility.set_visibility(note("a"), spent=FOR_EVER)
    assert [stub.set for stub in peers.values()] == [[], ["a"]]
    peers["graph"].free.set()
    await visibility.drain()
    assert peers["graph"].set == ["a"]


async def test_only_a_peer_that_is_not_late_is_waited_for(peers: dict[str, Stub], visibility: PeerVisibility) -> None:
    peers["graph"].free.clear()
    await visibility.set_visibility(note("a"), spent=FOR_EVER)
    async with within(10):
        await visibility.set_visibility(note("b"), spent=0)
    assert [stub.called for stub in peers.values()] == [["a", "b"], ["a", "b"]]
    assert [stub.set for stub in peers.values()] == [[], ["a", "b"]]

    peers["graph"].free.set()
    await visibility.drain()
    peers["graph"].free.clear()
    waiting = asyncio.create_task(visibility.set_visibility(note("c"), spent=0))
    await until(lambda: peers["similarity"].set == ["a", "b", "c"])
    assert not waiting.done(), "the peer is not late any more"
    peers["graph"].free.set()
    await waiting


async def test_a_peer_that_fails_is_no_failure_of_the_deletion(
    peers: dict[str, Stub], visibility: PeerVisibility
) -> None:
    peers["graph"].error = Unavailable("away")
    await visibility.set_visibility(note("a"), 0)
    assert peers["similarity"].set == ["a"]


async def test_what_is_announced_is_stored_after_the_answer(peers: dict[str, Stub], visibility: PeerVisibility) -> None:
    announcement = visibility.announce(note("a"))
    await until(lambda: all(stub.announced for stub in peers.values()))
    assert [list(stub.announced.values()) for stub in peers.values()] == [[("a", 2, True)]] * 2
    await announcement.confirm(0)
    assert [stub.set for stub in peers.values()] == [[], []], "nobody waits for that"
    await visibility.drain()
    assert [stub.set for stub in peers.values()] == [["a"], ["a"]]
    assert peers["graph"].ended == list(peers["graph"].announced), "graph ends it by its id"


async def test_the_answer_waits_for_the_announcement(peers: dict[str, Stub], visibility: PeerVisibility) -> None:
    peers["graph"].free.clear()
    announcement = visibility.announce(note("a"))
    await until(lambda: peers["similarity"].announced)
    answer = asyncio.create_task(announcement.confirm(0))
    await until(lambda: peers["similarity"].set == ["a"])
    assert not answer.done()
    peers["graph"].free.set()
    await answer
    assert peers["graph"].announced


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_not_announced_is_stored_before_the_answer(
    peers: dict[str, Stub], visibility: PeerVisibility, fails: bool
) -> None:
    """It has no Redis, or is of an earlier release."""
    graph = peers["graph"]
    graph.announces = False
    graph.error = Unavailable("away") if fails else None
    announcement = visibility.announce(note("a"))
    await until(lambda: peers["similarity"].announced)
    graph.error = None
    await announcement.confirm(0)
    assert [stub.set for stub in peers.values()] == [["a"], []]


async def test_what_was_announced_long_ago_is_stored_before_the_answer(
    peers: dict[str, Stub], visibility: PeerVisibility, clock: ManualClock
) -> None:
    """The transaction has taken as long as the announcement lasts."""
    announcement = visibility.announce(note("a"))
    await until(lambda: all(stub.announced for stub in peers.values()))
    await clock.advance(12)
    await announcement.confirm(0)
    assert [stub.set for stub in peers.values()] == [["a"], ["a"]]


async def test_an_announcement_that_outlasts_the_budget_is_confirmed_when_it_is_made(
    peers: dict[str, Stub], visibility: PeerVisibility
) -> None:
    peers["graph"].free.clear()
    announcement = visibility.announce(note("a"))
    async with within(10):
        await announcement.confirm(spent=FOR_EVER)
        await visibility.set_visibility(note("b"), spent=0)
    peers["graph"].free.set()
    await visibility.drain()
    assert sorted(peers["graph"].set) == ["a", "b"]


async def test_a_withdrawal_comes_after_the_announcement(peers: dict[str, Stub], visibility: PeerVisibility) -> None:
    peers["graph"].free.clear()
    announcement = visibility.announce(note("a"))
    await until(lambda: peers["similarity"].announced)
    withdrawal = asyncio.create_task(announcement.withdraw())
    await until(lambda: not peers["similarity"].announced)
    assert not withdrawal.done()
    peers["graph"].free.set()
    await withdrawal
    assert [stub.called for stub in peers.values()] == [["a", "a"], ["a", "a"]]
    assert not peers["graph"].announced


async def test_the_deadline_of_the_deletion_does_not_end_what_follows_it(
    peers: dict[str, Stub], visibility: PeerVisibility
) -> None:
    """Otherwise a note whose deletion was refused at the last moment would be hidden until the announcement ends."""

    class Ending:
        def time_remaining(self) -> float:
            return 0.0

    before = deadline.current.set(Ending())
    try:
        await visibility.announce(note("a")).withdraw()
        await visibility.announce(note("b")).confirm(0)
    finally:
        deadline.current.reset(before)
    await visibility.drain()
    assert [stub.called for stub in peers.values()] == [["a", "a", "b", "b"]] * 2
    assert [set(stub.remaining) for stub in peers.values()] == [{None}, {None}]


@pytest.mark.parametrize("fails", [False, True])
async def test_an_announcement_whose_answer_got_lost_is_withdrawn(
    peers: dict[str, Stub], visibility: PeerVisibility, fails: bool
) -> None:
    """It was made, but the call took too long, or Redis did not answer the peer in time."""
    graph, made = peers["graph"], peers["graph"].announced
    graph.announces = False
    graph.error = Unavailable("late") if fails else None
    announcement = visibility.announce(note("a"))
    await until(lambda: graph.called and peers["similarity"].announced)
    (made["id"],) = peers["similarity"].announced.values()
    made.update(dict.fromkeys(peers["similarity"].announced, made.pop("id")))
    graph.error = None
    await announcement.withdraw()
    assert [stub.announced for stub in peers.values()] == [{}, {}]
