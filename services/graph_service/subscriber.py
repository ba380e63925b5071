"""Passes the events of the node service to their use case."""

from collections.abc import Awaitable, Callable, Mapping

from services.graph_service import convert
from services.graph_service.usecases.node_events import NodeEvents
from shared.events.envelope import Event

Handler = Callable[[Event], Awaitable[None]]


def handlers(node_events: NodeEvents) -> Mapping[str, Handler]:
    """The handler of each type of event."""

    async def created(event: Event) -> None:
        title, incarnation = convert.node_created(event.data)
        await node_events.node_created(event.user_id, event.node_id, title, incarnation)

    async def updated(event: Event) -> None:
        await node_events.node_updated(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def deleted(event: Event) -> None:
        await node_events.node_deleted(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def restored(event: Event) -> None:
        await node_events.node_restored(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def purged(event: Event) -> None:
        await node_events.node_purged(event.user_id, event.node_id, event.version)

    return {
        "node.created": created,
        "node.updated": updated,
        "node.deleted": deleted,
        "node.restored": restored,
        "node.purged": purged,
    }
