"""SetNodeVisibility: a note was deleted (hidden) or restored (shown)."""

import asyncio
import logging

from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import Nodes, Records
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.record_changes import RecordChanges
from services.similarity_service.usecases.validation import check_ids
from shared.errors import Brain2Error, DeadlineExceeded, Unavailable
from shared.ids import Clock
from shared.resilience.background import BackgroundTasks
from shared.revisions import is_current, is_likely, version_unknown

log = logging.getLogger(__name__)


class SetNodeVisibility:
    """Hides and shows notes. Newer versions win; but a version that the note never had is corrected by its owner's."""

    def __init__(self, records: Records, changes: RecordChanges, cache: IndexCache, nodes: Nodes, clock: Clock) -> None:
        self._clock = clock
        self._records = records
        self._changes = changes
        self._cache = cache
        self._nodes = nodes
        self._running = BackgroundTasks()

    async def __call__(
        self,
        user_id: str,
        node_id: str,
        version: int,
        *,
        visible: bool,
        incarnation: int | None = None,
        probably_known: bool = False,
    ) -> bool:
        """Hide or show a note. False when a newer state is known.

        incarnation: None means the one that is known.
        probably_known: the record is read first, because an update that its condition refuses costs as much as a write.
        """
        check_ids(user_id, node_id=node_id)
        work = self._set(
            user_id, node_id, version, visible=visible, incarnation=incarnation, probably_known=probably_known
        )
        task = self._running.start(work)
        task.add_done_callback(_log_failure)
        # A deletion waits for some milliseconds only. The work goes on when that time is over.
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait for the writes that run."""
        await self._running.drain()

    async def checked(
        self, user_id: str, node_id: str, version: int, *, visible: bool, incarnation: int | None
    ) -> bool:
        """The same for a call, whose caller may be wrong: the node service must know a version that is not likely.

        Others are taken at once, since a deletion may wait for this call. Should one be wrong, the next true state of
        the note contradicts it, and the node service decides.
        FailedPrecondition (VERSION_UNKNOWN): the note never had it. Unavailable: the node service does not answer.
        """
        check_ids(user_id, node_id=node_id)
        claimed = (incarnation or 0, version)
        if is_likely(claimed, self._clock.now_ms()):
            # As before a purge, when cleanup hides the note again.
            hidden = not visible and self._cache.hides(user_id, node_id)
            return await self(
                user_id, node_id, version, visible=visible, incarnation=incarnation, probably_known=hidden
            )
        owners = await self._nodes.state(user_id, node_id, claimed)
        if owners is None:
            raise version_unknown(node_id)
        known = (owners.incarnation, owners.version)
        if not is_current(node_id, claimed, visible, known, owners.visible):
            return False  # what the note is now came by another call, or comes by its event
        return await self(user_id, node_id, version, visible=visible, incarnation=owners.incarnation)

    async def _set(
        self, user_id: str, node_id: str, version: int, *, visible: bool, incarnation: int | None, probably_known: bool
    ) -> bool:
        if not probably_known:
            stored = await self._records.set_visibility(
                user_id, node_id, version, visible=visible, incarnation=incarnation
            )
            if stored is not None:
                await self._cache.publish(user_id, [(node_id, stored)])
                return True
        stored = Stored()

        def change(old: Stored) -> Stored | None:
            nonlocal stored
            stored = old
            return old.with_visibility(version, visible=visible, incarnation=incarnation)

        changed = await self._changes.change(user_id, node_id, change, of_text=False)
        return changed or await self._correct(user_id, node_id, visible, stored)

    async def _correct(self, user_id: str, node_id: str, visible: bool, stored: Stored) -> bool:
        """Replace a record that contradicts the call and is newer than the note is at its owner.

        stored: the record. Whether it is now as the call wanted.

        A true record is never ahead of what its owner knows after it was read. So the owner's answer must not be older
        than the record, and says nothing of a record that was written since.
        """
        if stored.gone or stored.visible == visible:
            return False
        try:
            owners = await self._nodes.state(user_id, node_id, (stored.incarnation, stored.state_version))
        except (Unavailable, DeadlineExceeded):
            return False  # the next change, or a reconciliation, finds it again
        if owners is None:
            return False
        new = stored.corrected(owners.version, visible=owners.visible, incarnation=owners.incarnation)
        if new is None:
            return False
        corrected = await self._changes.change(
            user_id, node_id, lambda old: new if old.revision == stored.revision else None, guess=stored
        )
        if corrected:
            log.warning(
                "the record of a note had a version that the note never had",
                extra={"node_id": node_id, "stored": stored.state_version, "owner": owners.version},
            )
        return corrected and owners.visible == visible


def _log_failure(task: "asyncio.Task[bool]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        # The caller gets it, if it still waits; the event of the deletion brings the change.
        known = isinstance(error, Brain2Error)
        log.log(
            logging.INFO if known else logging.ERROR,
            "the visibility of a note was not stored",
            extra={"error": repr(error)},
            exc_info=None if known else error,
        )
