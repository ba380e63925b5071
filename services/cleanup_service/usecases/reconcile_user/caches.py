"""Compares what the graph answers from its caches with the table."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence, Set
from functools import partial

from services.cleanup_service.model.findings import EdgeSide, Finding, FindingType
from services.cleanup_service.usecases.reconcile_user.context import BATCH, ReconcileContext

_LOOKS = 3
# Seconds before the second look; before the third it is twice as long.
_PAUSE = 0.3
# Caches may keep weights with less precision than the table.
_SAME_WEIGHT = 0.001

WrongEdges = Mapping[str, Sequence[tuple[EdgeSide, bool]]]
"""By note: the edges that the graph's answer has wrong, each with whether the table has it."""


async def check(ctx: ReconcileContext) -> AsyncIterator[list[Finding]]:
    live = {node_id for node_id, note in ctx.notes.items() if note.live}
    ordered = sorted(live)
    for start in range(0, len(ordered), BATCH):
        batch = ordered[start : start + BATCH]
        await ctx.pace.spend(len(batch))
        wrong = await _wrong_edges(ctx, batch, live)
        for number in range(1, _LOOKS):
            if wrong:
                # An edge that was written or a note that was deleted meanwhile is no finding: it is right soon.
                await ctx.sleep(_PAUSE * number)
                wrong = await _look_again(ctx, wrong, live)
        findings: list[Finding] = []
        for node_id, sides in wrong.items():
            detail = f"the graph's answer differs from the table in {len(sides)} edges"
            found = Finding(FindingType.CACHE_DISAGREES, node_id, detail)
            still_wrong = partial(_look_again, ctx, {node_id: sides}, live)
            findings += await ctx.repair({node_id: found}, partial(_refresh, ctx, sides), still_wrong)
        yield findings


async def _look_again(ctx: ReconcileContext, wrong: WrongEdges, live: Set[str]) -> WrongEdges:
    others = {side.other for sides in wrong.values() for side, _ in sides}
    live_now = await ctx.peers.live(ctx.user_id, sorted(others | wrong.keys()))
    # The other notes were not asked about: for them the state at the start counts.
    return await _wrong_edges(ctx, sorted(wrong.keys() & live_now), (live - others) | live_now)


async def _wrong_edges(ctx: ReconcileContext, node_ids: Sequence[str], live: Collection[str]) -> WrongEdges:
    answers = await ctx.peers.neighbors(ctx.user_id, node_ids) if node_ids else {}
    found = {}
    for node_id in node_ids:
        answered = dict(answers.get(node_id, {}))
        wrong = []
        async for batch in ctx.store.edges(ctx.user_id, node_id):
            for side in batch:
                if side.suppressed:
                    continue  # if the graph answers it, it stays in `answered`
                weight = answered.pop((side.other, side.type), None)
                shown = side.other in live
                if (weight is not None) != shown or (shown and abs((weight or 0) - side.weight) > _SAME_WEIGHT):
                    wrong.append((side, True))
        wrong += [(EdgeSide(node_id, other, type, weight), False) for (other, type), weight in answered.items()]
        if wrong:
            found[node_id] = wrong
    return found


async def _refresh(ctx: ReconcileContext, sides: Sequence[tuple[EdgeSide, bool]]) -> None:
    for side, exists in sides:
        await ctx.peers.refresh_edge(ctx.user_id, side, exists=exists)
