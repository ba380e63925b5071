"""Visibility (port) through the stubs of graph and similarity: at once where they answer in time."""

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
    """Tells each peer within one budget; counts what it could not tell (the event does).

    peers: stubs by name ("graph", "similarity"); a peer that isn't there is told by the event alone.
    """

    def __init__(self, peers: Mapping[str, Any], *, budget_seconds: float) -> None:
        self._peers = peers
        self._budget = budget_seconds
        self.missed: dict[str, int] = dict.fromkeys(peers, 0)

    async def announce(self, node: Summary) -> None:
        await asyncio.gather(*(self._tell(name, stub, node) for name, stub in self._peers.items()))

    async def _tell(self, name: str, stub: Any, node: Summary) -> None:
        try:
            request = _REQUESTS[name](
                user_id=node.user_id,
                node_id=node.node_id,
                version=node.version,
                visible=not node.deleted,
                incarnation=node.incarnation,
            )
            # The deadline goes along, so a peer that hangs opens its breaker, and then nobody waits for it.
            await stub.SetNodeVisibility(request, timeout=self._budget)
        except Brain2Error as error:
            self.missed[name] += 1
            log.debug("a peer hears of a note by its event only", extra={"peer": name, "why": str(error)})


_REQUESTS: Mapping[str, Any] = {
    "graph": graph_pb2.SetNodeVisibilityRequest,
    "similarity": similarity_pb2.SetNodeVisibilityRequest,
}
