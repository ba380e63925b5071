"""ReconcileUser: reads what the table holds of a user and puts right what doesn't fit together.

It runs beside everything else, so whatever looks wrong is looked at again before it counts: a note that was written a
moment ago isn't missing from the index, an edge that is being removed isn't one-sided. Repairs go through the owners
(docs/adr/0045 names the two that can't). Nothing grows with the user but what is kept of each note's id.
"""

import asyncio
from collections.abc import AsyncIterator

from services.cleanup_service.model.findings import Finding, Report, StoredNote
from services.cleanup_service.ports import Erasing
from services.cleanup_service.ports.reconcile import Ledger, Owners
from services.cleanup_service.usecases.intake import Intake
from services.cleanup_service.usecases.reconcile import caches, edges, index, leftovers
from services.cleanup_service.usecases.reconcile.look import Look, Pace
from shared.errors import FailedPrecondition
from shared.ids import Clock
from shared.resilience.retry import Sleep

DEFAULT_RATE = 500


class Reconciler:
    """reconcile() looks at one user."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        owners: Owners,
        intake: Intake,
        erasing: Erasing,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._owners = owners
        self._intake = intake
        self._erasing = erasing
        self._clock = clock
        self._sleep = sleep

    async def reconcile(
        self, user_id: str, *, dry_run: bool, max_rate: int = 0
    ) -> AsyncIterator[list[Finding] | Report]:
        """Findings in batches (empty ones too: progress), the report last. FailedPrecondition (ERASING).

        max_rate: items looked at per second at most; 0 = 500.
        """
        if await self._erasing.is_erasing(user_id):
            raise FailedPrecondition("the user is being erased", reason="ERASING")
        pace = Pace(max_rate or DEFAULT_RATE, self._clock, self._sleep)
        notes: dict[str, StoredNote] = {}
        async for stored in self._ledger.notes(user_id):
            await pace.spend(len(stored))
            notes.update({note.node_id: note for note in stored})
        look = Look(
            user_id=user_id,
            notes=notes,
            report=Report(notes=len(notes)),
            dry_run=dry_run,
            pace=pace,
            ledger=self._ledger,
            owners=self._owners,
            intake=self._intake,
            clock=self._clock,
            sleep=self._sleep,
        )
        # Events that nobody published first: much else follows from them. Caches last: the other repairs renew them.
        for check in (leftovers.events, leftovers.sagas, edges.check, index.records, index.postings, caches.check):
            async for findings in check(look):
                for finding in findings:
                    look.report.add(finding)
                yield findings
        look.report.end_ms = self._clock.now_ms()
        yield look.report
