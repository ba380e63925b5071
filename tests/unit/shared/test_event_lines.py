"""Users wait in lines of their own, and the outbox publishes their events in turn."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events.envelope import Event
from shared.events.lines import Lines
from shared.events.outbox import Outbox
from tests.support.clock import ManualClock
from tests.support.faults import Faulty

_SIZES = st.dictionaries(st.text("abcdef", min_size=1, max_size=1), st.integers(1, 30), min_size=1)


@given(_SIZES)
def test_nobody_waits_for_more_than_one_item_of_each_other_user(sizes: dict[str, int]) -> None:
    lines: Lines[tuple[str, int]] = Lines()
    for user_id, count in sizes.items():
        for number in range(count):
            lines.add(user_id, (user_id, number))
    assert len(lines) == sum(sizes.values())
    assert lines.waiting(lines.longest()) == max(sizes.values())
    taken = []
    while lines:
        following = lines.next()
        taken.append(lines.take())
        assert taken[-1] == following
    # The n-th item of a user comes after the n-th of every other one at the latest, and a line keeps its order.
    assert [number for _, number in taken] == sorted(number for _, number in taken)
    assert len(taken) == len(set(taken)) == sum(sizes.values())
    with pytest.raises(IndexError):
        lines.take()


def test_the_last_of_a_line_is_dropped() -> None:
    lines: Lines[int] = Lines()
    for number in range(3):
        lines.add("a", number)
    lines.add("b", 9)
    assert lines.drop_last("a") == 2
    assert lines.drop_last("b") == 9
    assert (lines.longest(), lines.waiting("b"), len(lines)) == ("a", 0, 2)
    lines.clear()
    assert (lines.longest(), len(lines)) == ("", 0)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["add", "add", "take", "drop"]))))
def test_the_longest_line_is_known_whatever_was_done(steps: Sequence[tuple[str, str]]) -> None:
    lines: Lines[str] = Lines()
    for user_id, step in steps:
        if step == "add":
            lines.add(user_id, user_id)
        elif step == "take" and lines:
            lines.take()
        elif step == "drop" and lines.waiting(user_id):
            lines.drop_last(user_id)
        assert lines.waiting(lines.longest()) == max(lines.waiting(each) for each in "abcd")
        assert len(lines) == sum(lines.waiting(each) for each in "abcd")


class _Table:
    """What the outbox needs of a table here: it deletes published events."""

    async def batch_write(self, puts: Sequence[Any] = (), deletes: Sequence[Any] = ()) -> None:
        pass


def _event(user_id: str, number: int) -> Event:
    return Event(f"{user_id}{number:025d}", "node.created", "brain2.node", user_id, "n", 1, 0, {})


async def _published(outbox: Outbox, sent: list[str], announced: Sequence[Event]) -> list[str]:
    """The users of the events in the order in which they were published."""
    async with outbox:
        outbox.announce(*announced)
    return sent


def _outbox(most_queued: int = 10_000) -> tuple[Outbox, list[str]]:
    sent: list[str] = []

    def take(request: Any) -> Any:
        sent.extend(json.loads(entry["Detail"])["id"] for entry in request["Entries"])
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in request["Entries"]]}

    client: Any = Faulty(None, put_events=take)
    table: Any = _Table()
    outbox = Outbox(
        table, client, service="test", bus="bus", clock=ManualClock(), publishers=1, most_queued=most_queued
    )
    return outbox, sent


async def test_one_users_many_events_let_the_single_event_of_another_pass() -> None:
    outbox, sent = _outbox()
    many = [_event("a", number) for number in range(1000)]
    single = _event("b", 0)
    await _published(outbox, sent, [*many, single])
    assert sent.index(single.id) == 1
    assert sorted(sent) == sorted(event.id for event in [*many, single])
    assert [each for each in sent if each != single.id] == [event.id for event in many]


async def test_above_the_bound_the_longest_line_gives_way() -> None:
    outbox, sent = _outbox(most_queued=100)
    many = [_event("a", number) for number in range(150)]
    others = [_event(user_id, number) for user_id in "bc" for number in range(10)]
    await _published(outbox, sent, [*many, *others])
    assert {event.id for event in others} <= set(sent)
    assert [each for each in sent if each.startswith("a")] == [event.id for event in many[:80]]
    # What was not published stays in the table, for the sweeper.
    assert outbox.counts["overflow"] == 70
    assert outbox.queued == 0
