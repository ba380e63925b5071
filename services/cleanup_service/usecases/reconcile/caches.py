"""Whether what the graph answers from its caches is what the table holds."""

from collections.abc import AsyncIterator, Sequence, Set

from services.cleanup_service.model.findings import EdgeSide, Finding, Kind
from services.cleanup_service.usecases.reconcile.look import BATCH, Look, finding

_LOOKS = 3
_PAUSE = 0.3
# Caches may keep weights with less precision than the table.
_SAME_WEIGHT = 0.001


async def check(look: Look) -> AsyncIterator[list[Finding]]:
    live = {node_id for node_id, note in look.notes.items() if note.live}
    ordered = sorted(live)
    for start in range(0, len(ordered), BATCH):
        batch = ordered[start : start + BATCH]
        await look.pace.spend(len(batch))
        wrong = await _wrong(look, batch, live)
        for number in range(1, _LOOKS):
            if wrong:
                # Written meanwhile, or deleted: what is still wrong after that is wrong.
                await look.sleep(_PAUSE * number)
                others = {side.other for sides in wrong.values() for side, _ in sides}
                live_now = await look.owners.live(look.user_id, sorted(others | wrong.keys()))
                # Edges that were right may lead to notes that this wasn't asked about.
                wrong = await _wrong(look, sorted(wrong.keys() & live_now), (live - others) | live_now)
        findings = []
        for node_id, sides in wrong.items():
            repair = None if look.dry_run else _renew(look, sides)
            detail = f"the graph's answer differs from the table in {len(sides)} edges"
            findings.append(await finding(Kind.CACHE_DISAGREES, node_id, detail, repair))
        yield findings


async def _wrong(look: Look, node_ids: Sequence[str], live: Set[str]) -> dict[str, list[tuple[EdgeSide, bool]]]:
    """By note the edges that the graph's answer has wrong, each with whether the table has it."""
    told = await look.owners.neighbors(look.user_id, node_ids) if node_ids else {}
    found = {}
    for node_id in node_ids:
        answered = dict(told.get(node_id, {}))
        wrong = []
        async for batch in look.ledger.edges(look.user_id, node_id):
            for side in batch:
                weight = answered.pop((side.other, side.type), None)
                shown = side.other in live
                if (weight is not None) != shown or (shown and abs((weight or 0) - side.weight) > _SAME_WEIGHT):
                    wrong.append((side, True))
        wrong += [(EdgeSide(node_id, other, type, weight), False) for (other, type), weight in answered.items()]
        if wrong:
            found[node_id] = wrong
    return found


async def _renew(look: Look, sides: Sequence[tuple[EdgeSide, bool]]) -> None:
    for side, exists in sides:
        await look.owners.renew(look.user_id, side, exists=exists)
