"""ListEdges: every edge of a user, or of one note, in bounded memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from services.graph_service.model.edge import Edge
from services.graph_service.ports import EdgeStore
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.validation import check_node, check_user

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class ListEdges:
    """Reads DynamoDB page by page."""

    store: EdgeStore
    lookup: ListLookup

    async def list_edges(
        self,
        user_id: str,
        node_id: str = "",
        *,
        min_weight: float = 0.0,
        show_hidden: bool = False,
        show_suppressed: bool = False,
    ) -> AsyncIterator[Sequence[Edge]]:
        """Every edge once, in batches.

        node_id: only the edges of this note. show_hidden: also those at hidden notes. show_suppressed: also suppressed
        ones, whatever min_weight is.
        """
        check_node(user_id, node_id) if node_id else check_user(user_id)
        hidden = frozenset[str]() if show_hidden else await self.lookup.hidden(user_id)
        batches = (
            self._edges_at(user_id, node_id, with_suppressed=show_suppressed)
            if node_id
            else self.store.edges(user_id, with_suppressed=show_suppressed)
        )
        async for batch in batches:
            visible = [
                edge
                for edge in batch
                if (edge.suppressed or edge.weight >= min_weight)
                and edge.source not in hidden
                and edge.target not in hidden
            ]
            if visible:
                yield visible

    async def _edges_at(self, user_id: str, node_id: str, *, with_suppressed: bool) -> AsyncIterator[Sequence[Edge]]:
        after: str | None = None
        while True:
            batch, after = await self.store.edges_at(
                user_id, node_id, after=after, limit=_PAGE, with_suppressed=with_suppressed
            )
            yield batch
            if after is None:
                return
