"""The log of the running services: every line of a call names its trace and its request, recorded or not."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from deploy.local.console import Console
from deploy.local.stack import SERVICES, running
from protos.node.v1 import node_pb2, node_pb2_grpc
from tests.support.stack import stack_options
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(200)
_TRACE = "0af7651916cd43dd8448eb211c80319c"


class Lines(Console):
    """Keeps the lines of the services in place of printing them."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.found: list[dict[str, Any]] = []

    def log(self, source: str, line: str) -> None:
        if source in SERVICES:
            self.found.append(json.loads(line))

    def of(self, **fields: str) -> list[dict[str, Any]]:
        """The lines with these fields."""
        return [line for line in self.found if fields.items() <= line.items()]


async def test_every_line_of_a_call_has_its_trace_and_its_request_in_all_services(tmp_path: Path) -> None:
    lines = Lines()
    options = stack_options(tmp_path, log_level="DEBUG", trace_ratio=0.0)
    async with running(options, lines) as stack, grpc.aio.insecure_channel(stack.addresses["node"]) as channel:
        node: Any = node_pb2_grpc.NodeServiceStub(channel)
        for name in ("tea", "pot"):
            note = node_pb2.NewNode(node_id=name, title=name, content="Green tea from Uji, steeped in a clay teapot")
            headers = (("traceparent", f"00-{_TRACE}-b7ad6b7169203331-00"), ("x-request-id", f"create-{name}"))
            request = node_pb2.CreateNodeRequest(user_id="ada", node=note)
            await node.CreateNode(request, timeout=60, metadata=headers)
        # Similarity hears of the second note and asks graph for the link, in the trace of the creation.
        await until(lambda: lines.of(service="graph", trace_id=_TRACE, msg="rpc done"), what="the line of graph")
        await node.DeleteNode(
            node_pb2.DeleteNodeRequest(user_id="ada", node_id="pot"), timeout=60, metadata=(("x-request-id", "delete"),)
        )
        hiding = {"request_id": "delete", "msg": "rpc done"}
        await until(
            lambda: all(lines.of(service=name, **hiding) for name in ("node", "graph", "similarity")),
            what="the lines of the services that hide the note",
        )
        await node.GetNode(node_pb2.GetNodeRequest(user_id="ada", node_id="tea"), timeout=60)
    assert lines.of(service="node", trace_id=_TRACE, request_id="create-tea", msg="rpc done")
    # A call that names no trace has one all the same, and the calls that it makes belong to it.
    assert len({line["trace_id"] for line in lines.of(**hiding)}) == 1
    of_calls = [line for line in lines.found if "rpc" in line]
    assert len(of_calls) > 6
    assert [line for line in of_calls if not (line.get("trace_id") and line.get("request_id"))] == []
