"""Passes the events of the node service to their use case."""

from collections.abc import Mapping

from services.graph_service import convert
from services.graph_service.usecases.node_events import NodeEvents
from shared.events.envelope import Event
from shared.events.handlers import BatchHandler, Handler, in_turn


def handlers(node_events: NodeEvents) -> Mapping[str, Handler | BatchHandler]:
    """The handler of each type of event. Created notes take no call as a rule, so many are handled in turn."""

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
        "node.created": in_turn(created),
        "node.updated": updated,
        "node.deleted": deleted,
        "node.restored": restored,
        "node.purged": purged,
    }
