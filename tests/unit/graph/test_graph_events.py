"""What the events of the node service lead to, and what is remembered of notes."""

from typing import Any

from services.graph_service.subscriber import handlers
from services.graph_service.usecases.existence import Existence
from shared.events.envelope import Event
from tests.support.graph_fakes import FakeClock, FakeDirectory


class Spy:
    """Records calls instead of a Visibility."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def created(self, *args: Any) -> None:
        self.calls.append(("created", *args))

    async def updated(self, *args: Any) -> None:
        self.calls.append(("updated", *args))

    async def purged(self, *args: Any) -> None:
        self.calls.append(("purged", *args))

    async def set(self, *args: Any, **more: Any) -> bool:
        self.calls.append(("set", *args, more))
        return True


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
        ("created", "u", "n", "T", 7),
        ("updated", "u", "n", 2, 7),
        ("set", "u", "n", 3, {"visible": False, "incarnation": 7}),
        ("set", "u", "n", 4, {"visible": True, "incarnation": 7}),
        ("purged", "u", "n", 5),
    ]


async def test_what_exists_is_remembered_for_a_while_what_is_missing_is_not() -> None:
    clock, directory = FakeClock(), FakeDirectory({"a": "A"})
    existence = Existence(directory, clock, ttl=30)
    assert await existence.missing("u", ["a", "b", "a"]) == ["b"]
    directory.titles["b"] = "B"
    assert await existence.missing("u", ["a", "b"]) == []
    assert directory.asked == [["a", "b"], ["b"]]
    clock.advance(31)
    assert await existence.titles("u", ["a"]) == {"a": "A"}
    assert directory.asked[-1] == ["a"]
    existence.forget("u", ["a"])
    del directory.titles["a"]
    assert await existence.missing("u", ["a"]) == ["a"]


async def test_what_is_remembered_is_bounded() -> None:
    existence = Existence(FakeDirectory(), FakeClock(), entries=10)
    for i in range(100):
        existence.remember("u", f"n{i}", "T")
    assert await existence.missing("u", ["n99", "n0"]) == ["n0"]
    assert len(existence._known) == 10
