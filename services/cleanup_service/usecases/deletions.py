"""What all use cases of deletions share: the stores that they read, and one way to change a saga."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import Deletion, Saga
from services.cleanup_service.ports import ErasureStatus, Nodes, SagaStore, WriteConflict
from shared.errors import FailedPrecondition
from shared.ids import Clock
from shared.resilience.retry import Backoff, retry
from shared.tracer import NoTracer, Tracer

_ATTEMPTS = 10
_BACKOFF = Backoff(base=0.005, cap=0.1)


@dataclass(frozen=True, slots=True)
class Deletions:
    """The dependencies of queue_deletion, retry_deletion, get_deletion, list_deletions and the node events.

    offer: is called with (user_id, node_id) of a saga that is due, to run it in this process soon. It may refuse:
    poll_deletions finds the saga later.
    changed: is called when a saga was written, so that the poller looks for due sagas as often as it can.
    """

    store: SagaStore
    nodes: Nodes
    erasures: ErasureStatus
    clock: Clock
    offer: Callable[[str, str], bool]
    tracer: Tracer = field(default_factory=NoTracer)
    changed: Callable[[], None] = lambda: None

    async def update(self, user_id: str, node_id: str, change: Callable[[Saga | None], Saga | None]) -> Saga | None:
        """Reads the saga, calls `change` with it and writes the result, on condition that nobody wrote in between.

        A conflicting write makes it read and decide again. Returns the saga as written, None when `change` returned
        None. Raises WriteConflict after 10 conflicts, and what `change` raises.
        """

        async def attempt() -> Saga | None:
            changed = change(await self.store.get(user_id, node_id))
            if changed is None:
                return None
            if trace := self.tracer.current():
                changed = replace(changed, trace=trace, trace_ms=self.clock.now_ms())
            return await self.store.save(changed)

        saved = await retry(attempt, attempts=_ATTEMPTS, on=(WriteConflict,), backoff=_BACKOFF)
        if saved is not None:
            self.changed()
        if saved is not None and sagas.claimable(saved, self.clock.now_ms()):
            self.offer(user_id, node_id)
        return saved

    async def record(self, deletion: Deletion, message: str) -> Saga | None:
        """Makes the saga of a deletion; None when a saga of this deletion, or of a later change, exists already."""
        return await self.update(
            deletion.user_id,
            deletion.node_id,
            lambda found: sagas.deleted(found, deletion, self.clock.now_ms(), message),
        )

    async def deletion_of_deleted_note(self, user_id: str, node_id: str) -> Deletion:
        """The deletion as the node service knows it. NotFound; FailedPrecondition (NOT_DELETED): the note is live."""
        deletion = await self.nodes.get_deletion(user_id, node_id)
        if deletion is None:
            raise FailedPrecondition("the note is live: delete it first", reason="NOT_DELETED")
        return deletion
