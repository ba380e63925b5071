"""How sagas come to be, are called off and are asked about: events, the deletion queue, operators.

Events come late, twice and in any order; the model decides by versions, and a write that lost a race is decided anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import SHARDS, Deletion, Restore, Saga, State
from services.cleanup_service.ports import Due, Erasing, NodeKey, Nodes, SagaStore, Stale
from shared.errors import FailedPrecondition, InvalidArgument, NotFound
from shared.ids import Clock

_RACES = 10
# A page filtered by state reads at most so many sagas, and may then be short.
_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of sagas; position: where the next begins, "" at the end."""

    sagas: Sequence[Saga]
    position: str


class Intake:
    """offer: called with a saga that is due, to have it run here soon. It may refuse: the poller will find it."""

    def __init__(
        self, *, store: SagaStore, nodes: Nodes, erasing: Erasing, clock: Clock, offer: Callable[[str, str], bool]
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._erasing = erasing
        self._clock = clock
        self._offer = offer

    async def node_deleted(self, deletion: Deletion) -> Saga | None:
        """The saga of a deletion that was heard of; None when it changes nothing."""
        if await self._erasing.is_erasing(deletion.user_id):
            return None
        return await self._change(
            deletion.user_id,
            deletion.node_id,
            lambda saga: sagas.deleted(saga, deletion, self._clock.now_ms(), "deleted"),
        )

    async def node_restored(self, restore: Restore) -> Saga | None:
        """The saga that a restore called off, or a tombstone; None when it changes nothing."""
        if await self._erasing.is_erasing(restore.user_id):
            return None
        return await self._change(
            restore.user_id, restore.node_id, lambda saga: sagas.restored(saga, restore, self._clock.now_ms())
        )

    async def adopt(self, keys: Sequence[NodeKey]) -> int:
        """Makes sagas for notes of the deletion queue that have none under way: their events were lost.

        How many were made. The queue may be behind, so the note itself is asked.
        """
        known = await self._store.get_many(keys)
        made = 0
        for key in keys:
            saga = known.get(key)
            if saga is not None and not saga.over:
                continue
            try:
                deletion = await self._nodes.deletion(*key)
            except NotFound:
                continue
            if deletion is not None and await self.node_deleted(deletion):
                made += 1
        return made

    async def queue(self, user_id: str, node_id: str) -> Saga:
        """QueueDeletion: due now. NotFound; FailedPrecondition (NOT_DELETED)."""
        saga = await self._store.get(user_id, node_id)
        if saga is None or saga.over:
            saga = await self._adopt_now(user_id, node_id, saga)
        changed = await self._change(
            user_id, node_id, lambda found: None if found is None else sagas.hurried(found, self._clock.now_ms())
        )
        return changed or saga

    async def retry(self, user_id: str, node_id: str) -> Saga:
        """RetryDeletion. NotFound; FailedPrecondition (NOT_FAILED).

        A deletion whose event ended in the dead letters has no saga, or that of an earlier deletion: then it gets its
        own, as the event would have made it.
        """
        saga = await self._store.get(user_id, node_id)
        if (saga is None or saga.over) and (made := await self._made_up(user_id, node_id, saga)):
            return made

        def change(found: Saga | None) -> Saga:
            if found is None or found.state is not State.FAILED:
                raise FailedPrecondition("the deletion has not failed", reason="NOT_FAILED")
            return sagas.retried(found, self._clock.now_ms())

        changed = await self._change(user_id, node_id, change)
        assert changed is not None
        return changed

    async def get(self, user_id: str, node_id: str) -> Saga:
        """NotFound when there is no deletion of the note."""
        saga = await self._store.get(user_id, node_id)
        if saga is None:
            raise NotFound("there is no deletion of this note", reason="DELETION_NOT_FOUND")
        return saga

    async def list_user(self, user_id: str, state: State | None, position: str, limit: int) -> Listing:
        """A user's deletions (in a state), by the time of the delete, oldest first."""
        found: list[Saga] = []
        looked_at = 0
        while True:
            page = await self._store.by_user(user_id, position, limit)
            for due, saga in await self._read(page):
                position = due.position
                looked_at += 1
                if saga is not None and state in (None, saga.state):
                    found.append(saga)
                if len(found) == limit:
                    return Listing(found, position)
            if len(page) < limit:
                return Listing(found, "")
            if looked_at >= _LOOKED_AT:
                return Listing(found, position)

    async def list_state(self, state: State | None, position: str, limit: int) -> Listing:
        """Everybody's deletions in a state, by the time since when they wait (or were last written), oldest first."""
        if state is None:
            raise InvalidArgument("state must be set when user_id is empty", reason="STATE_REQUIRED")
        merged: list[Due] = []
        for shard in range(SHARDS):
            merged += await self._store.by_attention(state, shard, None, position, limit)
        merged.sort(key=lambda due: due.position)
        page = merged[:limit]
        found = [saga for _, saga in await self._read(page) if saga is not None and saga.state is state]
        return Listing(found, page[-1].position if len(merged) > limit else "")

    async def _read(self, page: Sequence[Due]) -> list[tuple[Due, Saga | None]]:
        found: Mapping[NodeKey, Saga] = await self._store.get_many([(due.user_id, due.node_id) for due in page])
        return [(due, found.get((due.user_id, due.node_id))) for due in page]

    async def _made_up(self, user_id: str, node_id: str, saga: Saga | None) -> Saga | None:
        """The saga of a deletion that was not heard of; None when there is none but the one that is known."""
        try:
            deletion = await self._nodes.deletion(user_id, node_id)
        except NotFound:
            if saga is not None:
                return None
            raise
        if deletion is not None:
            made = await self._change(
                user_id, node_id, lambda found: sagas.deleted(found, deletion, self._clock.now_ms(), "made up for")
            )
            return made or (await self.get(user_id, node_id) if saga is None else None)
        if saga is None:
            raise FailedPrecondition("the note is live: delete it first", reason="NOT_DELETED")
        return None

    async def _adopt_now(self, user_id: str, node_id: str, saga: Saga | None) -> Saga:
        try:
            deletion = await self._nodes.deletion(user_id, node_id)
        except NotFound:
            if saga is not None and saga.state is State.DONE:
                return saga
            raise
        if deletion is None:
            raise FailedPrecondition("the note is live: delete it first", reason="NOT_DELETED")
        due_now = replace(deletion, purge_ms=min(deletion.purge_ms, self._clock.now_ms()))
        await self._change(
            user_id,
            node_id,
            lambda found: sagas.deleted(found, due_now, self._clock.now_ms(), "queued by request"),
        )
        return await self.get(user_id, node_id)

    async def _change(self, user_id: str, node_id: str, change: Callable[[Saga | None], Saga | None]) -> Saga | None:
        for _ in range(_RACES):
            after = change(await self._store.get(user_id, node_id))
            if after is None:
                return None
            try:
                saved = await self._store.save(after)
            except Stale:
                continue
            if sagas.claimable(saved, self._clock.now_ms()):
                self._offer(user_id, node_id)
            return saved
        raise Stale("the deletion is being written by others all the time")
