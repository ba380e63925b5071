"""Finds what a crash left unfinished: events that were not published, and deletions whose note is gone already."""

from collections.abc import AsyncIterator, Collection
from functools import partial

from services.cleanup_service.model.findings import Finding, FindingType
from services.cleanup_service.model.saga import Saga, State
from services.cleanup_service.usecases.list_deletions import all_deletions_of_user
from services.cleanup_service.usecases.queue_deletion import queue_deletion
from services.cleanup_service.usecases.reconcile_user.context import ReconcileContext
from services.cleanup_service.usecases.retry_deletion import retry_deletion

# The outbox sweepers publish events that are older than some seconds; an event that is older than this is a finding.
GRACE_MS = 60_000
# A running saga ends by itself, also without its note; a saga in one of these states would stay.
_STUCK = (State.PENDING, State.FAILED)


async def events(ctx: ReconcileContext) -> AsyncIterator[list[Finding]]:
    before_ms = ctx.deletions.clock.now_ms() - GRACE_MS
    left = await ctx.store.unpublished(ctx.user_id, before_ms)
    if not left:
        return

    async def still_wrong() -> Collection[str]:
        return {event_id for event_id, _ in await ctx.store.unpublished(ctx.user_id, before_ms)}

    findings = {
        event_id: Finding(FindingType.OUTBOX_LEFTOVER, "", f"the event {event_id} ({type}) was not published")
        for event_id, type in left
    }
    yield await ctx.repair(findings, partial(ctx.store.publish, ctx.user_id, list(findings)), still_wrong)


async def deletions(ctx: ReconcileContext) -> AsyncIterator[list[Finding]]:
    async for sagas in all_deletions_of_user(ctx.deletions, ctx.user_id):
        await ctx.pace.spend(len(sagas))
        stuck = [saga for saga in sagas if saga.state in _STUCK]
        gone = await ctx.missing({saga.node_id for saga in stuck})
        findings: list[Finding] = []
        for saga in stuck:
            if saga.node_id in gone:
                detail = f"its deletion is {saga.state}, but the note doesn't exist"
                found = Finding(FindingType.SAGA_WITHOUT_NODE, saga.node_id, detail)
                findings += await ctx.repair(
                    {saga.node_id: found}, partial(_run, ctx, saga), partial(_stuck, ctx, saga)
                )
        yield findings


async def _run(ctx: ReconcileContext, saga: Saga) -> None:
    run = retry_deletion if saga.state is State.FAILED else queue_deletion
    await run(ctx.deletions, saga.user_id, saga.node_id)


async def _stuck(ctx: ReconcileContext, saga: Saga) -> Collection[str]:
    now = await ctx.deletions.store.get(saga.user_id, saga.node_id)
    return {saga.node_id} if now is not None and now.state in _STUCK else ()
