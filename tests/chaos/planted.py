"""Bugs that the checker must catch: each takes away one of the guards that the promises rest on.

outbox: events are published after the write and kept nowhere: a crash in between loses them.
lease: whoever read a list of neighbours may store it in the cache, however old it is by then.
fence: the purge doesn't look whether the note was restored.
"""

from collections.abc import Callable
from typing import Any

BUGS = ("outbox", "lease", "fence")


def plant(bug: str, service: str) -> None:
    """Change this process, if the bug is one of this service."""
    _PLANTS[bug](service)


def _outbox(service: str) -> None:
    from shared.dynamo import Put
    from shared.events.envelope import Event
    from shared.events.outbox import Outbox

    def put(self: Outbox, event: Event) -> Put:
        # The transaction keeps its shape, but nobody will ever look here.
        return Put({"PK": "PLANTED#nowhere", "SK": event.id, "expires_at": 1})

    Outbox.put = put  # type: ignore[method-assign]


def _lease(service: str) -> None:
    if service != "graph":
        return
    from services.graph_service.adapters.list_cache import RedisLists
    from tests.support.graph_planted import store_without_lease

    RedisLists.store = store_without_lease  # type: ignore[assignment, method-assign]


def _fence(service: str) -> None:
    if service != "node":
        return
    from services.node_service import servicer
    from services.node_service.model import NodeEvent, NodeEventType
    from services.node_service.ports import NodeWrite
    from services.node_service.usecases.notes import Notes

    async def purge_node(notes: Notes, user_id: str, node_id: str, version: int) -> bool:
        node = await notes.store.current_summary(user_id, node_id)
        if node is None:
            return False
        now = notes.clock.now_ms()
        event = NodeEvent(event_type=NodeEventType.PURGED, node=node, time_ms=now)
        await notes.store.commit(NodeWrite(before=node, after=None, event=event))
        return True

    async def fence_node(notes: Notes, user_id: str, node_id: str, version: int) -> Any:
        return await notes.store.current(user_id, node_id)

    vars(servicer).update(purge_node=purge_node, fence_node=fence_node)


_PLANTS: dict[str, Callable[[str], None]] = {"outbox": _outbox, "lease": _lease, "fence": _fence}
