"""Messages to the model and back."""

from collections.abc import Callable

import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from protos.node.v1 import events_pb2, node_pb2
from services.node_service import convert
from services.node_service.model import Cascade, Node, NodeEvent, NodeEventType, UserSettings, View, text
from shared.errors import AlreadyExists, InvalidArgument

NODE = Node(
    user_id="u",
    node_id="n",
    title="T",
    version=3,
    incarnation=1_700_000_000_123,
    create_ms=1_600_000_000_001,
    update_ms=1_700_000_000_456,
    delete_ms=1_700_000_000_789,
    purge_ms=1_700_000_060_789,
    tags=("a", "b"),
    metadata={"k": "v"},
    cascade=Cascade.ORPHANS,
    **text("é" * 201),
)


def test_the_views_of_a_note() -> None:
    full = convert.node(NODE)
    assert (full.content, full.excerpt, full.content_bytes) == ("é" * 201, "", 402)
    assert (full.version, full.etag, full.incarnation) == (3, f'"3-{NODE.incarnation:x}"', NODE.incarnation)
    assert (list(full.tags), dict(full.metadata)) == (["a", "b"], {"k": "v"})
    assert full.create_time.ToMilliseconds() == NODE.create_ms
    assert full.update_time.ToMilliseconds() == NODE.update_ms
    assert full.delete_time.ToMilliseconds() == NODE.delete_ms
    assert full.purge_time.ToMilliseconds() == NODE.purge_ms
    summary = convert.node(NODE, View.SUMMARY)
    assert (summary.content, summary.excerpt, summary.content_bytes) == ("", "é" * 200, 402)
    title = convert.node(NODE, View.TITLE)
    assert (title.title, title.version, title.excerpt, list(title.tags)) == ("T", 3, "", [])


def test_a_live_note_has_no_time_of_deletion() -> None:
    live = Node(user_id="u", node_id="n", title="", version=1, incarnation=1, create_ms=1, update_ms=1, **text("x"))
    assert not convert.node(live).HasField("delete_time")
    assert not convert.node(live).HasField("purge_time")


def test_a_draft() -> None:
    message = node_pb2.NewNode(node_id="n", title="T", content="C", tags=["a"], metadata={"k": "v"})
    assert convert.draft(message).create_ms is None
    message.create_time.FromMilliseconds(1234)
    draft = convert.draft(message)
    assert (draft.node_id, draft.title, draft.content, draft.tags, draft.create_ms) == ("n", "T", "C", ("a",), 1234)
    assert draft.metadata == {"k": "v"}
    message.create_time.nanos = -5
    assert convert.draft(message).create_ms == -1


@pytest.mark.parametrize(("nanos", "floor", "ceiling"), [(0, 1000, 1000), (1, 1000, 1001), (999_999_999, 1999, 2000)])
def test_finer_times_are_rounded_to_the_safe_side(nanos: int, floor: int, ceiling: int) -> None:
    at = Timestamp(seconds=1, nanos=nanos)
    assert convert.time(at, "t") == floor
    assert convert.time(at, "t", up=True) == ceiling


