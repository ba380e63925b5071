"""Visibility (port) by calls to graph and similarity, within a time budget."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from protos.graph.v1 import graph_pb2
from protos.similarity.v1 import similarity_pb2
from services.node_service.model import Summary
from shared.errors import Brain2Error

log = logging.getLogger(__name__)


class PeerVisibility:
    """Calls both peers at the same time. A peer that fails or is late gets the change by its event.

    peers: stubs by name ("graph", "similarity").
    budget_seconds: how long the two calls may take together.
    """

    def __init__(self, peers: Mapping[str, Any], *, budget_seconds: float) -> None:
        self._peers = peers
        self._budget = budget_seconds

    async def set_visibility(self, node: Summary) -> None:
        await asyncio.gather(*(self._call(name, stub, node) for name, stub in self._peers.items()))

    async def _call(self, name: str, stub: Any, node: Summary) -> None:
        try:
            request = _REQUESTS[name](
                user_id=node.user_id,
                node_id=node.node_id,
                version=node.version,
                visible=not node.deleted,
                incarnation=node.incarnation,
            )
            # The deadline is sent along, so a peer that hangs opens its breaker, and later calls don't wait for it.
            await stub.SetNodeVisibility(request, timeout=self._budget)
        except Brain2Error as error:
            log.debug(
                "a peer gets the visibility of a note by its event alone", extra={"peer": name, "why": str(error)}
            )


_REQUESTS: Mapping[str, Any] = {
    "graph": graph_pb2.SetNodeVisibilityRequest,
    "similarity": similarity_pb2.SetNodeVisibilityRequest,
}
