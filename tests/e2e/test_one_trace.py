"""One trace id follows a write through every service that it reaches, over gRPC, EventBridge and SQS."""

import json
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from deploy.local import traces
from deploy.local.demo.measure import traced
from deploy.local.stack import Stack
from protos.cleanup.v1 import cleanup_pb2
from protos.node.v1 import node_pb2
from tests.support.client import Client
from tests.support.waiting import until

PRODUCER = Span.SPAN_KIND_PRODUCER
Names = set[tuple[str, str]]


async def spans_with(stack: Stack, trace_id: str, wanted: Names) -> list[dict[str, object]]:
    """The spans of the trace, once those of the wanted services and names have arrived, and all are one tree.

    Each service sends its spans when they have ended, so a parent may come after its children.
    """

    def arrived() -> bool:
        spans = traces.read(stack.traces, trace_id)
        return named(spans) >= wanted and is_one_tree(spans)

    try:
        await until(arrived, seconds=60.0, what="the whole tree")
    except AssertionError as error:
        spans = traces.read(stack.traces, trace_id)
        known = {span["span"] for span in spans}
        lonely = named([span for span in spans if span["parent"] not in known])
        raise AssertionError(f"{error}: missing {wanted - named(spans)}, without a parent {lonely}") from None
    return traces.read(stack.traces, trace_id)


def named(spans: list[dict[str, object]]) -> Names:
    """(service, name) of each span, without the package of a method."""
    return {(str(span["service"]), str(span["name"]).rpartition(".v1.")[2]) for span in spans}


def is_one_tree(spans: list[dict[str, object]]) -> bool:
    """Every span but those of the test's own calls, which are servers' spans, has its parent in the trace."""
    known = {span["span"] for span in spans}
    return all(span["kind"] == Span.SPAN_KIND_SERVER for span in spans if span["parent"] not in known)


def linked_to(stack: Stack, trace_id: str) -> list[dict[str, Any]]:
    """The spans of other traces that are linked to this one."""
    if not stack.traces.exists():
        return []
    with stack.traces.open(encoding="utf-8") as lines:
        found: list[dict[str, Any]] = [json.loads(line) for line in lines if trace_id in line]
    return [span for span in found if trace_id in span["links"]]


async def test_a_create_reaches_the_links_under_one_trace(stack: Stack, library: Client) -> None:
    draft = node_pb2.NewNode(
        node_id="e2e-traced", title="Parsing", content="A parser builds the syntax tree of a grammar"
    )
    with traced() as trace_id:
        await library.node.CreateNode(node_pb2.CreateNodeRequest(user_id=library.user, node=draft))
    await until(lambda: library.neighbor_ids("e2e-traced"), what="the automatic link")
    spans = await spans_with(
        stack,
        trace_id,
        {
            ("node", "NodeService/CreateNode"),
            ("node", "DynamoDB/TransactWriteItems"),
            ("node", "publish node.created"),
            ("node", "EventBridge/PutEvents"),
            ("similarity", "process node.created"),
            ("similarity", "DynamoDB/PutItem"),
            ("similarity", "GraphService/BatchCreateEdges"),
            ("graph", "GraphService/BatchCreateEdges"),
            ("graph", "DynamoDB/TransactWriteItems"),
            ("graph", "EVALSHA"),
        },
    )
    attributes = [span["attributes"] for span in spans]
    assert not any(library.user in str(each) or "e2e-traced" in str(each) for each in attributes)
    (put,) = [span for span in spans if (span["service"], span["name"]) == ("node", "DynamoDB/TransactWriteItems")]
    found: Any = put["attributes"]
    assert found["db.system.name"] == "aws.dynamodb"
    assert f"http://{found['server.address']}:{found['server.port']}" == stack.endpoints.dynamodb


async def test_a_delete_reaches_all_four_services_under_one_trace(stack: Stack, library: Client) -> None:
    """The deletion is queued at once, in the trace of the delete: all that it does follows in that trace."""
    node_id = "mutual-exclusion"
    with traced() as trace_id:
        await library.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=library.user, node_id=node_id))
        queue = cleanup_pb2.QueueDeletionRequest(user_id=library.user, node_id=node_id)
        await library.cleanup.QueueDeletion(queue)
    await spans_with(
        stack,
        trace_id,
        {
            ("node", "NodeService/DeleteNode"),
            ("graph", "GraphService/AnnounceNodeVisibility"),
            ("similarity", "SimilarityService/AnnounceNodeVisibility"),
            ("graph", "GraphService/SetNodeVisibility"),
            ("similarity", "process node.deleted"),
            ("cleanup", "process node.deleted"),
            ("cleanup", "deletion"),
            ("cleanup", "deletion archive"),
            ("cleanup", "S3/PutObject"),
            ("graph", "GraphService/DetachNode"),
            ("similarity", "SimilarityService/RemoveNode"),
            ("node", "NodeService/PurgeNode"),
            ("cleanup", "publish cleanup.completed"),
            ("similarity", "process node.purged"),
        },
    )


async def test_relinking_is_linked_to_the_traces_of_the_notes(stack: Stack, client: Client) -> None:
    draft = node_pb2.NewNode(node_id="relinked", title="Relinked", content="A note that is relinked after a moment")
    with traced() as trace_id:
        await client.node.CreateNode(node_pb2.CreateNodeRequest(user_id=client.user, node=draft))

    def relinked() -> list[dict[str, Any]]:
        return [span for span in linked_to(stack, trace_id) if span["name"] == "relink"]

    await until(relinked, seconds=60.0, what="the span of the relinking")
    (span, *_) = relinked()
    assert span["service"] == "similarity"
    assert span["trace"] != trace_id


async def test_replayed_events_belong_to_the_trace_of_the_replay(stack: Stack, client: Client) -> None:
    for number in range(3):
        draft = node_pb2.NewNode(node_id=f"again-{number}", title="Again")
        await client.node.CreateNode(node_pb2.CreateNodeRequest(user_id=client.user, node=draft))
    with traced() as trace_id:
        async for _ in client.node.ReplayEvents(node_pb2.ReplayEventsRequest(user_id=client.user)):
            pass
    wanted = {
        ("node", "NodeService/ReplayEvents"),
        ("node", "publish node.created"),
        ("similarity", "process node.created"),
        ("graph", "process node.created"),
    }
    await spans_with(stack, trace_id, wanted)
    # The call to the bus was for three events at once: a trace of its own, linked to theirs.
    batches = [span for span in linked_to(stack, trace_id) if span["kind"] == PRODUCER]
    assert [span["attributes"]["messaging.batch.message_count"] for span in batches] == [3]
    assert batches[0]["trace"] != trace_id


async def test_erasing_and_reconciling_continue_the_trace_of_their_call(stack: Stack, client: Client) -> None:
    draft = node_pb2.NewNode(node_id="gone", title="Gone")
    await client.node.CreateNode(node_pb2.CreateNodeRequest(user_id=client.user, node=draft))
    with traced() as trace_id:
        async for _ in client.cleanup.ReconcileUser(cleanup_pb2.ReconcileUserRequest(user_id=client.user)):
            pass
        await client.cleanup.EraseUser(cleanup_pb2.EraseUserRequest(user_id=client.user, confirm_user_id=client.user))
    wanted = {
        ("cleanup", "CleanupService/ReconcileUser"),
        ("cleanup", "DynamoDB/Query"),
        ("cleanup", "erasure"),
        ("cleanup", "erasure nodes"),
        ("cleanup", "erasure records"),
        ("node", "NodeService/PurgeNode"),
    }
    await spans_with(stack, trace_id, wanted)