@pytest.mark.parametrize(("seconds", "nanos"), [(2**60, 0), (-(2**60), 0), (0, -1), (0, 10**9)])
def test_what_is_no_time(seconds: int, nanos: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        convert.time(Timestamp(seconds=seconds, nanos=nanos), "t")
    why = (
        f"has {seconds:,} seconds and {nanos:,} nanos, must have -62,135,596,800 to 253,402,300,799 seconds since "
        "1970-01-01 and 0 to 999,999,999 nanos"
    )
    assert [(each.field, each.description) for each in caught.value.violations] == [("t", why)]


@pytest.mark.parametrize(
    ("read", "field", "why"),
    [
        (
            convert.cascade,
            "cascade",
            "is 7, must be a value of Cascade: 0 (CASCADE_UNSPECIFIED), 1 (CASCADE_EDGES), 2 (CASCADE_ORPHANS)",
        ),
        (
            convert.view,
            "view",
            "is 7, must be a value of NodeView: 0 (NODE_VIEW_UNSPECIFIED), 1 (NODE_VIEW_TITLE), "
            "2 (NODE_VIEW_SUMMARY), 3 (NODE_VIEW_FULL)",
        ),
    ],
)
def test_an_unknown_number_is_refused_with_the_values_that_there_are(
    read: Callable[[int], object], field: str, why: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(7)
    assert [(each.field, each.description) for each in caught.value.violations] == [(field, why)]


def test_tokens_say_what_a_reader_must_see() -> None:
    assert convert.seen(convert.token(NODE)) == {"n": (NODE.incarnation, 3)}
    assert convert.seen(convert.token()) == {}
    assert convert.seen("") == {}


@pytest.mark.parametrize("token", ["x", "é", "MTpu", "Mjpu", "!!!!", "MTpuPXg"])
def test_garbled_tokens(token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        convert.seen(token)
    assert [violation.field for violation in caught.value.violations] == ["consistency_token"]
    assert caught.value.reason == "CONSISTENCY_TOKEN_INVALID"


def test_a_request_is_recognised_by_method_and_body() -> None:
    message = node_pb2.DeleteNodeRequest(user_id="u", node_id="n", request_id="r")
    same = node_pb2.DeleteNodeRequest(request_id="r", node_id="n", user_id="u")
    assert convert.idempotent_request("DeleteNode", message) == convert.idempotent_request("DeleteNode", same)
    assert convert.idempotent_request("DeleteNode", message) != convert.idempotent_request("RestoreNode", message)
    same.etag = "e"
    assert convert.idempotent_request("DeleteNode", message) != convert.idempotent_request("DeleteNode", same)
    assert convert.idempotent_request("DeleteNode", node_pb2.DeleteNodeRequest(user_id="u")) is None


def test_a_body_is_recognised_whatever_the_order_of_its_metadata() -> None:
    one = node_pb2.NewNode(metadata={f"k{n}": "v" for n in range(20)})
    two = node_pb2.NewNode(metadata={f"k{n}": "v" for n in reversed(range(20))})
    requests = [
        convert.idempotent_request("CreateNode", node_pb2.CreateNodeRequest(request_id="r", node=node))
        for node in (one, two)
    ]
    assert requests[0] == requests[1]


def test_the_results_of_a_batch() -> None:
    response = node_pb2.BatchCreateNodesResponse.FromString(
        convert.batch_answer([NODE, AlreadyExists("taken", reason="NODE_EXISTS")])
    )
    good, bad = response.results
    assert (good.code, good.node.node_id, good.node.content) == (0, "n", "")
    assert (bad.code, bad.reason, bad.message, bad.HasField("node")) == (6, "NODE_EXISTS", "taken", False)


def test_the_answer_to_a_fence() -> None:
    answer = convert.fenced(NODE)
    assert (answer.node.content, answer.cascade) == (NODE.content, node_pb2.CASCADE_ORPHANS)
    assert convert.fenced(None).already_purged


def test_settings() -> None:
    assert convert.settings(UserSettings(60)).retention == Duration(seconds=60)
    assert convert.retention(node_pb2.UserSettings()) is None
    assert convert.retention(node_pb2.UserSettings(retention=Duration(seconds=1, nanos=500_000_000))) == 1.5


@pytest.mark.parametrize("event_type", list(NodeEventType))
def test_events_read_back_as_their_messages(event_type: NodeEventType) -> None:
    event = NodeEvent(event_type=event_type, node=NODE, time_ms=5, changed=("title",))
    message = convert.event_message(event, with_content=True)
    assert type(message).__name__ == "Node" + event_type.value.removeprefix("node.").capitalize()
    read = json_format.ParseDict(convert.event_data(event, with_content=True), type(message)())
    assert read == message
    assert getattr(read, "incarnation") == NODE.incarnation  # noqa: B009


def test_what_events_say() -> None:
    def data(event_type: NodeEventType, *, with_content: bool = True) -> dict[str, object]:
        event = NodeEvent(event_type=event_type, node=NODE, time_ms=1_700_000_000_789, changed=("title",))
        return convert.event_data(event, with_content=with_content)

    created = data(NodeEventType.CREATED)
    assert (created["title"], created["content"], created["tags"]) == ("T", NODE.content, ["a", "b"])
    assert "content_omitted" not in created
    large = data(NodeEventType.UPDATED, with_content=False)
    assert (large["content_omitted"], large["changed"], "content" in large) == (True, ["title"], False)
    deleted = data(NodeEventType.DELETED)
    assert (deleted["delete_time"], deleted["cascade"]) == ("2023-11-14T22:13:20.789Z", "CASCADE_ORPHANS")
    assert deleted["purge_time"] == "2023-11-14T22:14:20.789Z"
    assert data(NodeEventType.PURGED)["purge_time"] == "2023-11-14T22:13:20.789Z"


def test_unknown_values_of_enums() -> None:
    assert convert.view(0) is View.FULL
    assert convert.cascade(0) is Cascade.EDGES
    for refuse in (convert.view, convert.cascade):
        with pytest.raises(InvalidArgument):
            refuse(77)


def test_an_event_says_only_what_its_message_has() -> None:
    assert isinstance(
        convert.event_message(NodeEvent(event_type=NodeEventType.PURGED, node=NODE, time_ms=5), with_content=True),
        events_pb2.NodePurged,
    )
