"""ListSuppressedEdges: the notes to which a person has rejected a link of a note."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.graph_service.ports import EdgeStore
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.validation import check_node

_PAGE = 1000
# graph.proto states the number.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class ListSuppressedEdges:
    """Reads the edges of the note in DynamoDB: the caches hold no suppressed ones."""

    store: EdgeStore
    lookup: ListLookup

    async def list_suppressed_edges(self, user_id: str, node_id: str) -> Sequence[str]:
        """The other ends of the suppressed edges of all types, in text order."""
        check_node(user_id, node_id)
        hidden = await self.lookup.hidden(user_id)
        found: set[str] = set()
        after: str | None = None
        while len(found) < _MOST:
            edges, after = await self.store.edges_at(user_id, node_id, after=after, limit=_PAGE, with_suppressed=True)
            found |= {edge.key.other(node_id) for edge in edges if edge.suppressed} - hidden
            if after is None:
                break
        return sorted(found)[:_MOST]
