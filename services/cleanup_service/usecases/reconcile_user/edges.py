"""Finds edges to notes that don't exist, and edges that are stored at one end only."""

from collections.abc import AsyncIterator, Collection, Sequence

from services.cleanup_service.model.findings import EdgeSide, Finding, FindingType
from services.cleanup_service.usecases.reconcile_user.context import ReconcileContext


async def check(ctx: ReconcileContext) -> AsyncIterator[list[Finding]]:
    gone: set[str] = set()
    sides = 0
    async for batch in ctx.store.edges(ctx.user_id):
        await ctx.pace.spend(len(batch))
        sides += len(batch)
        ctx.report.edges = (sides + 1) // 2
        missing = await ctx.missing({end for side in batch for end in (side.node_id, side.other)})
        findings = []
        for node_id in sorted(missing):
            at_node = [side for side in batch if node_id in (side.node_id, side.other)]
            # The repair of an earlier batch has removed these edges, too, unless they were stored at one end only.
            if node_id not in gone or (not ctx.dry_run and await ctx.store.stored(ctx.user_id, at_node)):
                findings += await _missing_note(ctx, node_id, at_node)
        gone |= missing
        whole = [side for side in batch if not {side.node_id, side.other} & gone]
        for side in await _one_sided(ctx, whole):
            findings += await _missing_side(ctx, side)
        yield findings


async def _missing_note(ctx: ReconcileContext, node_id: str, sides: Sequence[EdgeSide]) -> list[Finding]:
    async def detach() -> None:
        # The graph removes the edges that are stored at the missing note: the others get their second side first.
        for side in await ctx.store.missing_mirrors(ctx.user_id, [side for side in sides if side.other == node_id]):
            await ctx.store.complete(ctx.user_id, side)
        await ctx.peers.detach_missing(ctx.user_id, node_id)

    async def still_wrong() -> Collection[str]:
        if await ctx.store.stored(ctx.user_id, sides):
            return {node_id}
        return {node_id} if any([batch async for batch in ctx.store.edges(ctx.user_id, node_id)]) else ()

    found = Finding(FindingType.EDGE_TO_MISSING_NODE, node_id, "edges lead to a note that doesn't exist")
    return await ctx.repair({node_id: found}, detach, still_wrong)


async def _one_sided(ctx: ReconcileContext, sides: Sequence[EdgeSide]) -> Sequence[EdgeSide]:
    suspects = await ctx.store.missing_mirrors(ctx.user_id, sides)
    return await ctx.store.missing_mirrors(ctx.user_id, suspects) if suspects else ()


async def _missing_side(ctx: ReconcileContext, side: EdgeSide) -> list[Finding]:
    async def complete() -> None:
        if await ctx.store.complete(ctx.user_id, side):
            await ctx.peers.refresh_edge(ctx.user_id, side, exists=True)

    async def still_wrong() -> Collection[str]:
        return {side.node_id} if await ctx.store.missing_mirrors(ctx.user_id, [side]) else ()

    detail = f"the edge {side.node_id} - {side.other} ({side.type}) is not stored at {side.other}"
    found = Finding(FindingType.ONE_SIDED_EDGE, side.node_id, detail)
    return await ctx.repair({side.node_id: found}, complete, still_wrong)
