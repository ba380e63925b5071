"""Events of the node service -> use cases. Duplicates and disorder are the model's affair (model/stored.py)."""

from collections.abc import Awaitable, Callable, Mapping

from services.similarity_service import convert
from services.similarity_service.ports import Nodes
from services.similarity_service.usecases.indexing import Indexing
from services.similarity_service.usecases.linking import Linking
from shared.errors import Aborted
from shared.events.envelope import Event

Handler = Callable[[Event], Awaitable[None]]


def handlers(indexing: Indexing, linking: Linking, nodes: Nodes) -> Mapping[str, Handler]:
    """What to do with each type of event."""

    async def written(event: Event) -> None:
        text, omitted = convert.written(event)
        if omitted:
            found = (await nodes.texts(event.user_id, [event.node_id])).get(event.node_id)
            if found is None:
                return  # deleted since: its own event says so
            text = found
        # Also when it was indexed before: the process may have died before it linked.
        await indexing.write(event.user_id, text)
        await linking.link(event.user_id, event.node_id, event.time_ms)

    async def deleted(event: Event) -> None:
        await indexing.turn(event.user_id, event.node_id, event.version, False, convert.incarnation_of(event))
        await linking.removed(event.user_id, event.time_ms)

    async def purged(event: Event) -> None:
        try:
            await indexing.remove(event.user_id, event.node_id, event.version, convert.incarnation_of(event))
        except Aborted as error:
            if error.reason != "VERSION_MISMATCH":
                raise
            # Old news: the note lives on.

    return {
        "node.created": written,
        "node.updated": written,
        "node.restored": written,
        "node.deleted": deleted,
        "node.purged": purged,
    }
