"""The server's own promises: health, reflection, its address, middleware, the drain."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from shared import errors
from shared.grpc import deadline
from shared.grpc.client import Channels
from shared.grpc.middleware import Handler, MethodInfo
from shared.grpc.server import BindError, GrpcServer
from shared.grpc.status import from_rpc_error
from shared.tokens import PAGE, Integer, TokenCodec
from tests.support.echo import NAME, SERVICE, Echo, EchoServicer, plain_channel, server_config, serving
from tests.support.waiting import within

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_both_kinds_of_methods_are_served() -> None:
    async with serving() as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        assert (await stub.GetEcho(Echo(text="a"))).text == "a"
        assert (await stub.RawEcho(Echo(text="raw"))).text == "raw"
        assert [each.text async for each in stub.ListEchoes(Echo(text="abc"))] == ["a", "b", "c"]


async def test_bytes_are_sent_as_they_are() -> None:
    async def unary(request: Any, context: Any) -> bytes:
        return Echo(text="ready made").SerializeToString()  # type: ignore[no-any-return]

    async with serving(EchoServicer(unary)) as target, Channels() as channels:
        assert (await channels.stub(target, SERVICE).GetEcho(Echo())).text == "ready made"


async def test_a_fast_path_replaces_the_servicer_but_keeps_the_message_limit() -> None:
    asked: list[str] = []

    async def unary(request: Any, context: Any) -> bytes:
        asked.append(Echo.FromString(request).text)
        return request  # type: ignore[no-any-return]

    answers = {Echo(text="known").SerializeToString(): Echo(text="from memory").SerializeToString()}
    answers[Echo(text="large").SerializeToString()] = b"x" * 2000
    servicer = EchoServicer(unary)
    servicer.RawEcho = unary  # type: ignore[method-assign]
    async with (
        serving(servicer, fast_paths={"RawEcho": answers.get}, max_message_bytes=1000) as target,
        Channels() as channels,
    ):
        stub = channels.stub(target, SERVICE)
        said = [(await stub.RawEcho(Echo(text=text))).text for text in ("known", "unknown", "large")]
    assert said == ["from memory", "unknown", "large"]
    assert asked == ["unknown", "large"]


async def test_middleware_sees_the_calls_that_the_fast_path_answers() -> None:
    def refuse(info: MethodInfo, handler: Handler) -> Handler:
        async def handle(request: Any, context: Any) -> Any:
            if b"known" in request:
                raise errors.PermissionDenied("not you")
            return await handler(request, context)

        return handle

    answer = Echo(text="from memory").SerializeToString()
    async with (
        serving(middleware=[refuse], fast_paths={"RawEcho": lambda _: answer}) as target,
        Channels() as channels,
    ):
        stub = channels.stub(target, SERVICE)
        with pytest.raises(errors.PermissionDenied):
            await stub.RawEcho(Echo(text="known"))
        assert (await stub.RawEcho(Echo(text="other"))).text == "from memory"


async def test_trailers_of_the_servicer_survive_an_error() -> None:
    async def unary(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("consistency-token", "t1"),))
        raise errors.Aborted("again")

    async with serving(EchoServicer(unary)) as target, plain_channel(target) as plain:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await plain.unary_unary(f"/{NAME}/GetEcho")(b"")
    trailers = dict(iter(caught.value.trailing_metadata() or ()))
    assert trailers["consistency-token"] == "t1"
    assert "grpc-status-details-bin" in trailers


async def test_a_garbled_question_for_health_is_an_error_of_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as target, grpc.aio.insecure_channel(target) as channel:
        unary: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        stream: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
        calls: list[Any] = [unary(b"\xff\xff"), stream(b"\xff\xff").read()]
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not [record for record in caplog.records if record.exc_info]


async def test_health_is_told_per_service_and_for_the_process() -> None:
    server = GrpcServer(server_config(), [(SERVICE, EchoServicer())], raw=["RawEcho"])
    port = await server.start()
    async with plain_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        async def state(service: str) -> int:
            return int((await stub.Check(health_pb2.HealthCheckRequest(service=service))).status)

        assert [await state(""), await state(NAME)] == [SERVING, SERVING]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await state("brain2.tests.v1.Other")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

        watched = stub.Watch(health_pb2.HealthCheckRequest(service=NAME))
        assert (await watched.read()).status == SERVING
        server.set_serving(False)
        assert (await watched.read()).status == NOT_SERVING
        assert [await state(""), await state(NAME)] == [NOT_SERVING, NOT_SERVING]
        server.set_serving(True)
        assert (await watched.read()).status == SERVING

        # A watcher is told and let go: it must not hold up the drain until the grace is over.
        async with within(10):
            await server.stop(grace=60)
        assert (await watched.read()).status == NOT_SERVING
        assert await watched.read() is grpc.aio.EOF


async def test_reflection_is_off_unless_it_is_asked_for() -> None:
    async with serving() as target, plain_channel(target) as channel:
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked])).read()
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_reflection_lists_the_services() -> None:
    async with serving(reflection=True) as target, plain_channel(target) as channel:
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        replies = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        (reply,) = [each async for each in replies]
        names = {each.name for each in reply.list_services_response.service}
        assert names == {NAME, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_reflection_describes_every_kind_of_symbol() -> None:
    names = (NAME, f"{NAME}.GetEcho", f"{NAME}.ListEchoes", Echo.DESCRIPTOR.full_name, "nothing.of.that.Name", "x")
    async with serving(reflection=True) as target, plain_channel(target) as channel:
        asked = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in names]
        replies = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(asked))
        found = [reply.WhichOneof("message_response") async for reply in replies]
    assert found == ["file_descriptor_response"] * 4 + ["error_response"] * 2


@pytest.mark.parametrize(
    "question", [b"\xff\xff", b"\x1a\x7fx", b"\x1a\x02\xff\xfe", b"\x1a" + b"\xff" * 12, bytes(5000)]
)
async def test_a_garbled_question_for_reflection_is_an_error_of_the_caller(
    question: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(reflection=True) as target, grpc.aio.insecure_channel(target) as channel:
        ask: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(iter([question])).read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc_error(refused.value).reason == "MALFORMED_REQUEST"
    assert not [record for record in caplog.records if record.exc_info]


async def test_strange_questions_for_reflection_are_answered(caplog: pytest.LogCaptureFixture) -> None:
    asked = [
        reflection_pb2.ServerReflectionRequest(),
        reflection_pb2.ServerReflectionRequest(file_by_filename="../etc/passwd"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="." * 1000),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="\0\n"),
        reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type="x"),
        *(
            reflection_pb2.ServerReflectionRequest(
                file_containing_extension=reflection_pb2.ExtensionRequest(
                    containing_type=f"{NAME.rpartition('.')[0]}.Echo", extension_number=number
                )
            )
            for number in (0, 1, -1, 2**31 - 1)
        ),
    ]
    async with serving(reflection=True) as target, plain_channel(target) as channel:
        replies = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(asked))
        found = [reply.WhichOneof("message_response") async for reply in replies]
    assert found == ["error_response"] * len(asked)
    assert not [record for record in caplog.records if record.exc_info]


async def test_unix_sockets_are_served(tmp_path: Path) -> None:
    async with serving(listen=f"unix:{tmp_path}/brain2.sock") as target, Channels() as channels:
        assert (await channels.stub(target, SERVICE).GetEcho(Echo(text="a"))).text == "a"


async def test_a_taken_port_is_one_clear_error() -> None:
    async with serving() as target:
        second = GrpcServer(server_config(listen=target), [(SERVICE, EchoServicer())], raw=["RawEcho"])
        with pytest.raises(BindError, match=f"cannot listen on {target} .*another process"):
            await second.start()
        await second.stop(0)


async def test_processes_share_a_port_when_told_to() -> None:
    async with serving(reuse_port=True) as target, serving(reuse_port=True, listen=target):
        pass


def test_a_servicer_with_a_gap_is_refused_at_start() -> None:
    class Half:
        async def GetEcho(self, request: Any, context: Any) -> Any: ...

    with pytest.raises(TypeError, match=r"Half doesn't implement brain2\.tests\.v1\.EchoService/CreateEcho"):
        GrpcServer(server_config(), [(SERVICE, Half())])
    with pytest.raises(TypeError, match="raw names methods that no service has: GetEchoes"):
        GrpcServer(server_config(), [(SERVICE, EchoServicer())], raw=["GetEchoes"])


def new_service(**options: Any) -> Any:
    """The descriptor of a service with one method, made for this call."""
    file = descriptor_pb2.FileDescriptorProto(name="tests/one.proto", package="brain2.tests.one", syntax="proto3")
    file.message_type.add(name="Empty")
    types = {"input_type": ".brain2.tests.one.Empty", "output_type": ".brain2.tests.one.Empty"}
    file.service.add(name="OneService").method.add(name="GetEcho", **types, **options)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("brain2.tests.one.OneService")


def test_methods_that_cannot_be_served_are_refused_at_start() -> None:
    with pytest.raises(ValueError, match=r"brain2\.tests\.one\.OneService\.GetEcho has no option .*access"):
        GrpcServer(server_config(), [(new_service(), EchoServicer())])
    with pytest.raises(TypeError, match="GetEcho takes a stream of requests, which is not supported"):
        GrpcServer(server_config(), [(new_service(client_streaming=True), EchoServicer())])


async def test_middleware_wraps_once_at_start_the_first_outermost() -> None:
    made: list[str] = []

    def named(name: str) -> Any:
        def wrap(info: MethodInfo, handler: Handler) -> Handler:
            if info.name != "GetEcho":
                return handler
            made.append(name)

            async def wrapped(request: Any, context: Any) -> Any:
                if request.text == name:
                    raise errors.PermissionDenied(f"{name} says no")
                answer = await handler(Echo(text=request.text + name), context)
                return Echo(text=answer.text + name.upper())

            return wrapped

        return wrap

    async with serving(middleware=[named("a"), named("b")]) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        for _ in range(2):
            assert (await stub.GetEcho(Echo(text=">"))).text == ">abBA"
        with pytest.raises(errors.PermissionDenied, match="a says no"):
            await stub.GetEcho(Echo(text="a"))
        assert (await stub.CreateEcho(Echo(text="untouched"))).text == "untouched"
    assert sorted(made) == ["a", "b"]


async def test_servicers_see_the_callers_deadline() -> None:
    seen: list[float | None] = []

    async def unary(request: Any, context: Any) -> Any:
        seen.append(deadline.remaining())
        return request

    async with serving(EchoServicer(unary)) as target, Channels() as channels:
        await channels.stub(target, SERVICE).GetEcho(Echo(), timeout=40)
        async with plain_channel(target) as plain:
            await plain.unary_unary(f"/{NAME}/GetEcho")(b"")
    with_deadline, without = seen
    assert with_deadline is not None
    assert 30 < with_deadline < 41  # the header's unit rounds up
    assert without is None
    assert deadline.remaining() is None


async def test_the_drain_lets_running_calls_end_and_takes_no_new_ones() -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Any) -> Any:
        started.set()
        await go.wait()
        return request

    server = GrpcServer(server_config(), [(SERVICE, EchoServicer(unary))], raw=["RawEcho"])
    target = f"127.0.0.1:{await server.start()}"
    async with Channels(attempts=1) as channels:
        stub = channels.stub(target, SERVICE)
        running = asyncio.create_task(stub.GetEcho(Echo(text="kept"), timeout=30.0))
        await started.wait()
        assert server.calls == 1
        stopping = asyncio.create_task(server.stop(grace=30))
        async with Channels(attempts=1, patience=0) as others:
            newcomer = others.stub(target, SERVICE)

            async def is_refused() -> bool:
                try:
                    await newcomer.RawEcho(Echo())
                except errors.Unavailable:
                    return True
                return False

            async with within(10):
                while not await is_refused():
                    await asyncio.sleep(0.01)
        assert not stopping.done()
        go.set()
        assert (await running).text == "kept"
        await stopping
        assert server.calls == 0


async def test_the_drain_cuts_off_what_outlasts_the_grace() -> None:
    started = asyncio.Event()

    async def unary(request: Any, context: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    server = GrpcServer(server_config(), [(SERVICE, EchoServicer(unary))], raw=["RawEcho"])
    target = f"127.0.0.1:{await server.start()}"
    async with Channels(attempts=1) as channels:
        running = asyncio.create_task(channels.stub(target, SERVICE).GetEcho(Echo()))
        await started.wait()
        await server.stop(grace=0.05)
        with pytest.raises((errors.Unavailable, errors.Cancelled)):
            await running


def test_a_server_signs_tokens_with_the_secret_of_its_config() -> None:
    tokens = TokenCodec(PAGE, int, {"n": Integer(0, 9)})
    GrpcServer(server_config(token_secret="new,old"), [])
    signed = tokens.encode("f", 1)
    assert tokens.decode("f", signed) == 1
    GrpcServer(server_config(), [])
    with pytest.raises(errors.InvalidArgument):
        tokens.decode("f", signed)
