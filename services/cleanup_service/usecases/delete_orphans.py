"""CASCADE_ORPHANS: soft-deletes the neighbours of a deleted note that would be left without edges.

A neighbour is deleted when no other edge is left at it (an edge to another deleted note counts as left, because that
note may be restored) and it was never changed since it was created. It can be restored by itself.
"""

import asyncio

from services.cleanup_service.ports import Graph, Nodes

_AT_ONCE = 8


async def delete_orphans(nodes: Nodes, graph: Graph, user_id: str, node_id: str) -> int:
    """Returns how many neighbours were deleted. To be called before the edges are removed; it may be repeated."""
    deleted = 0
    async for batch in graph.edges(user_id, node_id):
        ends = {edge[end] for edge in batch for end in ("source_id", "target_id")} - {node_id}
        unchanged = await nodes.unchanged(user_id, sorted(ends))
        neighbours = sorted(unchanged.items())
        for start in range(0, len(neighbours), _AT_ONCE):
            results = await asyncio.gather(
                *(_delete(nodes, graph, user_id, node_id, *one) for one in neighbours[start : start + _AT_ONCE])
            )
            deleted += sum(results)
    return deleted


async def _delete(nodes: Nodes, graph: Graph, user_id: str, node_id: str, neighbour: str, etag: str) -> bool:
    async for batch in graph.edges(user_id, neighbour):
        if any(node_id not in (edge["source_id"], edge["target_id"]) for edge in batch):
            return False
    # The etag makes sure that it wasn't changed since.
    return await nodes.delete_unchanged(user_id, neighbour, etag)
