"""What callers see of a server that stops: subscriptions are sent away at once, and what wasn't begun says so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared import errors
from shared.errors import Unavailable
from shared.grpc.client import Channels
from shared.grpc.server import GrpcServer
from shared.grpc.status import from_rpc_error
from tests.support.echo import NAME, SERVICE, Echo, EchoServicer, plain_channel, server_config, serving
from tests.support.waiting import slowness, until, within


async def started(servicer: EchoServicer) -> tuple[GrpcServer, str]:
    server = GrpcServer(server_config(), [(SERVICE, servicer)], raw=["RawEcho"])
    return server, f"127.0.0.1:{await server.start()}"


async def test_subscriptions_end_at_once_and_other_streams_are_finished() -> None:
    go = asyncio.Event()

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        yield Echo(text="1")
        await go.wait()
        yield Echo(text="2")

    server, target = await started(EchoServicer(listed=listed))
    async with Channels() as channels:
        stub = channels.stub(target, SERVICE)
        subscription, stream = stub.WatchEchoes(Echo(text="open")), stub.ListEchoes(Echo())
        assert (await anext(subscription)).text == "open"
        assert (await anext(stream)).text == "1"
        stopping = asyncio.create_task(server.stop(grace=60))
        async with within(10):
            with pytest.raises(Unavailable) as caught:
                await anext(subscription)
        assert caught.value.reason == "SHUTTING_DOWN"
        assert caught.value.retry_after is not None
        assert not stopping.done()
        go.set()
        assert [each.text async for each in stream] == ["2"]
        async with within(10):
            await stopping


async def test_a_subscription_that_is_just_sending_ends_after_that_message() -> None:
    """The other places where the drain can find it: between two messages, and not yet begun."""
    sent = 0

    async def watched(request: Any, context: Any) -> AsyncIterator[Any]:
        nonlocal sent
        while True:
            yield request
            sent += 1

    servicer = EchoServicer()
    servicer.WatchEchoes = watched  # type: ignore[method-assign]
    server, target = await started(servicer)
    async with plain_channel(target) as channel:
        watch = channel.unary_stream(f"/{NAME}/WatchEchoes")
        call = watch(Echo(text="x").SerializeToString())
        await until(lambda: sent > 10)
        draining = asyncio.create_task(server.stop(grace=60))
        health = health_pb2_grpc.HealthStub(channel)

        async def is_draining() -> bool:
            found = await health.Check(health_pb2.HealthCheckRequest())
            return bool(found.status == health_pb2.HealthCheckResponse.NOT_SERVING)

        await until(is_draining)
        refused = watch(b"")
        for each in (call, refused):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in each:
                    pass
            assert from_rpc_error(caught.value).reason == "SHUTTING_DOWN"
        async with within(10):
            await draining


async def test_calls_that_keep_coming_are_served_until_the_connection_is_closed() -> None:
    """Then clients meet gRPC's goodbye. What crosses it is known not to have been begun."""
    seen: set[str] = set()
    for _ in range(30):
        servicer = EchoServicer()
        server, target = await started(servicer)
        outcomes: list[str] = []
        async with plain_channel(target) as channel:
            method = channel.unary_unary(f"/{NAME}/CreateEcho")

            async def work(method: Any, outcomes: list[str]) -> None:
                while "NOT_CONNECTED" not in outcomes:
                    try:
                        await method(b"")
                        outcomes.append("OK")
                    except grpc.aio.AioRpcError as error:
                        outcomes.append(from_rpc_error(error).reason)

            workers = [asyncio.create_task(work(method, outcomes)) for _ in range(64)]
            await until(lambda: servicer.seen > 100)  # noqa: B023
            before = servicer.seen
            await server.stop(grace=slowness())
            await asyncio.gather(*workers)
        assert servicer.seen - before > len(workers)  # more than those that ran already
        assert servicer.seen == outcomes.count("OK")
        assert set(outcomes) <= {"OK", "SHUTTING_DOWN", "NOT_CONNECTED"}
        seen |= set(outcomes)
        if "SHUTTING_DOWN" in seen:
            return
    raise AssertionError("no call crossed the goodbye of 30 servers: nothing was tested")


async def test_a_call_that_is_cut_off_may_have_been_done_and_says_so() -> None:
    async def unary(request: Any, context: Any) -> Any:
        await asyncio.Event().wait()

    servicer = EchoServicer(unary)
    server, target = await started(servicer)
    async with Channels() as channels:
        write = asyncio.create_task(channels.stub(target, SERVICE).CreateEcho(Echo()))
        await until(lambda: servicer.seen)
        await server.stop(grace=0.05)
        with pytest.raises(Unavailable) as caught:
            await write
    assert (caught.value.reason, servicer.seen) == ("UNAVAILABLE", 1)


@pytest.mark.parametrize("reason", ["SHUTTING_DOWN", "NOT_CONNECTED"])
async def test_that_a_peer_did_not_begin_a_call_is_not_handed_on(reason: str) -> None:
    """Else the caller would repeat a write that this server had half done."""

    async def unary(request: Any, context: Any) -> Any:
        raise Unavailable("the peer's words", reason=reason, retry_after=0.2)

    servicer = EchoServicer(unary)
    async with serving(servicer) as target, Channels() as channels:
        with pytest.raises(Unavailable, match="the peer's words") as caught:
            await channels.stub(target, SERVICE).CreateEcho(Echo())
    assert (caught.value.reason, caught.value.retry_after, servicer.seen) == ("UNAVAILABLE", 0.2, 1)


async def test_a_write_waits_for_a_server_that_was_there_a_moment_ago() -> None:
    async with Channels(patience=30.0, timeout=30.0) as channels:
        async with serving() as target:
            stub = channels.stub(target, SERVICE)
            assert (await stub.CreateEcho(Echo(text="before"))).text == "before"
        writes = [asyncio.create_task(stub.CreateEcho(Echo(text="during"))) for _ in range(50)]
        await until(lambda: stub.CreateEcho.target.lost_at, what="a try that found nobody")
        assert not any(each.done() for each in writes)
        servicer = EchoServicer()
        async with serving(servicer, listen=target):
            assert [each.text for each in await asyncio.gather(*writes)] == ["during"] * 50
        assert servicer.seen == 50


async def test_patience_ends_with_the_calls_deadline_and_with_its_own() -> None:
    async with Channels(patience=0.3) as channels:
        async with serving() as target:
            stub = channels.stub(target, SERVICE)
            await stub.GetEcho(Echo())
        began = asyncio.get_running_loop().time()
        with pytest.raises(errors.Brain2Error):
            await stub.GetEcho(Echo(), timeout=0.1)
        with pytest.raises(Unavailable) as caught:
            await stub.GetEcho(Echo(), timeout=60.0)
        assert caught.value.reason == "NOT_CONNECTED"
        assert asyncio.get_running_loop().time() - began < 20
