"""The Python client without a server: where the services are, which tokens a read sends, what an error tells."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from clients.python import twin
from clients.python.brain2 import (
    AlreadyExists,
    Brain2,
    Brain2Sync,
    Cancelled,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
    _calls,
)
from clients.python.brain2 import client as client_module
from clients.python.brain2._calls import Memory, _repeat_after, tracing_interceptors
from clients.python.brain2._loop import Loop
from clients.python.brain2.errors import from_result, from_rpc
from clients.python.brain2.models import in_utc
from clients.python.stubs import ROOT


def test_one_target_is_enough_and_the_others_follow_it() -> None:
    found = client_module.targets({"node": "host:100"}, {})
    assert found == {"node": "host:100", "graph": "host:101", "similarity": "host:102", "cleanup": "host:103"}
    assert client_module.targets({}, {})["cleanup"] == "localhost:50054"
    named = {"BRAIN2_NODE_TARGET": "dns:///n", "BRAIN2_GRAPH_TARGET": "g", "BRAIN2_SIMILARITY_TARGET": "s"}
    with pytest.raises(ValueError, match="cleanup"):
        client_module.targets({}, named)
    assert client_module.targets({"cleanup": "c"}, named)["graph"] == "g"
    # With a target the environment, which may describe another installation, does not count.
    assert client_module.targets({"node": "host:100"}, named)["graph"] == "host:101"


def test_a_read_sends_the_token_of_the_last_write_that_concerns_the_note() -> None:
    memory = Memory()
    memory.wrote("graph", ["a", "b"], "1")
    memory.wrote("graph", ["b", "c"], "2")
    memory.wrote("node", ["a"], "3")
    memory.wrote("graph", ["a"], "")
    assert [memory.token("graph", each) for each in "abcd"] == ["1", "2", "2", ""]
    assert (memory.token("node", "a"), memory.newest("graph"), memory.newest("node")) == ("3", "2", "3")
    for n in range(5000):
        memory.wrote("node", [f"n{n}"], str(n))
    assert memory.token("node", "n4999") == "4999"
    assert memory.token("node", "n0") == ""


def test_a_search_waits_once_for_each_of_the_last_writes_and_for_no_deleted_note() -> None:
    memory = Memory()
    memory.wrote("graph", ["a", "b"], "link")
    memory.wrote("node", ["a"], "1")
    memory.wrote("node", ["b", "c"], "2")
    memory.wrote("node", ["d"], "3")
    assert memory.unsearched() == "1,2,3"
    memory.deleted("d")
    memory.deleted("b")
    assert memory.unsearched() == "1,2"
    memory.searched("1")
    memory.deleted("c")
    assert memory.unsearched() == ""
    for n in range(100):
        memory.wrote("node", [f"n{n}"], f"{n:0>200}")
    tokens = memory.unsearched()
    assert len(tokens) <= 4096
    assert tokens.split(",")[-1] == f"{99:0>200}"
    memory.searched(tokens)
    assert memory.unsearched() == ""
    for batch in range(9):
        memory.wrote("node", [f"n{batch}-{each}" for each in range(30)], str(batch))
    assert memory.unsearched() == "4,5,6,7,8", "of each batch the token has twenty notes, and a search takes a hundred"


def _rpc_error(code: grpc.StatusCode, *details: object) -> grpc.aio.AioRpcError:
    status = Status(code=code.value[0], message="all of it")
    for detail in details:
        status.details.add().Pack(detail)
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, "cut")


def test_an_error_has_its_class_reason_fields_and_wait() -> None:
    bad, retry = BadRequest(), RetryInfo()
    bad.field_violations.add(field="node.title", description="too long")
    retry.retry_delay.FromMilliseconds(1500)
    error = from_rpc(
        _rpc_error(grpc.StatusCode.INVALID_ARGUMENT, ErrorInfo(reason="X", metadata={"a": "b"}), bad, retry)
    )
    assert isinstance(error, InvalidArgument)
    assert (error.message, error.reason, error.metadata, error.retry_after) == ("all of it", "X", {"a": "b"}, 1.5)
    assert [(each.field, each.description) for each in error.violations] == [("node.title", "too long")]
    plain = from_rpc(grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), grpc.aio.Metadata(), "gone"))
    assert (type(plain).__name__, plain.reason, plain.message) == ("NotFound", "NOT_FOUND", "gone")


def test_only_a_call_that_was_not_begun_is_repeated_by_the_client() -> None:
    assert 0.2 <= (_repeat_after(ResourceExhausted("", reason="SERVER_BUSY", retry_after=0.2)) or 0) <= 0.3
    assert _repeat_after(ResourceExhausted("", reason="SERVER_BUSY")) is None
    assert _repeat_after(ResourceExhausted("", reason="RESPONSE_TOO_LARGE", retry_after=0.2)) is None


@pytest.fixture
async def witness(tmp_path: Path) -> AsyncIterator[tuple[Brain2, dict[str, str]]]:
    """A client of a server that notes the headers of each call, and how many seconds it has, as "seconds"."""
    seen: dict[str, str] = {}

    async def answer(request: bytes, context: Any) -> bytes:
        seen.update({key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)})
        seen["seconds"] = str(context.time_remaining())
        return b""

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Everything(),))
    target = f"unix:{tmp_path}/witness"
    server.add_insecure_port(target)
    await server.start()
    async with Brain2(target, graph=target, similarity=target, cleanup=target, user="ada") as brain:
        yield brain, seen
    await server.stop(None)


async def test_a_call_has_the_time_that_it_was_given_and_not_the_one_of_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, witness: tuple[Brain2, dict[str, str]]
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(_calls._POLICY.read_text(encoding="utf-8").replace('"10s"', '"0.001s"'))
    monkeypatch.setattr(_calls, "_POLICY", policy)
    brain, seen = witness
    for seconds in (20.0, 300.0):
        await brain.notes.get("tea", timeout=seconds)
        # A deadline travels in whole units of its size.
        assert seconds / 2 < float(seen["seconds"]) < seconds + 2


async def test_the_trace_of_the_program_is_passed_on_also_without_spans(
    witness: tuple[Brain2, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    brain, seen = witness
    await brain.notes.get("tea")
    assert "traceparent" not in seen
    parent = trace.SpanContext(0x1234, 0x56, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(parent)):
        await brain.notes.get("tea")
    assert seen["traceparent"] == f"00-{0x1234:032x}-{0x56:016x}-01"


def test_an_item_of_a_batch_has_an_error_like_a_call() -> None:
    assert from_result(0, "", "") is None
    taken = from_result(6, "NODE_EXISTS", "taken")
    assert isinstance(taken, AlreadyExists)
    assert (taken.reason, taken.message, taken.transient) == ("NODE_EXISTS", "taken", False)
    busy = from_result(14, "X", "")
    assert isinstance(busy, Unavailable)
    assert busy.transient
    assert isinstance(from_result(2, "", ""), Internal)


def test_spans_are_made_when_the_program_has_set_a_tracer_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    assert tracing_interceptors() == ()
    monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
    assert len(tracing_interceptors()) == 4


def test_the_twin_has_every_operation_with_the_same_arguments() -> None:
    package = ROOT / "clients" / "python" / "brain2"
    assert (package / "_sync.py").read_text(encoding="utf-8") == twin.source(package)
    with Brain2Sync("localhost:1", user="ada") as brain:
        for name in ("notes", "links", "search", "deletions"):
            ours, theirs = getattr(brain, name), getattr(Brain2("localhost:1"), name)
            assert {each for each in dir(ours) if each[0] != "_"} == {each for each in dir(theirs) if each[0] != "_"}


def test_the_policy_of_retries_is_the_documented_one() -> None:
    package = ROOT / "clients" / "python" / "brain2"
    assert (package / "retry-policy.json").read_bytes() == (ROOT / "docs" / "retry-policy.json").read_bytes()


def test_a_time_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        in_utc(datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_client_is_refused_on_another_event_loop() -> None:
    brain = Brain2("localhost:1", user="ada", timeout=0.2)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        with pytest.raises((Unavailable, DeadlineExceeded)):
            first.run_until_complete(brain.notes.get("tea"))
        with pytest.raises(RuntimeError, match="one client for each loop"):
            second.run_until_complete(brain.notes.get("tea"))
    finally:
        first.run_until_complete(brain.close())
        first.close()
        second.close()


def test_a_closed_twin_answers_and_closes_again() -> None:
    brain = Brain2Sync("localhost:1", user="ada")
    listing = brain.notes.list()
    brain.close()
    brain.close()
    for call in (lambda: brain.notes.get("tea"), lambda: next(listing), lambda: next(brain.links.watch())):
        with pytest.raises(Cancelled) as closed:
            call()
        assert closed.value.reason == "CLIENT_CLOSED"


def test_closing_ends_the_calls_of_other_threads() -> None:
    # Nobody listens there, and the call would wait for a minute.
    brain = Brain2Sync("localhost:1", user="ada", timeout=60.0)
    begun, ended = threading.Event(), []

    def token() -> str:
        begun.set()
        return "token"

    other = brain.notes
    brain._brain._calls._token = token

    def wait() -> None:
        try:
            other.get("tea")
        except Cancelled as error:
            ended.append(error.reason)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(10)
    brain.close()
    thread.join(10)
    assert ended == ["CLIENT_CLOSED"]


def test_the_private_loop_refuses_to_wait_for_itself() -> None:
    loop = Loop()

    async def inside() -> None:
        loop.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="own event loop"):
        loop.run(inside())
    loop.close()
