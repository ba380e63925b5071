"""An event in the outbox: one write unit where it can be."""

import pytest

from shared.dynamo.size import item_bytes, write_units
from shared.errors import InvalidArgument
from shared.events.envelope import Event
from shared.events.stored import event_item, stored_event


def event(content: str) -> Event:
    return Event(
        id="01J0000000000000000000000",
        type="node.created",
        source="brain2.node",
        user_id="ada",
        node_id="n",
        version=1,
        time_ms=1_700_000_000_000,
        data={"content": content},
    )


@pytest.mark.parametrize("content", ["", "short", "a sentence of some words. " * 40, "é" * 4000])
def test_an_event_is_read_as_it_was_written(content: str) -> None:
    made = event(content)
    assert stored_event(event_item(made, made.to_json())) == made


@pytest.mark.parametrize("content", ["a sentence of some words. " * 40, "緑茶は宇治の土の急須で淹れる。" * 20])
def test_a_text_that_needs_two_units_is_compressed_into_one(content: str) -> None:
    made = event(content)
    assert write_units(len(made.to_json().encode())) == 2
    item = {"PK": "OUTBOX#node#1", "SK": made.id, **event_item(made, made.to_json())}
    assert write_units(item_bytes(item)) == 1


def test_events_of_an_earlier_release_are_read() -> None:
    made = event("short")
    assert stored_event({"event": made.to_json(), "at": made.time_ms}) == made


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"event": "{"},
        {"event": "[]"},
        {"event": None},
        {"event_zip": b"garbage"},
        {"event_zip": "text"},
        {"event_zip": None},
    ],
)
def test_what_is_no_event_is_an_error(item: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        stored_event(item)
