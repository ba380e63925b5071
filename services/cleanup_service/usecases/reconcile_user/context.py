"""What every check of a reconciliation works with, and the one way in which findings are repaired."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace

from services.cleanup_service.model.findings import Finding, ReconcileReport, StoredNote
from services.cleanup_service.ports.reconcile_user import PeerRepairs, ReconcileStore
from services.cleanup_service.usecases.deletions import Deletions
from shared.errors import Aborted, Brain2Error
from shared.ids import Clock
from shared.resilience.retry import Backoff, Sleep, retry

# Items that a check asks about in one call.
BATCH = 100
# A repair may take effect a moment later (a saga runs, a cache is read again): it is verified this many times.
_VERIFICATIONS = 5
_PAUSE = Backoff(base=0.25, cap=2.0)


class Pace:
    """Limits a reconciliation to `rate` items a second."""

    def __init__(self, rate: int, clock: Clock, sleep: Sleep) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._start = clock.monotonic()
        self._items = 0

    async def spend(self, items: int) -> None:
        """Waits until this many more items may be read."""
        self._items += items
        ahead = self._items / self._rate - (self._clock.monotonic() - self._start)
        if ahead > 0.05:
            await self._sleep(ahead)


class NotRepaired(Aborted):
    """The repair was carried out, but the inconsistency is still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileContext:
    """One reconciliation of one user. notes: as they were at its start. report: filled by the checks."""

    user_id: str
    notes: Mapping[str, StoredNote]
    report: ReconcileReport
    dry_run: bool
    pace: Pace
    store: ReconcileStore
    peers: PeerRepairs
    deletions: Deletions
    sleep: Sleep

    async def missing(self, node_ids: set[str]) -> set[str]:
        """Those of the notes that don't exist: they weren't there at the start and haven't been created since."""
        unknown = node_ids - self.notes.keys()
        return unknown - await self.peers.existing(self.user_id, sorted(unknown)) if unknown else set()

    async def repair(
        self,
        findings: Mapping[str, Finding],
        repair: Callable[[], Awaitable[object]],
        still_wrong: Callable[[], Awaitable[Collection[str]]],
    ) -> list[Finding]:
        """Carries out one repair for all the findings and verifies it; with dry_run it returns the findings unchanged.

        findings: by any key. still_wrong: looks again and returns the keys of those that are not repaired. A finding
        counts as repaired only when it is not among them; else its detail says why. An error is not raised, so that
        one repair that fails doesn't end the reconciliation.
        """
        if self.dry_run:
            return list(findings.values())
        left: Collection[str] = findings

        async def verify() -> None:
            nonlocal left
            left = await still_wrong()
            if left:
                raise NotRepaired("the repair had no effect")

        reason = ""
        try:
            await repair()
            await retry(verify, attempts=_VERIFICATIONS, on=(NotRepaired,), backoff=_PAUSE, sleep=self.sleep)
        except Brain2Error as error:
            reason = str(error)
        return [
            replace(finding, detail=f"{finding.detail}; not repaired: {reason}")
            if key in left
            else replace(finding, repaired=True)
            for key, finding in findings.items()
        ]
