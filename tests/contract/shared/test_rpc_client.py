"""What the calling side promises: deadlines handed on, retries only where safe, a breaker per target, a clean end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared import errors
from shared.grpc import deadline
from shared.grpc.client import Channels
from tests.support.echo import NAME, SERVICE, Echo, EchoServicer, serving
from tests.support.waiting import within


class Flaky:
    """Fails some calls, then answers."""

    def __init__(self, failures: int, error: errors.Brain2Error | None = None) -> None:
        self.left = failures
        self.error = error or errors.Unavailable("try again")
        self.calls = 0

    async def __call__(self, request: Any, context: Any) -> Any:
        self.calls += 1
        if self.left > 0:
            self.left -= 1
            raise self.error
        return request


def unused_target() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@asynccontextmanager
async def slow_line(target: str, seconds: float) -> AsyncIterator[str]:
    """A target whose connections pass nothing for so long, and then all that has come."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        there, back = await asyncio.open_connection(*target.split(":"))
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("method", "request_id", "idempotent", "calls"),
    [
        ("GetEcho", "", None, 3),  # its idempotency_level is NO_SIDE_EFFECTS
        ("PutEcho", "", None, 3),  # its idempotency_level is IDEMPOTENT
        ("CreateEcho", "r1", None, 3),  # the server recognises a repeated request_id
        ("CreateEcho", "", True, 3),  # the caller says so
        ("CreateEcho", "", None, 1),
        ("GetEcho", "", False, 1),
    ],
)
async def test_only_what_may_be_repeated_is_repeated(
    method: str, request_id: str, idempotent: bool | None, calls: int
) -> None:
    flaky = Flaky(2)
    async with serving(EchoServicer(flaky)) as target, Channels() as channels:
        call = getattr(channels.stub(target, SERVICE), method)(Echo(request_id=request_id), idempotent=idempotent)
        if calls == 3:
            assert (await call).request_id == request_id
        else:
            with pytest.raises(errors.Unavailable):
                await call
    assert flaky.calls == calls


@pytest.mark.parametrize(
    "error", [errors.NotFound("x"), errors.Aborted("x"), errors.ResourceExhausted("x"), errors.Internal("x")]
)
async def test_other_errors_are_answers(error: errors.Brain2Error) -> None:
    flaky = Flaky(1, error)
    async with serving(EchoServicer(flaky)) as target, Channels() as channels:
        with pytest.raises(type(error)):
            await channels.stub(target, SERVICE).GetEcho(Echo())
    assert flaky.calls == 1


async def test_attempts_are_bounded() -> None:
    flaky = Flaky(100)
    async with serving(EchoServicer(flaky)) as target, Channels(attempts=4) as channels:
        with pytest.raises(errors.Unavailable):
            await channels.stub(target, SERVICE).GetEcho(Echo())
    assert flaky.calls == 4


async def test_a_retry_that_would_come_too_late_is_not_made() -> None:
    flaky = Flaky(1, errors.Unavailable("later", retry_after=60))
    async with serving(EchoServicer(flaky)) as target, Channels() as channels, within(10):
        with pytest.raises(errors.Unavailable, match="later"):
            await channels.stub(target, SERVICE).GetEcho(Echo())
    assert flaky.calls == 1


async def test_retries_stay_within_a_budget() -> None:
    """When all fail at once, the server must not see three times the load."""
    flaky = Flaky(10_000)
    async with serving(EchoServicer(flaky)) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        results = await asyncio.gather(*(stub.GetEcho(Echo()) for _ in range(100)), return_exceptions=True)
    assert all(isinstance(each, errors.Unavailable) for each in results)
    assert flaky.calls <= 120


async def test_a_stream_is_repeated_only_while_nothing_has_come() -> None:
    begun: list[str] = []

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        begun.append(request.text)
        if len(begun) == 1:
            raise errors.Unavailable("before the first")
        yield Echo(text="1")
        raise errors.Unavailable("in the middle")

    async with serving(EchoServicer(listed=listed)) as target, Channels() as channels:
        stream = channels.stub(target, SERVICE).ListEchoes(Echo())
        assert (await anext(stream)).text == "1"
        with pytest.raises(errors.Unavailable, match="in the middle"):
            await anext(stream)
    assert len(begun) == 2


async def test_the_breaker_spares_a_dead_target_and_no_other() -> None:
    dead = unused_target()
    async with serving() as alive, Channels() as channels:
        stub = channels.stub(dead, SERVICE)
        reasons = []
        for _ in range(12):
            with pytest.raises(errors.Unavailable) as caught:
                await stub.CreateEcho(Echo())
            reasons.append(caught.value.reason)
        assert reasons[0] == "NOT_CONNECTED"
        assert reasons[-1] == "BREAKER_OPEN"
        # Another stub of the same target shares the breaker; another target has its own.
        with pytest.raises(errors.Unavailable, match="isn't answering"):
            await channels.stub(dead, SERVICE).CreateEcho(Echo())
        assert (await channels.stub(alive, SERVICE).CreateEcho(Echo(text="a"))).text == "a"


