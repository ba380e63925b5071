"""Handles the events of the node service. They may come twice and in any order (model/stored.py)."""

from collections.abc import Awaitable, Callable, Mapping

from services.similarity_service import convert
from services.similarity_service.ports import Nodes
from services.similarity_service.usecases.index_node import IndexNode
from services.similarity_service.usecases.link_node import LinkNode
from services.similarity_service.usecases.link_texts import LinkTexts
from services.similarity_service.usecases.relink import Relinker
from services.similarity_service.usecases.remove_node import RemoveNode
from services.similarity_service.usecases.set_node_visibility import SetNodeVisibility
from shared.errors import Aborted
from shared.events.envelope import Event

Handler = Callable[[Event], Awaitable[None]]


def handlers(
    index_node: IndexNode,
    set_visibility: SetNodeVisibility,
    remove_node: RemoveNode,
    link_texts: LinkTexts,
    link_node: LinkNode,
    relinker: Relinker,
    nodes: Nodes,
) -> Mapping[str, Handler]:
    """The handler of each event type."""

    async def written(event: Event) -> None:
        text, omitted = convert.written(event)
        if omitted:
            found = (await nodes.texts(event.user_id, [event.node_id])).get(event.node_id)
            if found is None:
                return  # the note was deleted after the event, and its deletion has an event of its own
            text = found
        # The note is linked also if it was indexed before: a process may have died between the two steps. Links to a
        # restored note may have been written while it was hidden.
        before = await link_texts.before(event.user_id, event.node_id)
        indexed = await index_node(event.user_id, text)
        known = before if indexed and event.type != "node.restored" else None
        await link_texts(event.user_id, event.node_id, known, whole=not indexed)
        await link_node(event.user_id, event.node_id, event.time_ms)

    async def deleted(event: Event) -> None:
        incarnation = convert.incarnation_of(event)
        # SetNodeVisibility has told it before, unless that call failed.
        await set_visibility(event.user_id, event.node_id, event.version, False, incarnation, probably_known=True)
        await link_texts.after_hiding(event.user_id, event.node_id)
        await relinker.schedule_after_removal(event.user_id, event.time_ms)

    async def purged(event: Event) -> None:
        try:
            await remove_node(event.user_id, event.node_id, event.version, convert.incarnation_of(event))
        except Aborted as error:
            if error.reason != "VERSION_MISMATCH":
                raise
            # A newer version is indexed: the purge was of an earlier note with the same id.

    return {
        "node.created": written,
        "node.updated": written,
        "node.restored": written,
        "node.deleted": deleted,
        "node.purged": purged,
    }
