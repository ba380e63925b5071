"""How long a deletion waits for its peers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.node_service.adapters.peers import PeerVisibility
from services.node_service.model import Summary
from shared.errors import Unavailable
from tests.support.waiting import until, within

# Whoever waits for so many seconds here has waited for something that must not be waited for.
FOR_EVER = 1e6


class Stub:
    """Stands for a peer, which answers as long as it is not busy."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.done: list[str] = []
        self.free = asyncio.Event()
        self.free.set()
        self.error: Exception | None = None

    async def SetNodeVisibility(self, request: Any, timeout: float) -> None:
        assert request.answer_early, "a deletion waits only until readers see it"
        self.called.append(request.node_id)
        await self.free.wait()
        self.done.append(request.node_id)
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


async def test_both_peers_are_waited_for(peers: dict[str, Stub]) -> None:
    await PeerVisibility(peers, budget_seconds=FOR_EVER).set_visibility(note("a"), 0)
    assert [stub.done for stub in peers.values()] == [["a"], ["a"]]


async def test_a_call_that_outlasts_the_budget_goes_on(peers: dict[str, Stub]) -> None:
    visibility = PeerVisibility(peers, budget_seconds=FOR_EVER)
    peers["graph"].free.clear()
    await visibility.set_visibility(note("a"), spent=FOR_EVER)
    assert [stub.done for stub in peers.values()] == [[], ["a"]]
    peers["graph"].free.set()
    await visibility.drain()
    assert peers["graph"].done == ["a"]


async def test_only_a_peer_that_is_not_late_is_waited_for(peers: dict[str, Stub]) -> None:
    visibility = PeerVisibility(peers, budget_seconds=FOR_EVER)
    peers["graph"].free.clear()
    await visibility.set_visibility(note("a"), spent=FOR_EVER)
    async with within(10):
        await visibility.set_visibility(note("b"), spent=0)
    assert [stub.called for stub in peers.values()] == [["a", "b"], ["a", "b"]]
    assert [stub.done for stub in peers.values()] == [[], ["a", "b"]]

    peers["graph"].free.set()
    await visibility.drain()
    peers["graph"].free.clear()
    waiting = asyncio.create_task(visibility.set_visibility(note("c"), spent=0))
    await until(lambda: peers["similarity"].done == ["a", "b", "c"])
    assert not waiting.done(), "the peer is not late any more"
    peers["graph"].free.set()
    await waiting


async def test_a_peer_that_fails_is_no_failure_of_the_deletion(peers: dict[str, Stub]) -> None:
    peers["graph"].error = Unavailable("away")
    await PeerVisibility(peers, budget_seconds=FOR_EVER).set_visibility(note("a"), 0)
    assert peers["similarity"].done == ["a"]
