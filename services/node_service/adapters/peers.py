"""Visibility (port) by calls to graph and similarity, which a deletion waits for within a time budget."""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar

from protos.graph.v1 import graph_pb2
from protos.similarity.v1 import similarity_pb2
from services.node_service.model import Summary
from shared.errors import Brain2Error
from shared.grpc import deadline
from shared.ids import Clock, IdFactory
from shared.resilience import foreground
from shared.resilience.background import BackgroundTasks

log = logging.getLogger(__name__)
T = TypeVar("T")

# A deletion that has spent its budget already still waits this long: a peer that is not busy answers in that time.
_LEAST_SECONDS = 0.005
# A call that nobody waits for any more ends after this long, and counts as a failure for the breaker of the peer.
_CALL_SECONDS = 1.0
# What was announced longer ago than this is set before the answer: the announcement ends after 15 s.
_ANNOUNCED_SECONDS = 10.0


class PeerVisibility:
    """Calls both peers at the same time. A peer that fails gets the change by its event.

    A call that outlasts the budget goes on without the deletion, so that a busy peer still gets the change before its
    event. Until such a call has ended, its peer counts as late: it is called, but no other deletion waits for it.

    peers: stubs by name ("graph", "similarity").
    budget_seconds: how long a deletion or a restore may take in all before it stops waiting for its peers.
    """

    def __init__(self, peers: Mapping[str, Any], ids: IdFactory, clock: Clock, *, budget_seconds: float) -> None:
        self.peers = peers
        self.clock = clock
        self._ids = ids
        self._budget = budget_seconds
        self._running = BackgroundTasks()
        # By peer: its calls that have outlasted the budget.
        self._late: Counter[str] = Counter()

    def announce(self, node: Summary) -> "PeerAnnouncement":
        return PeerAnnouncement(self, node, self._ids.new_id())

    async def set_visibility(self, node: Summary, spent: float) -> None:
        await self.wait({name: self.start(self.set(name, node)) for name in self.peers}, spent)

    async def set(self, name: str, node: Summary, announcement_id: str = "") -> None:
        """Have a peer store what a note is now. announcement_id: of its announcement, which graph ends."""
        confirmed = {"announcement_id": announcement_id} if name == "graph" else {}
        request = _SET[name](**_state(node), **confirmed)
        try:
            # The deadline is sent along, so a peer that hangs opens its breaker, and later calls fail at once.
            await self.peers[name].SetNodeVisibility(request, timeout=_CALL_SECONDS)
        except Brain2Error as error:
            log.debug(
                "a peer gets the visibility of a note by its event alone", extra={"peer": name, "why": str(error)}
            )

    async def wait(self, calls: Mapping[str, "asyncio.Task[Any]"], spent: float) -> None:
        """Wait for the calls of peers that are not late, as long as the budget allows. The others go on."""
        awaited = {call: name for name, call in calls.items() if not self._late[name] and not call.done()}
        if not awaited:
            return
        budget = max(self._budget - spent, min(_LEAST_SECONDS, self._budget))
        _, late = await asyncio.wait(awaited, timeout=budget)
        for call in late:
            self._late[awaited[call]] += 1
            call.add_done_callback(partial(self._no_longer_late, awaited[call]))

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run a call that may go on without the deletion, and is not limited by its deadline."""
        call = self._running.start(_without_deadline(work))
        call.add_done_callback(_log_failure)
        return call

    async def drain(self) -> None:
        """Wait for the calls that still run, and for those that they start."""
        await self._running.drain()

    def _no_longer_late(self, name: str, _: "asyncio.Task[Any]") -> None:
        self._late[name] -= 1


class PeerAnnouncement:
    """Announcement (port). What a peer can't announce is set after the transaction, before the answer."""

    def __init__(self, visibility: PeerVisibility, node: Summary, announcement_id: str) -> None:
        self._visibility = visibility
        self._node = node
        self._id = announcement_id
        self._began = visibility.clock.monotonic()
        self._calls = {name: visibility.start(self._announce(name)) for name in visibility.peers}

    async def confirm(self, spent: float) -> None:
        shown = {name: self._visibility.start(self._show(name)) for name in self._calls}
        await self._visibility.wait(shown, spent)

    async def withdraw(self) -> None:
        withdrawn = {name: self._visibility.start(self._withdraw(name)) for name in self._calls}
        await self._visibility.wait(withdrawn, 0.0)

    async def _show(self, name: str) -> None:
        """End when the peer's readers see the change. What was announced is set after the answer."""
        announced = await self._calls[name]
        if announced and self._visibility.clock.monotonic() < self._began + _ANNOUNCED_SECONDS:
            self._visibility.start(self._set_afterwards(name))
        else:
            await self._visibility.set(name, self._node, self._id)

    async def _set_afterwards(self, name: str) -> None:
        await foreground.answer_first()
        await self._visibility.set(name, self._node, self._id)

    async def _announce(self, name: str, *, withdraw: bool = False) -> bool:
        node = self._node
        request = _ANNOUNCE[name](**_state(node), announcement_id=self._id, withdraw=withdraw)
        try:
            answer = await self._visibility.peers[name].AnnounceNodeVisibility(request, timeout=_CALL_SECONDS)
        except Brain2Error as error:  # also of a peer of an earlier release, which has no such method
            message = "a change of visibility was not " + ("withdrawn" if withdraw else "announced")
            log.debug(message, extra={"peer": name, "why": str(error)})
            return False
        return bool(answer.announced)

    async def _withdraw(self, name: str) -> None:
        await self._calls[name]
        # Whatever its answer was: an announcement whose answer got lost, at the peer or in Redis, may have been made.
        await self._announce(name, withdraw=True)


def _log_failure(call: "asyncio.Task[Any]") -> None:
    if not call.cancelled() and (error := call.exception()) is not None:
        log.error("the visibility of a note could not be sent to a peer", exc_info=error)


async def _without_deadline(work: Coroutine[Any, Any, T]) -> T:
    deadline.current.set(None)  # in the context of this task alone
    return await work


def _state(node: Summary) -> dict[str, Any]:
    return {
        "user_id": node.user_id,
        "node_id": node.node_id,
        "version": node.version,
        "visible": not node.deleted,
        "incarnation": node.incarnation,
    }


_SET: Mapping[str, Any] = {
    "graph": graph_pb2.SetNodeVisibilityRequest,
    "similarity": similarity_pb2.SetNodeVisibilityRequest,
}
_ANNOUNCE: Mapping[str, Any] = {
    "graph": graph_pb2.AnnounceNodeVisibilityRequest,
    "similarity": similarity_pb2.AnnounceNodeVisibilityRequest,
}
