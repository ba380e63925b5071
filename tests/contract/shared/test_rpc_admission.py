"""What calls may hold on a real server: bytes, slots of their lane, and places of callers that send or take nothing."""

import asyncio
import gzip
import resource
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from shared import errors, request_id, telemetry
from shared.grpc import admission
from shared.grpc.admission import Admission, Lane, default_inflight_bytes
from shared.grpc.client import Channels
from shared.grpc.server import GrpcServer
from shared.grpc.status import from_rpc_error
from tests.support import http2
from tests.support.echo import NAME, SERVICE, Echo, EchoServicer, plain_channel, server_config, serving
from tests.support.waiting import within

PATH = f"/{NAME}/"
HEALTH = "/grpc.health.v1.Health/"


class Peer:
    """The part of a call that a lane reads."""

    def __init__(self, connection: str) -> None:
        self.connection = connection

    def peer(self) -> str:
        return self.connection


def test_a_lane_has_an_end_and_a_connection_has_a_part_of_it() -> None:
    lane = Lane("subscriptions", "TOO_MANY", limit=3, part=2)
    one, two = Peer("one"), Peer("two")
    with lane.slot(one), lane.slot(one):  # type: ignore[arg-type]
        with pytest.raises(errors.ResourceExhausted, match="a connection may have 2") as found, lane.slot(one):  # type: ignore[arg-type]
            pass
        assert found.value.retry_after
        with lane.slot(two):  # type: ignore[arg-type]
            with pytest.raises(errors.ResourceExhausted, match="3 subscriptions are being served"), lane.slot(two):  # type: ignore[arg-type]
                pass
            assert len(lane) == 3
    assert len(lane) == 0
    with lane.slot(one):  # type: ignore[arg-type]
        assert len(lane) == 1


async def test_subscriptions_take_no_slot_of_other_calls_and_have_their_own_limit() -> None:
    async with serving(max_concurrent_rpcs=1, max_subscriptions=8) as target, Channels(attempts=1) as channels:
        stub = channels.stub(target, SERVICE)
        watches = [aiter(stub.WatchEchoes(Echo(text="w"))) for _ in range(2)]
        for watch in watches:
            assert (await anext(watch)).text == "w"
        assert (await stub.GetEcho(Echo(text="still served"))).text == "still served"
        with pytest.raises(errors.ResourceExhausted) as found:
            await anext(aiter(stub.WatchEchoes(Echo(text="third"))))
        assert (found.value.reason, found.value.retry_after) == ("TOO_MANY_SUBSCRIPTIONS", 1.0)
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
        async with grpc.aio.insecure_channel(target, options=options) as other:
            call: Any = other.unary_stream(PATH + "WatchEchoes")(Echo(text="other").SerializeToString())
            assert Echo.FromString(await call.read()).text == "other"
            call.cancel()


async def test_health_watches_have_a_limit_per_connection() -> None:
    async with serving(max_subscriptions=4) as target, plain_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        first = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await first.read()).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await anext(aiter(stub.Watch(health_pb2.HealthCheckRequest())))
        error = from_rpc_error(found.value)
        assert isinstance(error, errors.ResourceExhausted)
        assert error.retry_after
        first.cancel()


async def test_calls_beyond_the_bytes_in_flight_are_refused_and_may_be_repeated() -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Any) -> Any:
        started.set()
        await go.wait()
        return Echo(text="done")

    limits: dict[str, Any] = {"max_message_bytes": 100_000, "max_inflight_bytes": 200_000}
    async with serving(EchoServicer(unary), **limits) as target, Channels(attempts=1) as channels:
        stub = channels.stub(target, SERVICE)
        large = Echo(text="x" * 90_000)
        running = [asyncio.create_task(stub.CreateEcho(large, timeout=20.0)) for _ in range(2)]
        await started.wait()

        async def refusal() -> errors.ResourceExhausted | None:
            try:
                await stub.CreateEcho(large, timeout=0.2)
            except errors.ResourceExhausted as error:
                return error
            except errors.DeadlineExceeded:
                pass
            return None

        async with within(10):
            while (error := await refusal()) is None:
                pass
        assert (error.reason, error.retry_after) == ("SERVER_BUSY", admission.BUSY_SECONDS)
        go.set()
        assert [(await each).text for each in running] == ["done", "done"]
        assert (await stub.CreateEcho(large)).text == "done"


async def test_answers_that_nobody_reads_are_bounded() -> None:
    seen = 0

    async def unary(request: Any, context: Any) -> Any:
        nonlocal seen
        seen += 1
        return Echo(text="x" * 90_000)

    server = GrpcServer(
        server_config(max_message_bytes=100_000, max_inflight_bytes=400_000),
        [(SERVICE, EchoServicer(unary))],
        raw=["RawEcho"],
    )
    port = await server.start()
    held = server._calls.admission
    try:
        async with http2.Connection(port, window=0) as connection:
            for stream in range(1, 81, 2):
                body = http2.frame(http2.DATA, http2.message(b""), flags=http2.END_STREAM, stream=stream)
                await connection.send(http2.call_headers(PATH + "GetEcho", stream) + body)
            async with within(10):
                while seen < 40:
                    await asyncio.sleep(0.01)
            assert held.bytes == 180_008  # two answers: half of the budget
            async with Channels(attempts=1) as channels:
                assert len((await channels.stub(f"127.0.0.1:{port}", SERVICE).GetEcho(Echo())).text) == 90_000
        async with within(10):
            while held.bytes:
                await asyncio.sleep(0.01)
    finally:
        await server.stop(0)


