"""What every check of a reconciliation is given, and how it turns a repair into a finding."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from services.cleanup_service.model.findings import Finding, Kind, Report, StoredNote
from services.cleanup_service.ports import Superseded
from services.cleanup_service.ports.reconcile import Ledger, Owners
from services.cleanup_service.usecases.intake import Intake
from shared.errors import Brain2Error
from shared.ids import Clock
from shared.resilience.retry import Sleep

# Items of a check that are asked about together.
BATCH = 100


class Pace:
    """At most `rate` items a second."""

    def __init__(self, rate: int, clock: Clock, sleep: Sleep) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._start = clock.monotonic()
        self._items = 0

    async def spend(self, items: int) -> None:
        """Wait until so many more may be looked at."""
        self._items += items
        ahead = self._items / self._rate - (self._clock.monotonic() - self._start)
        if ahead > 0.05:
            await self._sleep(ahead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One reconciliation of one user. notes: as they were at its start; report: filled on the way."""

    user_id: str
    notes: Mapping[str, StoredNote]
    report: Report
    dry_run: bool
    pace: Pace
    ledger: Ledger
    owners: Owners
    intake: Intake
    clock: Clock
    sleep: Sleep

    async def missing(self, node_ids: set[str]) -> set[str]:
        """Those of the notes that don't exist: not among the notes, and not made since."""
        unknown = node_ids - self.notes.keys()
        return unknown - await self.owners.existing(self.user_id, sorted(unknown)) if unknown else set()


async def finding(kind: Kind, node_id: str, detail: str, repair: Awaitable[None] | None) -> Finding:
    """The finding, after its repair was tried. One repair that fails must not hide what else there is."""
    if repair is None:
        return Finding(kind, node_id, detail)
    try:
        await repair
    except (Brain2Error, Superseded) as error:
        return Finding(kind, node_id, f"{detail}; not repaired: {error}")
    return Finding(kind, node_id, detail, repaired=True)
