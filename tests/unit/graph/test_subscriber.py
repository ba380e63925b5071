"""Each event of the node service reaches its use case."""

from typing import Any

from services.graph_service.subscriber import handlers
from shared.events.envelope import Event


class Spy:
    """Records calls instead of a NodeEvents."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        async def called(*args: Any) -> None:
            self.calls.append((name, *args))

        return called


def event(kind: str, version: int, **data: Any) -> Event:
    return Event("e", f"node.{kind}", "brain2.node", "u", "n", version, 0, data)


async def test_each_event_has_its_use_case() -> None:
    spy: Any = Spy()
    handle = handlers(spy)
    assert handle.keys() == {"node.created", "node.updated", "node.deleted", "node.restored", "node.purged"}
    await handle["node.created"](event("created", 1, title="T", incarnation="7"))
    await handle["node.updated"](event("updated", 2, title="U", incarnation="7"))
    await handle["node.deleted"](event("deleted", 3, incarnation="7"))
    await handle["node.restored"](event("restored", 4, incarnation="7"))
    await handle["node.purged"](event("purged", 5))
    assert spy.calls == [
        ("node_created", "u", "n", "T", 7),
        ("node_updated", "u", "n", 2, 7),
        ("node_deleted", "u", "n", 3, 7),
        ("node_restored", "u", "n", 4, 7),
        ("node_purged", "u", "n", 5),
    ]
