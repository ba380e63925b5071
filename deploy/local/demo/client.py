"""What the tour needs to talk to a stack: typed calls, their time, waiting for something, and a trace of one's own."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from time import perf_counter
from typing import Any, TypeVar

from opentelemetry import context, trace

from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.errors import NotFound
from shared.grpc.client import Channels

T = TypeVar("T")
_POLL_SECONDS = 0.02


class BrokenError(Exception):
    """Something isn't as promised; the text is one line and says what."""


class Client:
    """The four services as one user sees them."""

    def __init__(self, channels: Channels, services: Mapping[str, str], user: str) -> None:
        self.user = user
        self.node: Any = channels.stub(services["node"], node_pb2.DESCRIPTOR.services_by_name["NodeService"])
        self.graph: Any = channels.stub(services["graph"], graph_pb2.DESCRIPTOR.services_by_name["GraphService"])
        self.similarity: Any = channels.stub(
            services["similarity"], similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"]
        )
        self.cleanup: Any = channels.stub(
            services["cleanup"], cleanup_pb2.DESCRIPTOR.services_by_name["CleanupService"]
        )

    async def neighbors(self, node_id: str, *, limit: int = 200, token: str = "") -> graph_pb2.GetNeighborsResponse:
        """The first neighbours of a note, heaviest first, with titles."""
        answer: graph_pb2.GetNeighborsResponse = await self.graph.GetNeighbors(
            graph_pb2.GetNeighborsRequest(
                user_id=self.user, node_id=node_id, page_size=limit, with_titles=True, consistency_token=token
            )
        )
        return answer

    async def neighbor_ids(self, node_id: str) -> set[str]:
        return {neighbor.node_id for neighbor in (await self.neighbors(node_id)).neighbors}

    async def is_there(self, node_id: str, *, show_deleted: bool = False) -> bool:
        """Whether the node service shows the note."""
        request = node_pb2.GetNodeRequest(
            user_id=self.user, node_id=node_id, view=node_pb2.NODE_VIEW_TITLE, show_deleted=show_deleted
        )
        try:
            await self.node.GetNode(request)
        except NotFound:
            return False
        return True

    async def search(self, query: str, *, limit: int = 20) -> similarity_pb2.SearchNodesResponse:
        answer: similarity_pb2.SearchNodesResponse = await self.similarity.SearchNodes(
            similarity_pb2.SearchNodesRequest(user_id=self.user, query=query, page_size=limit)
        )
        return answer

    async def edge(self, one: str, other: str, type_: str = "") -> graph_pb2.Edge:
        answer = await self.graph.GetEdge(
            graph_pb2.GetEdgeRequest(user_id=self.user, source_id=one, target_id=other, type=type_)
        )
        edge: graph_pb2.Edge = answer.edge
        return edge

    async def links(self, ids: list[str]) -> dict[tuple[str, str], float]:
        """The edges at these notes: (smaller id, larger id) -> weight."""
        found: dict[tuple[str, str], float] = {}
        for start in range(0, len(ids), 500):
            answer = await self.graph.BatchGetNeighbors(
                graph_pb2.BatchGetNeighborsRequest(user_id=self.user, node_ids=ids[start : start + 500], limit=100)
            )
            for result in answer.results:
                for neighbor in result.neighbors:
                    ends = sorted((result.node_id, neighbor.node_id))
                    found[ends[0], ends[1]] = neighbor.weight
        return found


async def timed(work: Awaitable[T]) -> tuple[T, float]:
    """The result, and how many milliseconds it took."""
    began = perf_counter()
    result = await work
    return result, (perf_counter() - began) * 1000


async def until(check: Callable[[], Awaitable[T]], what: str, *, seconds: float) -> tuple[T, float]:
    """Ask until the answer is true: the answer, and the milliseconds that it took. BrokenError when time is up."""
    began = perf_counter()
    while True:
        answer = await check()
        passed = perf_counter() - began
        if answer:
            return answer, passed * 1000
        if passed > seconds:
            raise BrokenError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(_POLL_SECONDS)


async def until_stable(
    look: Callable[[], Awaitable[T]], *, quiet: float, seconds: float, on_look: Callable[[T], None] = lambda _: None
) -> T:
    """Look until nothing has changed for `quiet` seconds (or time is up): what was seen last."""
    began = since = perf_counter()
    last = await look()
    while (now := perf_counter()) - since < quiet and now - began < seconds:
        await asyncio.sleep(_POLL_SECONDS)
        seen = await look()
        on_look(seen)
        if seen != last:
            last, since = seen, perf_counter()
    return last


@contextlib.contextmanager
def traced() -> Iterator[str]:
    """Calls inside belong to one new trace that every service records; gives its id."""
    parent = trace.SpanContext(
        secrets.randbits(128) | 1, secrets.randbits(64) | 1, is_remote=False, trace_flags=trace.TraceFlags(1)
    )
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    try:
        yield f"{parent.trace_id:032x}"
    finally:
        context.detach(token)
