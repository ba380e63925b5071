"""One trace id follows a write through every service that it reaches, over gRPC, EventBridge and SQS."""

from deploy.local import traces
from deploy.local.demo.client import Client, traced
from deploy.local.stack import Stack
from protos.node.v1 import node_pb2
from tests.support.waiting import until


async def services_in(stack: Stack, trace_id: str, wanted: set[str]) -> list[dict[str, object]]:
    """The spans of the trace, once those of all the wanted services have arrived."""

    def arrived() -> bool:
        return {str(span["service"]) for span in traces.read(stack.traces, trace_id)} >= wanted

    await until(arrived, seconds=30.0, what=f"spans of {sorted(wanted)}")
    return traces.read(stack.traces, trace_id)


def is_one_tree(spans: list[dict[str, object]]) -> bool:
    """Every span but those that the caller started has its parent in the trace."""
    known = {span["span"] for span in spans}
    return len({span["parent"] for span in spans if span["parent"] not in known}) == 1


async def test_a_create_reaches_the_links_under_one_trace(stack: Stack, library: Client) -> None:
    draft = node_pb2.NewNode(
        node_id="e2e-traced", title="Parsing", content="A parser builds the syntax tree of a grammar"
    )
    with traced() as trace_id:
        await library.node.CreateNode(node_pb2.CreateNodeRequest(user_id=library.user, node=draft))
    await until(lambda: library.neighbor_ids("e2e-traced"), what="the automatic link")
    spans = await services_in(stack, trace_id, {"node", "similarity", "graph"})
    names = {(span["service"], span["name"]) for span in spans}
    assert any(service == "graph" and "BatchCreateEdges" in str(name) for service, name in names), names
    assert is_one_tree(spans)


async def test_a_delete_reaches_all_four_services_under_one_trace(stack: Stack, library: Client) -> None:
    with traced() as trace_id:
        await library.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=library.user, node_id="mutual-exclusion"))
    spans = await services_in(stack, trace_id, {"node", "graph", "similarity", "cleanup"})
    assert is_one_tree(spans)