async def test_answers_and_impatient_callers_do_not_open_the_breaker() -> None:
    async def unary(request: Any, context: Any) -> Any:
        if request.text == "slow":
            await asyncio.Event().wait()
        raise errors.NotFound("no such note")

    async with serving(EchoServicer(unary)) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        for _ in range(12):
            with pytest.raises(errors.NotFound):
                await stub.GetEcho(Echo())
        for _ in range(12):
            with pytest.raises(errors.DeadlineExceeded):
                await stub.GetEcho(Echo(text="slow"), timeout=0.01)
        assert (await stub.RawEcho(Echo(text="open"))).text == "open"


async def test_a_method_that_does_not_answer_keeps_no_other_one_out() -> None:
    async def unary(request: Any, context: Any) -> Any:
        if request.text == "hangs":
            raise errors.Unavailable("hangs")
        return request

    async with serving(EchoServicer(unary)) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        for _ in range(12):
            with pytest.raises(errors.Unavailable):
                await stub.CreateEcho(Echo(text="hangs"))
        with pytest.raises(errors.Unavailable, match="isn't answering"):
            await stub.CreateEcho(Echo(text="a"))
        assert (await stub.GetEcho(Echo(text="a"))).text == "a"


async def test_an_index_that_is_behind_for_one_user_does_not_open_the_breaker_for_the_others() -> None:
    flaky = Flaky(12, errors.Unavailable("behind", reason="INDEX_BEHIND"))
    async with serving(EchoServicer(flaky)) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        for _ in range(12):
            with pytest.raises(errors.Unavailable, match="behind"):
                await stub.GetEcho(Echo(), idempotent=False)
        assert (await stub.GetEcho(Echo(text="another user"))).text == "another user"


async def test_deadlines_shrink_from_call_to_call() -> None:
    seen: list[float] = []

    async with Channels(timeout=50) as channels:

        async def unary(request: Any, context: Any) -> Any:
            seen.append(context.time_remaining())
            if request.text == "outer":
                await channels.stub(target, SERVICE).GetEcho(Echo(text="inner"))
                await channels.stub(target, SERVICE).GetEcho(Echo(text="inner"), timeout=5)
            return request

        async with serving(EchoServicer(unary)) as target:
            await channels.stub(target, SERVICE).GetEcho(Echo(text="outer"), timeout=20)
            await channels.stub(target, SERVICE).GetEcho(Echo(text="alone"))
    outer, inner, shorter, alone = seen
    # Half a second: the header's unit rounds up.
    assert inner <= outer + 0.5 <= 20.7
    assert shorter <= 5.2
    assert 40 < alone <= 50.6


class Expired:
    """A call that has no time left."""

    def time_remaining(self) -> float:
        return 0.0


async def test_nothing_is_sent_when_no_time_is_left() -> None:
    servicer = EchoServicer()
    async with serving(servicer) as target, Channels() as channels:
        stub = channels.stub(target, SERVICE)
        token = deadline.current.set(Expired())
        try:
            with pytest.raises(errors.DeadlineExceeded):
                await stub.GetEcho(Echo())
            with pytest.raises(errors.DeadlineExceeded):
                await anext(stub.ListEchoes(Echo()))
        finally:
            deadline.current.reset(token)
    assert servicer.seen == 0


async def test_streams_outside_of_a_call_have_no_deadline_of_their_own() -> None:
    seen: list[float | None] = []

    async def listed(request: Any, context: Any) -> AsyncIterator[Any]:
        seen.append(context.time_remaining())
        yield Echo()

    async with serving(EchoServicer(listed=listed)) as target, Channels(timeout=1) as channels:
        stub = channels.stub(target, SERVICE)
        assert len([each async for each in stub.ListEchoes(Echo())]) == 1
        assert len([each async for each in stub.ListEchoes(Echo(), timeout=30)]) == 1
    assert seen[0] is None
    assert seen[1] is not None
    assert 20 < seen[1] < 31


async def test_a_restarted_server_is_found_again() -> None:
    async with Channels(patience=0) as channels:
        async with serving() as target:
            stub = channels.stub(target, SERVICE)
            assert (await stub.GetEcho(Echo(text="a"))).text == "a"
        with pytest.raises(errors.Unavailable):
            await stub.GetEcho(Echo())
        async with serving(listen=target):

            async def answers() -> bool:
                try:
                    return bool((await stub.GetEcho(Echo(text="b"))).text == "b")
                except errors.Unavailable:
                    return False

            async with within(10):
                while not await answers():
                    await asyncio.sleep(0.01)


async def test_a_connection_may_take_a_while() -> None:
    """That of a TLS handshake over a long line, or with a peer whose cores are busy."""
    one_try = Channels(attempts=1, patience=0)
    async with serving(EchoServicer()) as target, slow_line(target, 0.5) as slow, one_try as channels:
        assert (await channels.stub(slow, SERVICE).GetEcho(Echo(text="tea"))).text == "tea"


async def test_closing_ends_what_runs() -> None:
    started = asyncio.Event()

    async def unary(request: Any, context: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    async with serving(EchoServicer(unary)) as target:
        async with Channels() as channels:
            running = asyncio.create_task(channels.stub(target, SERVICE).GetEcho(Echo()))
            await started.wait()
        with pytest.raises(errors.Cancelled):
            await running


async def test_an_unknown_method_says_which_service_lacks_it() -> None:
    async with Channels() as channels:
        with pytest.raises(AttributeError, match=f"{NAME} has no method GetEchoes"):
            _ = channels.stub(unused_target(), SERVICE).GetEchoes
