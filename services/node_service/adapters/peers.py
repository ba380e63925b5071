"""Visibility (port) by calls to graph and similarity, which a deletion waits for within a time budget."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from protos.graph.v1 import graph_pb2
from protos.similarity.v1 import similarity_pb2
from services.node_service.model import Summary
from shared.errors import Brain2Error

log = logging.getLogger(__name__)

# A deletion that has spent its budget already still waits this long: a peer that is not busy answers in that time.
_LEAST_SECONDS = 0.005
# A call that nobody waits for any more ends after this long, and counts as a failure for the breaker of the peer.
_CALL_SECONDS = 1.0


class PeerVisibility:
    """Calls both peers at the same time. A peer that fails gets the change by its event.

    A call that outlasts the budget goes on without the deletion, so that a busy peer still gets the change before its
    event. Until such a call has ended, its peer counts as late: it is called, but no other deletion waits for it.

    peers: stubs by name ("graph", "similarity").
    budget_seconds: how long a deletion or a restore may take in all before it stops waiting for its peers.
    """

    def __init__(self, peers: Mapping[str, Any], *, budget_seconds: float) -> None:
        self._peers = peers
        self._budget = budget_seconds
        self._running: set[asyncio.Task[None]] = set()
        # By peer: its calls that have outlasted the budget.
        self._late: Counter[str] = Counter()

    async def set_visibility(self, node: Summary, spent: float) -> None:
        calls = {name: asyncio.create_task(self._call(name, stub, node)) for name, stub in self._peers.items()}
        for call in calls.values():
            self._running.add(call)
            call.add_done_callback(self._ended)
        awaited = {call: name for name, call in calls.items() if not self._late[name]}
        if not awaited:
            return
        budget = max(self._budget - spent, min(_LEAST_SECONDS, self._budget))
        _, late = await asyncio.wait(awaited, timeout=budget)
        for call in late:
            self._late[awaited[call]] += 1
            call.add_done_callback(partial(self._no_longer_late, awaited[call]))

    async def drain(self) -> None:
        """Wait for the calls that still run."""
        if self._running:
            await asyncio.wait(self._running)

    def _no_longer_late(self, name: str, _: "asyncio.Task[None]") -> None:
        self._late[name] -= 1

    def _ended(self, call: "asyncio.Task[None]") -> None:
        self._running.discard(call)
        if not call.cancelled() and (error := call.exception()) is not None:
            log.error("the visibility of a note could not be sent to a peer", exc_info=error)

    async def _call(self, name: str, stub: Any, node: Summary) -> None:
        try:
            request = _REQUESTS[name](
                user_id=node.user_id,
                node_id=node.node_id,
                version=node.version,
                visible=not node.deleted,
                incarnation=node.incarnation,
                answer_early=True,
            )
            # The deadline is sent along, so a peer that hangs opens its breaker, and later calls fail at once.
            await stub.SetNodeVisibility(request, timeout=_CALL_SECONDS)
        except Brain2Error as error:
            log.debug(
                "a peer gets the visibility of a note by its event alone", extra={"peer": name, "why": str(error)}
            )


_REQUESTS: Mapping[str, Any] = {
    "graph": graph_pb2.SetNodeVisibilityRequest,
    "similarity": similarity_pb2.SetNodeVisibilityRequest,
}
