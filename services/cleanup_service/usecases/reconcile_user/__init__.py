"""ReconcileUser: compares all that is stored of a user, and repairs what is inconsistent.

It runs while the user is being served, so every inconsistency is looked at again before it counts as a finding: a note
that was written a moment ago isn't missing from the index, an edge that is being removed isn't one-sided. Repairs are
calls of the services that own the items, with the two exceptions of docs/adr/0045, and every repair is verified before
it is reported. Memory grows with the number of the user's notes only (their ids and versions).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from services.cleanup_service.model.findings import Finding, ReconcileReport, StoredNote
from services.cleanup_service.ports.reconcile_user import PeerRepairs, ReconcileStore
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.reconcile_user import caches, edges, index, leftovers
from services.cleanup_service.usecases.reconcile_user.context import Pace, ReconcileContext
from shared.errors import Brain2Error, FailedPrecondition
from shared.resilience.retry import Sleep
from shared.tracer import NoTracer, Tracer, traced

DEFAULT_RATE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class UserReconciler:
    """reconcile_user() reconciles one user.

    unrepaired: how many findings of each kind could not be repaired in this process, and under INTERRUPTED how many
    reconciliations failed.
    """

    store: ReconcileStore
    peers: PeerRepairs
    deletions: Deletions
    sleep: Sleep = asyncio.sleep
    tracer: Tracer = field(default_factory=NoTracer)
    unrepaired: Counter[str] = field(default_factory=Counter, init=False)

    async def reconcile_user(
        self, user_id: str, *, dry_run: bool, max_rate: int = 0
    ) -> AsyncIterator[list[Finding] | ReconcileReport]:
        """Yields findings in batches, which may be empty to show progress, and the report last.

        max_rate: the most items that are read per second, 0 for 500. Raises FailedPrecondition (ERASING).
        """
        if await self.deletions.erasures.is_erasing(user_id):
            raise FailedPrecondition("the user is being erased", reason="ERASING")
        try:
            async for part in self._checked(user_id, dry_run=dry_run, max_rate=max_rate):
                yield part
        except Brain2Error:
            self.unrepaired["INTERRUPTED"] += 1
            raise
        if not dry_run and isinstance(part, ReconcileReport):
            self.unrepaired.update(Counter(part.found) - Counter(part.repaired))

    async def _checked(
        self, user_id: str, *, dry_run: bool, max_rate: int
    ) -> AsyncIterator[list[Finding] | ReconcileReport]:
        pace = Pace(max_rate or DEFAULT_RATE, self.deletions.clock, self.sleep)
        notes: dict[str, StoredNote] = {}
        async for stored in self.store.notes(user_id):
            await pace.spend(len(stored))
            notes.update({note.node_id: note for note in stored})
        ctx = ReconcileContext(
            user_id=user_id,
            notes=notes,
            report=ReconcileReport(notes=len(notes)),
            dry_run=dry_run,
            pace=pace,
            store=self.store,
            peers=self.peers,
            deletions=self.deletions,
            sleep=self.sleep,
        )
        # Unpublished events first, because many findings follow from them. Caches last: other repairs refresh them.
        checks = {
            "events": leftovers.events,
            "deletions": leftovers.deletions,
            "edges": edges.check,
            "records": index.records,
            "postings": index.postings,
            "caches": caches.check,
        }
        for name, check in checks.items():
            async for findings in traced(self.tracer, f"reconcile {name}", check(ctx)):
                for finding in findings:
                    ctx.report.add(finding)
                yield findings
        ctx.report.end_ms = self.deletions.clock.now_ms()
        yield ctx.report
