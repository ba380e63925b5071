"""What the Python client does when a service is busy, away or slow: scripted answers of a real server."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from clients.python.brain2 import Aborted, Brain2, Brain2Error, DeadlineExceeded, ResourceExhausted, Unavailable
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2

_Answer = Callable[[], bytes] | tuple[grpc.StatusCode, str]
_OK = node_pb2.CreateNodeResponse(
    node=node_pb2.Node(node_id="tea", title="Tea"), consistency_token="t"
).SerializeToString


class Scripted(grpc.GenericRpcHandler):
    """Gives each call the next answer: bytes, or a code with a reason. requests: what has come, by order."""

    def __init__(self, *answers: _Answer, forever: _Answer | None = None) -> None:
        self._answers = list(answers)
        self._forever = forever
        self.requests: list[bytes] = []
        self.metadata: list[dict[str, str]] = []

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata() or ()))
            next_ = self._answers.pop(0) if self._answers else self._forever
            assert next_ is not None
            if callable(next_):
                return next_()
            code, reason = next_
            status = Status(code=code.value[0], message="scripted")
            retry = RetryInfo()
            retry.retry_delay.FromMilliseconds(20)
            for detail in (ErrorInfo(reason=reason, domain="brain2"), retry):
                status.details.add().Pack(detail)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            await context.abort(code, "scripted")
            raise AssertionError

        if details.method.endswith("WatchEdges"):
            return grpc.unary_stream_rpc_method_handler(self._watch)
        return grpc.unary_unary_rpc_method_handler(answer)

    async def _watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        self.requests.append(request)
        number = len(self.requests)
        edge = graph_pb2.Edge(source_id="a", target_id=f"n{number}")
        yield graph_pb2.WatchEdgesResponse(
            kind=graph_pb2.WatchEdgesResponse.KIND_CREATED, edge=edge, resume_token=f"r{number}"
        ).SerializeToString()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the pod is replaced")


@contextlib.asynccontextmanager
async def serving(handler: Scripted, **options: Any) -> AsyncIterator[Brain2]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with Brain2(target, user="ada", graph=target, similarity=target, cleanup=target, **options) as brain:
            yield brain
    finally:
        await server.stop(None)


def _request_ids(handler: Scripted) -> list[str]:
    return [node_pb2.CreateNodeRequest.FromString(request).request_id for request in handler.requests]


@pytest.mark.parametrize(
    "failure",
    [
        (grpc.StatusCode.UNAVAILABLE, "GONE"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY"),
        (grpc.StatusCode.ABORTED, "REQUEST_IN_PROGRESS"),
    ],
)
async def test_what_may_pass_is_repeated_under_the_same_request_id(failure: tuple[grpc.StatusCode, str]) -> None:
    handler = Scripted(failure, failure, _OK)
    async with serving(handler) as brain:
        assert (await brain.notes.create("Tea")).node_id == "tea"
        [first, *others] = _request_ids(handler)
        assert first
        assert others == [first, first]


async def test_each_change_has_a_request_id_of_its_own_or_the_given_one() -> None:
    handler = Scripted(_OK, _OK, _OK)
    async with serving(handler) as brain:
        await brain.notes.create("Tea")
        await brain.notes.create("Tea")
        await brain.notes.create("Tea", request_id="mine")
        first, second, third = _request_ids(handler)
        assert len({first, second, "", "mine"}) == 4
        assert third == "mine"


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, "RESPONSE_TOO_LARGE"), ResourceExhausted),
        ((grpc.StatusCode.ABORTED, "ETAG_MISMATCH"), Aborted),
    ],
)
async def test_what_stays_wrong_is_not_repeated(failure: tuple[grpc.StatusCode, str], kind: type[Brain2Error]) -> None:
    handler = Scripted(failure)
    async with serving(handler) as brain:
        with pytest.raises(kind) as error:
            await brain.notes.create("Tea")
        assert (error.value.reason, len(handler.requests)) == (failure[1], 1)


async def test_repeating_ends_at_the_deadline_with_the_last_reason() -> None:
    handler = Scripted(forever=(grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY"))
    async with serving(handler, timeout=0.5) as brain:
        with pytest.raises((ResourceExhausted, DeadlineExceeded)):
            await brain.notes.create("Tea")
        assert len(handler.requests) > 2
        assert len(set(_request_ids(handler))) == 1


async def test_repeats_of_a_service_that_is_away_are_bounded() -> None:
    handler = Scripted(forever=(grpc.StatusCode.UNAVAILABLE, "GONE"))
    async with serving(handler) as brain:
        with pytest.raises(Unavailable) as error:
            await brain.notes.create("Tea")
        assert error.value.reason == "GONE"
        assert len(handler.requests) == 5


async def test_the_token_of_a_write_goes_with_the_next_read_and_the_callers_own_with_each_call() -> None:
    tokens = iter(("one", "two"))
    handler = Scripted(_OK, node_pb2.GetNodeResponse(node=node_pb2.Node(node_id="tea")).SerializeToString)
    async with serving(handler, token=lambda: next(tokens)) as brain:
        await brain.notes.create("Tea")
        await brain.notes.get("tea")
        assert node_pb2.GetNodeRequest.FromString(handler.requests[1]).consistency_token == "t"
        assert [each["authorization"] for each in handler.metadata] == ["Bearer one", "Bearer two"]


async def test_a_watch_goes_on_after_its_last_change_and_ends_with_the_client() -> None:
    handler = Scripted()
    async with serving(handler) as brain:
        watch = brain.links.watch(resume_token="r0")
        seen = [await anext(watch) for _ in range(3)]
        assert [change.link.target_id for change in seen if change.link] == ["n1", "n2", "n3"]
        sent = [graph_pb2.WatchEdgesRequest.FromString(request).resume_token for request in handler.requests]
        assert sent == ["r0", "r1", "r2"]
        await watch.aclose()  # type: ignore[attr-defined]
