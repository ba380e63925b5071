"""Events carry a small content, and never come near what EventBridge refuses."""

import pytest

from services.node_service.adapters.envelope import Enveloper
from services.node_service.model import EVENT_CONTENT_BYTES, Node, NodeEvent, NodeEventType, text
from shared.events.envelope import MAX_BYTES, Event
from tests.support.node_fakes import CountingIds


def event(content: str, title: str = "T", tags: tuple[str, ...] = ()) -> NodeEvent:
    node = Node(
        user_id="u",
        node_id="n",
        title=title,
        version=4,
        incarnation=1,
        create_ms=1,
        update_ms=1,
        tags=tags,
        **text(content),
    )
    return NodeEvent(event_type=NodeEventType.UPDATED, node=node, time_ms=1234)


def envelop(made: NodeEvent):  # type: ignore[no-untyped-def]
    return Enveloper(CountingIds(), lambda: {"traceparent": "tp", "tracestate": "ts"})(made)


def test_the_envelope() -> None:
    made = envelop(event("C"))
    assert (made.id, made.type, made.source) == ("made-1", "node.updated", "brain2.node")
    assert (made.user_id, made.node_id, made.version, made.time_ms) == ("u", "n", 4, 1234)
    assert (made.traceparent, made.tracestate) == ("tp", "ts")
    assert made.data["content"] == "C"


@pytest.mark.parametrize(
    ("content", "carried"),
    [
        ("x" * EVENT_CONTENT_BYTES, True),
        ("\x01" * EVENT_CONTENT_BYTES, True),
        ("x" * (EVENT_CONTENT_BYTES + 1), False),
        ("é" * (EVENT_CONTENT_BYTES // 2 + 1), False),
        ("x" * 256 * 1024, False),
    ],
    ids=["the largest", "the largest, escaped", "too large", "two bytes each", "largest note"],
)
def test_a_small_content_is_carried(content: str, carried: bool) -> None:
    made = envelop(event(content, title='"' * 512, tags=tuple('"' * 61 + f"{n:03}" for n in range(64))))
    assert len(made.to_json().encode()) < MAX_BYTES
    assert ("content" in made.data) is carried
    assert made.data.get("content_omitted", False) is not carried


def test_a_replay_says_so_and_nothing_else_does() -> None:
    again = Enveloper(CountingIds(), dict, replay=True)(event("C"))
    assert Event.from_json(again.to_json()).replay
    assert "brain2replay" not in envelop(event("C")).to_json()
