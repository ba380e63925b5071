"""Events of the node service -> use cases."""

from collections.abc import Awaitable, Callable, Mapping

from services.cleanup_service import convert
from services.cleanup_service.usecases.intake import Intake
from shared.events.envelope import Event


def handlers(intake: Intake) -> Mapping[str, Callable[[Event], Awaitable[None]]]:
    """What to do with each type of event. Duplicates and disorder are the model's affair: it compares versions."""

    async def deleted(event: Event) -> None:
        await intake.node_deleted(convert.deleted_event(event))

    async def restored(event: Event) -> None:
        await intake.node_restored(convert.restored_event(event))

    return {"node.deleted": deleted, "node.restored": restored}
