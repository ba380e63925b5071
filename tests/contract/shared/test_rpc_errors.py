"""What a caller sees when a call fails: the same class with everything in it, or a code that says what happened."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from shared import errors
from shared.errors import KINDS, Brain2Error, FieldViolation
from shared.grpc.client import Channels
from shared.grpc.status import CODES
from tests.support.echo import NAME, SERVICE, Echo, EchoServicer, plain_channel, serving
from tests.support.waiting import PATIENCE, until


def failing(error: BaseException) -> EchoServicer:
    async def unary(request: Any, context: Any) -> Any:
        raise error

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        yield Echo(text="first")
        raise error

    return EchoServicer(unary, listed)


async def failure(target: str, request: Any, **options: Any) -> Brain2Error:
    async with Channels(attempts=1) as channels:
        with pytest.raises(Brain2Error) as caught:
            await channels.stub(target, SERVICE).GetEcho(request, **options)
    return caught.value


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"INTERNAL"}))
async def test_every_kind_of_error_comes_back_whole(kind: str) -> None:
    raised = KINDS[kind](
        "Das geht nicht: é",
        reason="A_REASON",
        metadata={"node_id": "n1"},
        violations=[FieldViolation("node.title", "must not be empty"), FieldViolation("tags[3]", "is there twice")],
        retry_after=1.25,
    )
    async with serving(failing(raised)) as target:
        back = await failure(target, Echo())
    assert type(back) is type(raised)
    assert (back.message, back.reason, back.metadata) == (raised.message, raised.reason, raised.metadata)
    assert (back.violations, back.retry_after) == (raised.violations, raised.retry_after)


async def test_subclasses_travel_as_their_kind() -> None:
    class ConditionFailed(errors.Aborted):
        pass

    async with serving(failing(ConditionFailed("somebody was faster"))) as target:
        assert type(await failure(target, Echo())) is errors.Aborted


async def test_a_stream_fails_the_same_way_after_what_it_sent() -> None:
    async with serving(failing(errors.DataLoss("torn", reason="TORN"))) as target, Channels() as channels:
        stream = channels.stub(target, SERVICE).ListEchoes(Echo())
        assert (await anext(stream)).text == "first"
        with pytest.raises(errors.DataLoss, match="torn") as caught:
            await anext(stream)
    assert caught.value.reason == "TORN"


async def test_a_huge_error_is_cut_to_what_trailers_carry() -> None:
    huge = errors.InvalidArgument(
        "ä" * 5000,
        metadata={f"key{i}": "v" * 500 for i in range(50)},
        violations=[FieldViolation("f" * 300, "d" * 5000) for _ in range(500)],
    )
    async with serving(failing(huge)) as target:
        back = await failure(target, Echo())
    assert type(back) is errors.InvalidArgument
    assert len(back.message) > 100
    assert len(back.violations) > 3


async def test_a_defect_is_internal_and_its_id_finds_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    secret = "what the user wrote"
    with caplog.at_level(logging.ERROR, "brain2.rpc"):
        async with serving(failing(KeyError(secret))) as target:
            back = await failure(target, Echo())
    assert type(back) is errors.Internal
    assert secret not in back.message
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert vars(record)["error_id"] == back.metadata["error_id"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


@pytest.mark.parametrize("answer", [None, "text", 7])
async def test_a_servicer_that_returns_nonsense_is_a_defect(answer: object) -> None:
    async def unary(request: Any, context: Any) -> Any:
        return answer

    async with serving(EchoServicer(unary)) as target:
        assert type(await failure(target, Echo())) is errors.Internal


async def test_bytes_that_are_no_message_are_the_callers_fault() -> None:
    async with serving() as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        with pytest.raises(errors.InvalidArgument) as caught:
            await stub.GetEcho(b"\xff\xff")
        assert caught.value.reason == "MALFORMED_REQUEST"
        with pytest.raises(errors.InvalidArgument):
            await anext(stub.ListEchoes(b"\xff\xff"))


async def test_a_time_out_is_the_deadline_only_when_the_deadline_has_passed() -> None:
    async with serving(failing(TimeoutError())) as target:
        back = await failure(target, Echo(), timeout=60)
    assert type(back) is errors.Unavailable
    assert back.reason == "DEPENDENCY_TIMEOUT"


async def test_the_callers_deadline_ends_the_work() -> None:
    ended: asyncio.Queue[BaseException] = asyncio.Queue()

    async def unary(request: Any, context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            ended.put_nowait(error)
            raise

    async with serving(EchoServicer(unary)) as target:
        assert type(await failure(target, Echo(), timeout=0.05)) is errors.DeadlineExceeded
        assert isinstance(await asyncio.wait_for(ended.get(), 10 * PATIENCE), asyncio.CancelledError)


async def test_a_caller_without_a_deadline_gets_the_default_one() -> None:
    async def unary(request: Any, context: Any) -> Any:
        await asyncio.Event().wait()

    limited = serving(EchoServicer(unary), default_deadline_seconds=0.2)
    async with limited as target, plain_channel(target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/{NAME}/GetEcho")(b"")
        # The server goes on: the cancellation was for that call alone.
        assert await channel.unary_unary(f"/{NAME}/RawEcho")(b"abc") == b"abc"
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "default" in (caught.value.details() or "")


async def test_work_that_was_cancelled_by_others_is_answered() -> None:
    """Without an answer the caller would wait for its whole deadline."""

    async def unary(request: Any, context: Any) -> Any:
        other = asyncio.create_task(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    async with serving(EchoServicer(unary)) as target:
        back = await failure(target, Echo(), timeout=60)
    assert (type(back), back.reason) == (errors.Unavailable, "WORK_CANCELLED")


async def test_a_caller_that_goes_away_cancels_the_work() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(EchoServicer(unary)) as target, Channels() as channels:
        call = asyncio.create_task(channels.stub(target, SERVICE).GetEcho(Echo()))
        await asyncio.wait_for(started.wait(), 10 * PATIENCE)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(ended.wait(), 10 * PATIENCE)


async def test_a_reader_that_goes_away_closes_the_servicers_stream() -> None:
    closed = asyncio.Event()

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield Echo(text="x" * 1000)
        finally:
            closed.set()

    async with serving(EchoServicer(listed=listed)) as target, Channels() as channels:
        stream = channels.stub(target, SERVICE).ListEchoes(Echo())
        assert (await anext(stream)).text
        await stream.aclose()
        await asyncio.wait_for(closed.wait(), 10 * PATIENCE)


async def test_too_many_calls_are_turned_away_with_advice_and_the_rest_go_on() -> None:
    started: asyncio.Queue[None] = asyncio.Queue()
    go = asyncio.Event()

    async def unary(request: Any, context: Any) -> Any:
        started.put_nowait(None)
        await go.wait()
        return request

    async with serving(EchoServicer(unary), max_concurrent_rpcs=2) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        waiting = [asyncio.create_task(stub.GetEcho(Echo(text="in"))) for _ in range(2)]
        for _ in waiting:
            await asyncio.wait_for(started.get(), 10 * PATIENCE)
        with pytest.raises(errors.ResourceExhausted) as caught:
            await stub.GetEcho(Echo())
        assert caught.value.reason == "SERVER_BUSY"
        assert caught.value.retry_after is not None
        assert caught.value.retry_after > 0
        with pytest.raises(errors.ResourceExhausted):
            await anext(stub.ListEchoes(Echo(text="a")))
        go.set()
        assert [each.text for each in await asyncio.gather(*waiting)] == ["in", "in"]
        assert (await stub.GetEcho(Echo(text="later"))).text == "later"


async def test_messages_over_the_limit_are_refused_both_ways() -> None:
    async def unary(request: Any, context: Any) -> Any:
        return Echo(text="x" * 5000)

    async with serving(EchoServicer(unary), max_message_bytes=4096) as target:
        back = await failure(target, Echo())
        assert type(back) is errors.ResourceExhausted
        assert back.reason == "RESPONSE_TOO_LARGE"
        assert type(await failure(target, Echo(text="x" * 5000))) is errors.ResourceExhausted


async def test_what_no_service_has_is_unimplemented() -> None:
    async with serving() as target, plain_channel(target) as channel:
        for path in (f"/{NAME}/Nothing", "/brain2.tests.v1.Other/GetEcho"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_failures_of_others_keep_their_code() -> None:
    """A server that isn't ours sends no details, or garbled ones."""

    async def plain(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        context.set_code(grpc.StatusCode.NOT_FOUND if request else grpc.StatusCode.UNKNOWN)
        context.set_details("not ours")
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
        return b""

    server = grpc.aio.server()
    handlers: Any = {"GetEcho": grpc.unary_unary_rpc_method_handler(plain)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        missing = await failure(f"127.0.0.1:{port}", Echo(text="x"))
        unknown = await failure(f"127.0.0.1:{port}", Echo())
    finally:
        await server.stop(0)
    assert (type(missing), missing.message, missing.reason) == (errors.NotFound, "not ours", "NOT_FOUND")
    assert type(unknown) is errors.Internal


async def test_the_log_has_a_line_for_failures_and_slow_calls_only(caplog: pytest.LogCaptureFixture) -> None:
    async def unary(request: Any, context: Any) -> Any:
        if request.text == "fail":
            raise errors.NotFound("no such note")
        return request

    with caplog.at_level(logging.INFO, "brain2.rpc"):
        async with serving(EchoServicer(unary)) as target, Channels() as channels:
            await channels.stub(target, SERVICE).GetEcho(Echo(text="fine"))
            assert caplog.records == []
            await failure(target, Echo(text="fail"))
            (record,) = caplog.records
            assert vars(record)["rpc"] == f"/{NAME}/GetEcho"
            assert vars(record)["code"] == "NOT_FOUND"
        caplog.clear()
        async with serving(EchoServicer(unary), slow_call_seconds=1e-9) as target, Channels() as channels:
            await channels.stub(target, SERVICE).GetEcho(Echo(text="fine"))
            await until(lambda: caplog.records, seconds=10, what="the line for a slow call")
            assert vars(caplog.records[0])["code"] == "OK"
            assert vars(caplog.records[0])["ms"] > 0


def test_the_table_of_codes_is_whole_and_closed() -> None:
    leaves = {cls.kind for cls in Brain2Error.__subclasses__() if cls.__module__ == errors.__name__}
    assert set(CODES) == set(KINDS) == leaves
    assert all(code.name == kind for kind, code in CODES.items())
    assert set(grpc.StatusCode.__members__) - set(CODES) == {"OK", "UNKNOWN"}
