"""Edges to notes that don't exist, and edges that are stored at one end only."""

from collections.abc import AsyncIterator, Sequence

from services.cleanup_service.model.findings import EdgeSide, Finding, Kind
from services.cleanup_service.usecases.reconcile.look import Look, finding


async def check(look: Look) -> AsyncIterator[list[Finding]]:
    gone: set[str] = set()
    sides = 0
    async for batch in look.ledger.edges(look.user_id):
        await look.pace.spend(len(batch))
        sides += len(batch)
        look.report.edges = (sides + 1) // 2
        missing = await look.missing({end for side in batch for end in (side.node_id, side.other)} - gone)
        gone |= missing
        findings = []
        for node_id in sorted(missing):
            repair = None if look.dry_run else look.owners.detach_missing(look.user_id, node_id)
            detail = "edges lead to a note that doesn't exist"
            findings.append(await finding(Kind.EDGE_TO_MISSING_NODE, node_id, detail, repair))
        whole = [side for side in batch if not {side.node_id, side.other} & gone]
        for side in await _one_sided(look, whole):
            repair = None if look.dry_run else _complete(look, side)
            detail = f"the edge {side.node_id} - {side.other} ({side.type}) is not stored at {side.other}"
            findings.append(await finding(Kind.ONE_SIDED_EDGE, side.node_id, detail, repair))
        yield findings


async def _one_sided(look: Look, sides: Sequence[EdgeSide]) -> Sequence[EdgeSide]:
    suspects = await look.ledger.missing_mirrors(look.user_id, sides)
    return await look.ledger.missing_mirrors(look.user_id, suspects) if suspects else ()


async def _complete(look: Look, side: EdgeSide) -> None:
    if await look.ledger.complete(look.user_id, side):
        await look.owners.renew(look.user_id, side, exists=True)
