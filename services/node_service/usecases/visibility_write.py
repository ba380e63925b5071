"""A deletion or a restore: one write of a note, which the other services are to show from its answer on.

The change is announced to them while its transaction runs, so that the caller waits for the longer of the two, and not
for their sum (docs/deletion.md).
"""

from collections.abc import Awaitable, Callable
from typing import Generic

from services.node_service.model import NodeEvent, Summary
from services.node_service.ports import Announcement
from services.node_service.usecases.notes import Notes, S, WriteCall
from shared.errors import Brain2Error, DeadlineExceeded, Unavailable


class VisibilityWrite(Generic[S]):
    """One call of DeleteNode or RestoreNode."""

    def __init__(self, notes: Notes, user_id: str, node_id: str, call: WriteCall[S]) -> None:
        self._notes = notes
        self._user_id = user_id
        self._node_id = node_id
        self._call = call
        self._announcement: Announcement | None = None

    async def run(
        self,
        attempt_likely: Callable[[Summary], Awaitable[S | None]],
        attempt: Callable[[], Awaitable[S | None]],
    ) -> S:
        """Try until no other writer comes in between; the attempts call commit(). Returns the note that is answered.

        A repeated request sets the visibility again, because the process may have ended between the two.
        attempt_likely: the first attempt, with NodeStore.likely() instead of a read; None where only a read may decide.
        """
        notes = self._notes
        began = notes.clock.monotonic()
        first = True

        async def attempt_and_release() -> S | None:
            nonlocal first
            try:
                if first:
                    first = False
                    likely = await notes.store.likely(self._user_id, self._node_id)
                    if likely is not None and (done := await attempt_likely(likely)) is not None:
                        return done
                return await attempt()
            finally:
                await notes.store.release(self._user_id, self._node_id)

        node = await notes.concurrency.run(self._user_id, self._node_id, attempt_and_release)
        spent = notes.clock.monotonic() - began
        if self._announcement is not None:
            await self._announcement.confirm(spent)
        else:
            await notes.visibility.set_visibility(node, spent)
        return node

    async def commit(self, before: S, after: S, event: NodeEvent) -> S | None:
        """Notes.commit(), with the announcement of the change while it runs."""
        announcement = self._notes.visibility.announce(after)
        try:
            node = await self._notes.write(self._call, before, after, event)
        except (Unavailable, DeadlineExceeded):
            raise  # it may have been written
        except Brain2Error:
            await announcement.withdraw()
            raise
        if node is None:
            await announcement.withdraw()
            return await self._notes.previous_answer(self._call)
        self._announcement = announcement
        return node