async def test_calls_without_a_message_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_MOST_SILENT", 2)
    monkeypatch.setattr(admission, "MESSAGE_SECONDS", 0.2)
    async with serving() as target, plain_channel(target) as channel, Channels(attempts=1) as channels:
        silent = [channel.stream_unary(PATH + "GetEcho")() for _ in range(5)]
        async with within(10):
            while sum(call.done() for call in silent) < 3:
                await asyncio.sleep(0.01)
        assert {await call.code() for call in silent if call.done()} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        # Calls that do send their message are served as before.
        stub = channels.stub(target, SERVICE)
        assert (await stub.GetEcho(Echo(text="a"))).text == "a"
        assert [each.text async for each in stub.ListEchoes(Echo(text="ab"))] == ["a", "b"]
        for call in silent:
            call.cancel()
        async with within(10):
            while (await stub.GetEcho(Echo(text="a"))).text != "a":
                pass


async def test_a_question_for_health_without_a_message_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MESSAGE_SECONDS", 0.2)
    async with serving() as target, plain_channel(target) as channel:
        check, watch = channel.stream_unary(HEALTH + "Check"), channel.stream_stream(HEALTH + "Watch")
        async with within(10):
            for call in (check(), watch()):
                assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            for call in (check(iter([])), watch(iter([]))):
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_reflections_have_a_limit_per_connection() -> None:
    async with serving(max_subscriptions=4, reflection=True) as target, plain_channel(target) as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        first = ask()
        await first.write(question)
        assert (await first.read()).list_services_response.service
        with pytest.raises(grpc.aio.AioRpcError) as found:
            await anext(aiter(ask(iter([question]))))
        assert from_rpc_error(found.value).reason == "TOO_MANY_SUBSCRIPTIONS"
        first.cancel()


async def test_a_call_beside_too_many_silent_ones_has_the_ids_that_its_lines_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "_MOST_SILENT", 0)
    trace, seen = "0af7651916cd43dd8448eb211c80319c", list[tuple[str, str]]()

    async def unary(request: Any, context: Any) -> Any:
        seen.append((telemetry.current_ids()[0], str(request_id.current.get())))
        return request

    async with serving(EchoServicer(unary)) as target, plain_channel(target) as channel:
        for headers in ((("x-request-id", "r-1"), ("traceparent", f"00-{trace}-b7ad6b7169203331-00")), ()):
            await channel.unary_unary(PATH + "GetEcho")(Echo(text="a").SerializeToString(), metadata=headers)
    assert seen[0] == (trace, "r-1")
    drawn_trace, drawn_request = seen[1]
    assert (len(drawn_trace), drawn_trace != trace) == (32, True)
    assert drawn_request not in ("", "None", "r-1")


async def test_a_length_prefix_of_300_mb_allocates_nothing() -> None:
    server = GrpcServer(server_config(), [(SERVICE, EchoServicer())], raw=["RawEcho"])
    port = await server.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        async with http2.Connection(port) as connection:
            for stream in range(1, 101, 2):
                body = http2.frame(http2.DATA, http2.message(b"x" * 1000, length=300_000_000), stream=stream)
                await connection.send(http2.call_headers(PATH + "GetEcho", stream) + body)
            async with Channels(attempts=1) as channels:
                assert (await channels.stub(f"127.0.0.1:{port}", SERVICE).GetEcho(Echo(text="a"))).text == "a"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000
    finally:
        await server.stop(0)


async def test_a_compressed_message_is_refused_before_it_is_unpacked() -> None:
    body = Echo(text="\0" * 60_000_000).SerializeToString()
    async with serving() as target:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with grpc.aio.insecure_channel(target, compression=grpc.Compression.Gzip) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as found:
                await channel.unary_unary(PATH + "GetEcho")(body[:4_000_000])
        assert found.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000
    assert len(gzip.compress(body)) < 100_000


def test_the_default_budget_is_a_quarter_of_the_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(admission, "_CGROUPS", (str(tmp_path / "missing"), str(limit)))
    limit.write_text("536870912\n")
    assert default_inflight_bytes() == 134_217_728
    limit.write_text("max\n")
    assert default_inflight_bytes() == 256 * 1024 * 1024
    # The workers of a pod share its memory.
    assert Admission(server_config()).max_bytes == 4 * Admission(server_config(workers=4)).max_bytes


def test_one_call_always_fits() -> None:
    held = Admission(server_config(max_message_bytes=100_000, max_inflight_bytes=5))
    assert held.max_bytes == 200_000
