"""What a crash left half done: events that nobody published, deletions whose note is gone already."""

from collections.abc import AsyncIterator

from services.cleanup_service.model.findings import Finding, Kind
from services.cleanup_service.model.saga import Saga, State
from services.cleanup_service.usecases.reconcile.look import BATCH, Look, finding

# The sweepers of the services publish what is older than some seconds; what is still there is a finding.
GRACE_MS = 60_000


async def events(look: Look) -> AsyncIterator[list[Finding]]:
    left = await look.ledger.leftovers(look.user_id, look.clock.now_ms() - GRACE_MS)
    if not left:
        return
    repair = None if look.dry_run else look.ledger.publish(look.user_id, [event_id for event_id, _ in left])
    done = await finding(Kind.OUTBOX_LEFTOVER, "", "", repair)
    yield [
        Finding(done.kind, "", f"the event {event_id} ({type}) was not published{done.detail}", done.repaired)
        for event_id, type in left
    ]


async def sagas(look: Look) -> AsyncIterator[list[Finding]]:
    position = ""
    while True:
        page = await look.intake.list_user(look.user_id, None, position, BATCH)
        await look.pace.spend(len(page.sagas))
        # One that runs ends by itself, also without its note; one that waits or has failed would stay.
        stuck = [saga for saga in page.sagas if saga.state in (State.PENDING, State.FAILED)]
        gone = await look.missing({saga.node_id for saga in stuck})
        findings = []
        for saga in stuck:
            if saga.node_id in gone:
                repair = None if look.dry_run else _finish(look, saga)
                detail = f"its deletion is {saga.state}, but the note doesn't exist"
                findings.append(await finding(Kind.SAGA_WITHOUT_NODE, saga.node_id, detail, repair))
        yield findings
        position = page.position
        if not position:
            return


async def _finish(look: Look, saga: Saga) -> None:
    if saga.state is State.FAILED:
        await look.intake.retry(saga.user_id, saga.node_id)
    else:
        await look.intake.queue(saga.user_id, saga.node_id)
