"""The envelope: what is written is read back, and what isn't an event says why."""

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidArgument
from shared.events.envelope import Event, new_event
from shared.ids import UlidFactory
from tests.support.clock import ManualClock

texts = st.text(min_size=1)
data = st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.lists(st.text())))


def event(**changes: Any) -> Event:
    given: dict[str, Any] = {
        "id": "01",
        "type": "node.created",
        "source": "brain2.node",
        "user_id": "anna@example.org",
        "node_id": "n1",
        "version": 1,
        "time_ms": 1_700_000_000_123,
        "data": {"title": "A"},
        **changes,
    }
    return Event(**given)


@given(
    texts,
    texts,
    texts,
    texts,
    texts,
    st.integers(0, 2**63 - 1),
    st.integers(0, 9_999_999_999_999),
    data,
    st.text(),
    st.text(),
)
def test_what_is_written_is_read_back(
    id: str, type: str, source: str, user: str, node: str, version: int, time: int, data: Any, parent: str, state: str
) -> None:
    written = Event(id, type, source, user, node, version, time, data, parent, state)
    assert Event.from_json(written.to_json()) == written
    assert Event.from_json(json.loads(written.to_json().encode())) == written


def test_the_json_is_a_cloudevent() -> None:
    written = json.loads(event(traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01").to_json())
    assert written == {
        "specversion": "1.0",
        "id": "01",
        "type": "node.created",
        "source": "brain2.node",
        "subject": "n1",
        "time": "2023-11-14T22:13:20.123Z",
        "datacontenttype": "application/json",
        "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "brain2user": "anna@example.org",
        "brain2version": 1,
        "data": {"title": "A"},
    }


def test_other_attributes_and_other_zones_are_read() -> None:
    body = {**json.loads(event().to_json()), "dataschema": "x", "time": "2023-11-15T00:13:20.123456+02:00"}
    assert Event.from_json(body) == event()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": None}, "id isn't a text"),
        ({"subject": ""}, "subject isn't a text"),
        ({"brain2version": "3"}, "brain2version"),
        ({"brain2version": True}, "brain2version"),
        ({"data": []}, "data"),
        ({"time": "yesterday"}, "yesterday"),
        ({"time": "2023-11-14T22:13:20"}, "no zone"),
        ({"specversion": "0.3"}, "0.3"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says) as error:
        Event.from_json({**json.loads(event().to_json()), **change})
    assert error.value.reason == "EVENT_MALFORMED"


@pytest.mark.parametrize("missing", ["specversion", "id", "type", "source", "subject", "time", "brain2user", "data"])
def test_what_is_missing_is_said(missing: str) -> None:
    body = json.loads(event().to_json())
    del body[missing]
    with pytest.raises(InvalidArgument, match=f"{missing} is missing"):
        Event.from_json(body)


@pytest.mark.parametrize("body", ["", "[]", "{", "3", b"\xff", "[" * 100_000, '{"detail": ' + "9" * 5_000 + "}"])
def test_what_is_no_json_object_is_no_event(body: str | bytes) -> None:
    with pytest.raises(InvalidArgument):
        Event.from_json(body)
    if isinstance(body, str):
        with pytest.raises(InvalidArgument):
            Event.from_body(body)


@given(st.text())
def test_its_json_holds_only_characters_that_sqs_takes(text: str) -> None:
    made = event(user_id=text or "u", data={text: [text, "\ufffe\uffff\x00\x7f\U0001ffff"]})
    assert not re.search("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", made.to_json())
    assert Event.from_json(made.to_json()) == made


def test_a_new_event_has_an_id_a_time_and_the_trace_of_its_maker() -> None:
    clock = ManualClock()
    ids = UlidFactory(clock, random.Random(1))
    carrier = {"traceparent": "00-x", "tracestate": "a=b"}
    made = [
        new_event(ids, clock, source="s", type="t", user_id="u", node_id="n", version=1, data={}, carrier=carrier)
        for _ in range(2)
    ]
    assert made[0].id < made[1].id
    assert made[0].time_ms == clock.now_ms()
    assert made[0].carrier == carrier
