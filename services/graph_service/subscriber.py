"""Passes the events of the node service to their use case."""

from collections.abc import Mapping, Sequence

from services.graph_service import convert
from services.graph_service.usecases.node_events import NodeEvents
from shared.events.envelope import Event
from shared.events.handlers import BatchHandler, Handler, in_turn

# The lists of more notes than this that come together are not warmed: they are an import's, and change at once when
# their links are made.
_MOST_WARMED = 10


def handlers(node_events: NodeEvents) -> Mapping[str, Handler | BatchHandler]:
    """The handler of each type of event. Created notes take no call as a rule, so many are handled in turn.

    Then the lists of a few of them are put into the caches together, but not those of a replay, whose notes have
    existed for long.
    """

    async def created(event: Event) -> None:
        title, incarnation = convert.node_created(event.data)
        await node_events.node_created(event.user_id, event.node_id, title, incarnation)

    in_turn_created = in_turn(created)

    async def all_created(events: Sequence[Event]) -> Mapping[str, Exception]:
        failed = await in_turn_created.handle(events)
        new = [event.node_id for event in events if event.id not in failed and not event.replay]
        if 0 < len(new) <= _MOST_WARMED:
            await node_events.warm(events[0].user_id, new)
        return failed

    async def updated(event: Event) -> None:
        await node_events.node_updated(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def deleted(event: Event) -> None:
        await node_events.node_deleted(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def restored(event: Event) -> None:
        await node_events.node_restored(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def purged(event: Event) -> None:
        await node_events.node_purged(event.user_id, event.node_id, event.version)

    return {
        "node.created": BatchHandler(all_created),
        "node.updated": updated,
        "node.deleted": deleted,
        "node.restored": restored,
        "node.purged": purged,
    }
