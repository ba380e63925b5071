"""Events of the node service -> use cases."""

from collections.abc import Awaitable, Callable, Mapping

from services.cleanup_service import convert
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.node_events import on_node_deleted, on_node_restored
from shared.events.envelope import Event


def handlers(deletions: Deletions) -> Mapping[str, Callable[[Event], Awaitable[None]]]:
    """The handler of each event type. Events may arrive twice and in any order: the model compares versions."""

    async def deleted(event: Event) -> None:
        await on_node_deleted(deletions, convert.deleted_event(event))

    async def restored(event: Event) -> None:
        await on_node_restored(deletions, convert.restored_event(event))

    return {"node.deleted": deleted, "node.restored": restored}
