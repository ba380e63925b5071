"""Each event of the node service reaches its use case."""

from dataclasses import replace
from typing import Any

import pytest

from services.graph_service.subscriber import Bursts, handlers
from shared.errors import Unavailable
from shared.events.envelope import Event
from shared.events.handlers import BatchHandler
from tests.support.clock import ManualClock


class Spy:
    """Records calls instead of a NodeEvents. failing: the note of which every call fails."""

    def __init__(self, failing: str = "") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.failing = failing

    def __getattr__(self, name: str) -> Any:
        async def called(*args: Any) -> None:
            if self.failing in args:
                raise Unavailable("away")
            self.calls.append((name, *args))

        return called


def event(kind: str, version: int, **data: Any) -> Event:
    return Event("e", f"node.{kind}", "brain2.node", "u", "n", version, 0, data)


async def test_each_event_has_its_use_case() -> None:
    spy: Any = Spy()
    handle = handlers(spy, ManualClock())
    assert handle.keys() == {"node.created", "node.updated", "node.deleted", "node.restored", "node.purged"}
    await handle["node.created"](event("created", 1, title="T", incarnation="7"))
    await handle["node.updated"](event("updated", 2, title="U", incarnation="7"))
    await handle["node.deleted"](event("deleted", 3, incarnation="7"))
    await handle["node.restored"](event("restored", 4, incarnation="7"))
    await handle["node.purged"](event("purged", 5))
    assert spy.calls == [
        ("node_created", "u", "n", "T", 7),
        ("warm", "u", ["n"]),
        ("node_updated", "u", "n", 2, 7),
        ("node_deleted", "u", "n", 3, 7),
        ("node_restored", "u", "n", 4, 7),
        ("node_purged", "u", "n", 5, 0),
    ]


async def test_the_lists_of_created_notes_are_warmed_together_but_not_those_of_a_replay_or_of_a_failure() -> None:
    spy: Any = Spy(failing="wrong")
    created = handlers(spy, ManualClock())["node.created"]
    events = [
        replace(event("created", 1, title="T", incarnation="7"), id=name, node_id=name, replay=name == "replayed")
        for name in ("a", "b", "replayed", "wrong")
    ]
    assert isinstance(created, BatchHandler)
    assert (await created.handle(events)).keys() == {"wrong"}
    assert spy.calls[-1] == ("warm", "u", ["a", "b"])
    spy.calls.clear()
    await created(events[2])
    assert [name for name, *_ in spy.calls] == ["node_created"]


async def test_the_lists_of_many_notes_that_come_without_a_rest_are_not_warmed() -> None:
    spy: Any = Spy()
    clock = ManualClock()
    created = handlers(spy, clock)["node.created"]
    assert isinstance(created, BatchHandler)
    handle = created.handle

    async def warmed(user_id: str, first: int, count: int) -> bool:
        spy.calls.clear()
        notes = [f"n{number}" for number in range(first, first + count)]
        some = event("created", 1, title="T", incarnation="7")
        await handle([replace(some, user_id=user_id, id=each, node_id=each) for each in notes])
        assert [name for name, *_ in spy.calls].count("node_created") == count
        return ("warm", user_id, notes) in spy.calls

    assert await warmed("u", 0, 10)
    clock.move(0.9)
    assert not await warmed("u", 10, 1), "an import comes in small groups"
    assert await warmed("v", 0, 10), "each user has bursts of their own"
    clock.move(0.9)
    assert not await warmed("u", 11, 1), "the rest counts from the latest note"
    clock.move(1.1)
    assert await warmed("u", 12, 1)
    clock.move(1.1)
    assert not await warmed("u", 13, 11)


async def test_only_so_many_users_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.graph_service.subscriber._MOST_USERS", 2)
    bursts = Bursts(ManualClock())
    counts = [bursts.add(user_id, 1) for user_id in ("a", "b", "a", "c", "a", "b")]
    assert counts == [1, 1, 2, 1, 3, 1]
