"""What the events of the node service change here. Events may come late, twice, and in any order."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from services.graph_service.ports import EdgeStore, VisibilityRecord
from services.graph_service.usecases.detach_node import DetachNode
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.set_node_visibility import SetNodeVisibility
from shared.errors import Aborted, Brain2Error

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeEvents:
    """One method for each type of event."""

    store: EdgeStore
    lookup: ListLookup
    existence: Existence
    visibility: SetNodeVisibility
    detach: DetachNode

    async def node_created(self, user_id: str, node_id: str, title: str, incarnation: int) -> None:
        """The note exists, so its edges may be created. Under the id of a purged note it is a new incarnation."""
        if node_id in await self.lookup.hidden(user_id):
            shown = VisibilityRecord(node_id, 1, hidden=False, incarnation=incarnation)
            await self.visibility.set_node_visibility(user_id, shown)
        self.existence.put(user_id, node_id, title)

    async def warm(self, user_id: str, node_ids: Sequence[str]) -> None:
        """Put the lists of new notes, which are empty as a rule, into the caches. Never raises.

        Each is read from DynamoDB under a lease, like any other list. Links may exist already, since events come late.
        """
        try:
            await self.lookup.warm(user_id, node_ids)
        except Brain2Error as error:
            log.debug("lists of new notes are not in the caches", extra={"notes": len(node_ids), "error": repr(error)})

    async def node_updated(self, user_id: str, node_id: str, version: int, incarnation: int) -> None:
        """The title may have changed.

        An updated note is visible: an older record that hides it is wrong, because the event of its restore was lost.
        """
        if node_id in await self.lookup.hidden(user_id):
            await self.node_restored(user_id, node_id, version, incarnation)
            return
        await self.visibility.invalidate_node(user_id, node_id)

    async def node_deleted(self, user_id: str, node_id: str, version: int, incarnation: int) -> None:
        """The note is hidden with its edges."""
        hidden = VisibilityRecord(node_id, version, hidden=True, incarnation=incarnation)
        await self.visibility.set_node_visibility(user_id, hidden)

    async def node_restored(self, user_id: str, node_id: str, version: int, incarnation: int) -> None:
        """The note is visible again with its edges."""
        shown = VisibilityRecord(node_id, version, hidden=False, incarnation=incarnation)
        await self.visibility.set_node_visibility(user_id, shown)

    async def node_purged(self, user_id: str, node_id: str, version: int, incarnation: int) -> None:
        """The note is gone for good: delete the edges that came late, then the record of its visibility.

        A note that exists is left alone: the event may be late, and the id may have been created again. So is a deleted
        one, unless it is of this incarnation: then the answer of the node service is from before the purge.
        """
        await self.visibility.invalidate_node(user_id, node_id)
        owners = await self.visibility.directory.visibility(user_id, node_id, (incarnation, version))
        if owners is not None and (not owners.hidden or owners.incarnation > incarnation):
            return
        done = False
        while not done:
            try:
                _, done = await self.detach.detach_node(user_id, node_id, 0, version)
            except Aborted:
                return  # the id is in use again
        record = await self.store.visibility(user_id, node_id)
        if record is not None and record.version <= version:
            await self.visibility.delete_record(user_id, record)
