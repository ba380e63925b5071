"""Events of the node service -> use cases. Duplicates and disorder are theirs to bear: they compare versions."""

from collections.abc import Awaitable, Callable, Mapping

from services.graph_service import convert
from services.graph_service.usecases.visibility import Visibility
from shared.events.envelope import Event

Handler = Callable[[Event], Awaitable[None]]


def handlers(visibility: Visibility) -> Mapping[str, Handler]:
    """What to do with each type of event."""

    async def created(event: Event) -> None:
        title, incarnation = convert.node_created(event.data)
        await visibility.created(event.user_id, event.node_id, title, incarnation)

    async def updated(event: Event) -> None:
        await visibility.updated(event.user_id, event.node_id, event.version, convert.incarnation(event.data))

    async def deleted(event: Event) -> None:
        await shown(event, visible=False)

    async def restored(event: Event) -> None:
        await shown(event, visible=True)

    async def purged(event: Event) -> None:
        await visibility.purged(event.user_id, event.node_id, event.version)

    async def shown(event: Event, *, visible: bool) -> None:
        incarnation = convert.incarnation(event.data)
        await visibility.set(event.user_id, event.node_id, event.version, visible=visible, incarnation=incarnation)

    return {
        "node.created": created,
        "node.updated": updated,
        "node.deleted": deleted,
        "node.restored": restored,
        "node.purged": purged,
    }
