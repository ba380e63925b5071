"""PutEvents: what fits into a call, and what becomes of each entry."""

from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from shared.events.bus import CALL_BYTES, CALL_ENTRIES, Bus, calls, entry_bytes
from shared.events.envelope import MAX_BYTES, Event
from shared.resilience.breaker import Breaker
from tests.support.clock import ManualClock
from tests.support.faults import Faulty, throttled, unreachable


def event(number: int = 0, size: int = 0) -> Event:
    return Event(f"{number:026d}", "node.created", "brain2.node", "u", "n", 1, 0, {"fill": "é" * (size // 2)})


def bus(answer: Any) -> tuple[Bus, Faulty, Breaker]:
    client = Faulty(None, put_events=answer)
    breaker = Breaker("eventbridge", ManualClock(), failures=2)
    return Bus(client, "bus", breaker), client, breaker  # type: ignore[arg-type]


@given(st.lists(st.integers(0, MAX_BYTES - 1000), max_size=40))
def test_calls_hold_all_events_in_order_and_keep_both_limits(sizes: list[int]) -> None:
    events = [event(number, size) for number, size in enumerate(sizes)]
    chunks = list(calls(events))
    assert [one for chunk in chunks for one in chunk] == events
    for chunk in chunks:
        assert 1 <= len(chunk) <= CALL_ENTRIES
        assert sum(map(entry_bytes, chunk)) <= CALL_BYTES
    for chunk, following in pairwise(chunks):
        full = len(chunk) == CALL_ENTRIES or sum(map(entry_bytes, chunk)) + entry_bytes(following[0]) > CALL_BYTES
        assert full


async def test_each_entry_says_what_it_is() -> None:
    asked: list[Any] = []

    def take(request: Any) -> Any:
        asked.append(request)
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    sender, _, _ = bus(take)
    taken, refused = await sender.publish([event()])
    assert (taken, refused) == ([event()], [])
    [entry] = asked[0]["Entries"]
    assert entry == {
        "EventBusName": "bus",
        "Source": "brain2.node",
        "DetailType": "node.created",
        "Detail": event().to_json(),
    }


async def test_entries_that_failed_are_told_apart() -> None:
    results = [{"EventId": "1"}, {"ErrorCode": "InternalFailure"}, {"ErrorCode": "MalformedDetail"}, {"EventId": "2"}]
    sender, _, _ = bus(lambda request: {"FailedEntryCount": 2, "Entries": results})
    events = [event(number) for number in range(4)]
    taken, refused = await sender.publish(events)
    assert taken == [events[0], events[3]]
    assert [(one.event, one.code, one.permanent) for one in refused] == [
        (events[1], "InternalFailure", False),
        (events[2], "MalformedDetail", True),
    ]


@pytest.mark.parametrize(("error", "state"), [(throttled, "closed"), (unreachable, "open")])
async def test_a_call_that_failed_leaves_all_for_later(error: Any, state: str) -> None:
    def fail(request: Any) -> None:
        raise error()

    sender, client, breaker = bus(fail)
    for _ in range(2):
        taken, refused = await sender.publish([event(1), event(2)])
        assert taken == []
        assert [one.permanent for one in refused] == [False, False]
    assert (breaker.state, client.calls["put_events"]) == (state, 2)


async def test_while_the_breaker_is_open_nothing_is_sent() -> None:
    def fail(request: Any) -> None:
        raise unreachable()

    sender, client, _ = bus(fail)
    for _ in range(5):
        await sender.publish([event()])
    assert client.calls["put_events"] == 2


async def test_one_malformed_entry_does_not_take_the_others_with_it() -> None:
    def validate(request: Any) -> Any:
        if any('"n":"bad"' in entry["Detail"] for entry in request["Entries"]):
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "no"}}, "PutEvents")
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "x"} for _ in request["Entries"]]}

    sender, _, _ = bus(validate)
    bad = Event("bad", "t", "s", "u", "n", 1, 0, {"n": "bad"})
    good = [event(1), event(2)]
    taken, refused = await sender.publish([good[0], bad, good[1]])
    assert taken == good
    assert [(one.event, one.permanent) for one in refused] == [(bad, True)]
