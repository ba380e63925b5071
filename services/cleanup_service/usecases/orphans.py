"""CASCADE_ORPHANS: the neighbours that a deleted note takes along.

A neighbour goes when no edge would be left at it (edges at other deleted notes count as left: those notes may come
back) and nobody ever changed it since it was created. It is soft-deleted, so it can be restored by itself.
"""

import asyncio

from services.cleanup_service.ports import Graph, Nodes

_AT_ONCE = 8


async def delete_orphans(nodes: Nodes, graph: Graph, user_id: str, node_id: str) -> int:
    """How many neighbours were deleted. Call it before the edges are removed; again after a crash is fine."""
    deleted = 0
    async for batch in graph.edges(user_id, node_id):
        ends = {edge[end] for edge in batch for end in ("source_id", "target_id")} - {node_id}
        untouched = await nodes.untouched(user_id, sorted(ends))
        todo = sorted(untouched.items())
        for start in range(0, len(todo), _AT_ONCE):
            results = await asyncio.gather(
                *(_delete(nodes, graph, user_id, node_id, *one) for one in todo[start : start + _AT_ONCE])
            )
            deleted += sum(results)
    return deleted


async def _delete(nodes: Nodes, graph: Graph, user_id: str, node_id: str, neighbour: str, etag: str) -> bool:
    async for batch in graph.edges(user_id, neighbour):
        if any(node_id not in (edge["source_id"], edge["target_id"]) for edge in batch):
            return False
    # The etag makes sure that nobody changed it since it was found untouched.
    return await nodes.delete(user_id, neighbour, etag)
