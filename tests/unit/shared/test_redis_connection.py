"""The pipelined connection against a server that misbehaves by script: late, silent, garbled, refusing."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from shared.errors import Unavailable
from shared.redis import Redis, ReplyError
from shared.redis.connection import Connection
from shared.redis.server import Server
from shared.resilience.breaker import Breaker
from tests.support.clock import ManualClock
from tests.support.scripted_redis import At, Script, scripted
from tests.support.waiting import until


def client(script: Script, **options: object) -> Redis:
    given: dict[str, object] = {"timeout": 5.0, **options}
    return Redis(At(f"redis://127.0.0.1:{script.port}"), **given)  # type: ignore[arg-type]


def connections(redis: Redis) -> list[Connection]:
    assert isinstance(redis._server, Server)
    return [connection for connection in redis._server._slots if connection is not None]


def echo(command: list[bytes]) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(command[1]), command[1])


async def test_calls_of_one_moment_leave_in_one_write() -> None:
    async with scripted(echo) as script, client(script) as redis:
        script.chunks.clear()
        replies = await asyncio.gather(*(redis.call("ECHO", str(n)) for n in range(200)))
        assert replies == [str(n).encode() for n in range(200)]
        assert script.chunks == [200]


class Loop:
    """The running loop with a time of the test's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []

    def time(self) -> float:
        return self.now

    def create_future(self) -> "asyncio.Future[object]":
        return asyncio.get_running_loop().create_future()

    def call_soon(self, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        handle = asyncio.get_running_loop().call_later(3600, callback)
        self.timers.append((self.now + delay, callback, handle))
        return handle

    def stall(self, seconds: float) -> None:
        """The loop is held up: what was due in the meantime runs late, and before anything is read (as in uvloop)."""
        self.now += seconds
        for timer in sorted(self.timers, key=lambda one: one[0]):
            if timer[0] <= self.now and not timer[2].cancelled():
                self.timers.remove(timer)
                timer[2].cancel()
                timer[1]()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end and not timer[2].cancelled()]:
            timer = min(due, key=lambda one: one[0])
            self.timers.remove(timer)
            timer[2].cancel()
            self.now = max(self.now, timer[0])
            timer[1]()
        self.now = end


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def abort(self) -> None:
        self.aborted = True


def wired(timeout: float = 1.0) -> tuple[Connection, Loop, Wire]:
    loop, wire = Loop(), Wire()
    connection = Connection(loop, timeout=timeout, limit=100, on_close=lambda _: None)  # type: ignore[arg-type]
    connection.connection_made(wire)
    return connection, loop, wire


async def test_a_late_reply_is_dropped_and_the_next_call_gets_its_own() -> None:
    connection, loop, wire = wired()
    first, slow = connection.send(b"", 1), connection.send(b"", 1)
    loop.advance(0.9)
    connection.data_received(b"+first\r\n")
    loop.advance(0.2)
    # The server was heard 0.2 s ago: the call has waited long enough, the connection is fine.
    assert slow.exception() is not None
    assert not wire.aborted
    following = connection.send(b"", 1)
    connection.data_received(b"+slow\r\n+following\r\n")
    assert (first.result(), following.result(), connection.pending) == (b"first", b"following", 0)


async def test_late_replies_of_a_pipeline_are_dropped_too() -> None:
    connection, loop, _ = wired()
    pipeline = connection.send(b"", 3)
    loop.advance(0.9)
    connection.data_received(b"+a\r\n")
    loop.advance(0.2)
    assert isinstance(pipeline.exception(), Unavailable)
    following = connection.send(b"", 1)
    connection.data_received(b"+b\r\n+c\r\n+d\r\n")
    assert following.result() == b"d"


async def test_only_what_is_old_times_out() -> None:
    connection, loop, _ = wired()
    talk = [connection.send(b"", 1)]
    for _ in range(10):
        loop.advance(0.3)
        connection.data_received(b"+x\r\n")
        talk.append(connection.send(b"", 1))
    assert [future.exception() for future in talk[:-1]] == [None] * 10
    loop.advance(0.99)
    assert not talk[-1].done()
    loop.advance(0.02)
    assert isinstance(talk[-1].exception(), Unavailable)


async def test_silence_for_the_whole_timeout_closes_the_connection() -> None:
    connection, loop, wire = wired()
    call = connection.send(b"", 1)
    loop.advance(1.0)
    assert wire.aborted
    assert connection.lost
    assert isinstance(call.exception(), Unavailable)
    with pytest.raises(Unavailable):
        connection.send(b"", 1)


async def test_a_loop_that_was_held_up_reads_before_it_gives_up() -> None:
    connection, loop, wire = wired()
    call = connection.send(b"", 1)
    loop.stall(3.0)
    connection.data_received(b"+x\r\n")
    loop.advance(2.0)
    assert (call.result(), wire.aborted) == (b"x", False)
    dead = connection.send(b"", 1)
    loop.stall(3.0)
    loop.advance(0.1)
    assert (isinstance(dead.exception(), Unavailable), wire.aborted) == (True, True)


async def test_an_idle_connection_is_not_silent() -> None:
    connection, loop, wire = wired()
    done = connection.send(b"", 1)
    connection.data_received(b"+x\r\n")
    loop.advance(100)
    late = connection.send(b"", 1)
    loop.advance(0.9)
    assert (done.result(), late.done(), wire.aborted) == (b"x", False, False)


def patient() -> Breaker:
    return Breaker("redis", ManualClock(), failures=10_000)


async def test_cancelled_calls_keep_their_place_in_the_queue() -> None:
    async with scripted(echo, gate=False) as script, client(script) as redis:
        calls = [asyncio.create_task(redis.call("ECHO", str(n))) for n in range(100)]
        await asyncio.sleep(0)
        for call in calls[::3]:
            call.cancel()
        script.gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        for n, result in enumerate(results):
            if n % 3:
                assert result == str(n).encode()
            else:
                assert isinstance(result, asyncio.CancelledError)


async def test_a_server_that_falls_silent_is_given_up_and_connected_to_anew() -> None:
    answers = 0

    def once_silent(command: list[bytes]) -> bytes | None:
        nonlocal answers
        answers += 1
        return None if answers == 1 else echo(command)

    lost: list[int] = []
    async with scripted(once_silent) as script, client(script, timeout=0.05, breaker=patient()) as redis:
        redis.on_lost(lambda: lost.append(1))
        with pytest.raises(Unavailable) as error:
            await redis.call("ECHO", "a")
        assert error.value.reason in ("REDIS_TIMEOUT", "REDIS_LOST")
        await until(lambda: script.connections == 2 and redis.available)
        assert await redis.call("ECHO", "b") == b"b"
        assert lost == [1]


async def test_what_is_under_way_fails_when_the_connection_breaks() -> None:
    async with scripted(echo, gate=False) as script, client(script) as redis:
        calls = [asyncio.create_task(redis.call("ECHO", str(n))) for n in range(3)]
        await asyncio.sleep(0)
        for writer in script.writers:
            writer.transport.abort()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(result, "reason", result) for result in results] == ["REDIS_LOST"] * 3
        assert not redis.available
        with pytest.raises(Unavailable):
            await redis.call("ECHO", "next")


@pytest.mark.parametrize("garbage", [b"?what\r\n", b"+OK\r\n+and one more\r\n"])
async def test_a_stream_that_makes_no_sense_is_dropped(garbage: bytes) -> None:
    async with scripted(lambda command: garbage) as script, client(script) as redis:
        with contextlib.suppress(Unavailable):
            await redis.call("GET", "a")
        await until(lambda: script.connections >= 2)


@pytest.mark.parametrize("code", ["LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "OOM"])
async def test_a_server_that_can_not_serve_now_is_unavailable(code: str) -> None:
    async with scripted(lambda command: f"-{code} so it is\r\n".encode()) as script, client(script) as redis:
        with pytest.raises(Unavailable, match=code) as error:
            await redis.call("GET", "a")
        assert error.value.reason == "REDIS_NOT_READY"


async def test_a_command_that_redis_refuses_is_our_mistake_and_not_its() -> None:
    breaker = Breaker("redis", ManualClock(), failures=2)
    async with scripted(lambda command: b"-WRONGTYPE no\r\n") as script, client(script, breaker=breaker) as redis:
        for _ in range(5):
            with pytest.raises(ReplyError) as error:
                await redis.call("GET", "a")
        assert error.value.code == "WRONGTYPE"
        assert breaker.state == "closed"


async def test_a_dead_server_opens_the_breaker_and_calls_fail_without_waiting() -> None:
    clock = ManualClock()
    breaker = Breaker("redis", clock, failures=3)
    async with scripted(lambda command: b"-LOADING\r\n") as script, client(script, breaker=breaker) as redis:
        for _ in range(3):
            with pytest.raises(Unavailable, match="LOADING"):
                await redis.call("GET", "a")
        asked = sum(script.chunks)
        with pytest.raises(Unavailable) as refused:
            await redis.call("GET", "a")
        assert (refused.value.reason, sum(script.chunks), redis.available) == ("BREAKER_OPEN", asked, False)
        script.respond = echo
        await clock.advance(2)
        assert await redis.call("ECHO", "probe") == b"probe"
        assert redis.available


async def test_a_full_server_does_not_open_the_breaker() -> None:
    breaker = Breaker("redis", ManualClock(), failures=2)
    async with scripted(lambda command: b"-OOM full\r\n") as script, client(script, breaker=breaker) as redis:
        for _ in range(5):
            with pytest.raises(Unavailable):
                await redis.call("SET", "a", "b")
        assert breaker.state == "closed"


async def test_more_than_the_limit_is_refused_at_once() -> None:
    async with scripted(echo, gate=False) as script, client(script, limit=5) as redis:
        calls = [asyncio.create_task(redis.call("ECHO", str(n))) for n in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as error:
            await redis.call("ECHO", "6")
        assert error.value.reason == "REDIS_OVERLOADED"
        with pytest.raises(Unavailable):
            await redis.pipeline([("ECHO", "7")])
        script.gate.set()
        assert len(await asyncio.gather(*calls)) == 5


async def test_the_shortest_queue_is_taken_when_there_are_several_connections() -> None:
    async with scripted(echo, gate=False) as script, client(script, connections=3) as redis:
        calls = [asyncio.create_task(redis.call("ECHO", str(n))) for n in range(9)]
        await asyncio.sleep(0)
        assert [connection.pending for connection in connections(redis)] == [3, 3, 3]
        script.gate.set()
        assert await asyncio.gather(*calls) == [str(n).encode() for n in range(9)]


async def test_of_several_connections_those_that_are_left_go_on() -> None:
    async with scripted(echo) as script, client(script, connections=2, sleep=ManualClock().sleep) as redis:
        script.writers[0].transport.abort()
        await until(lambda: len(connections(redis)) == 1)
        assert redis.available
        assert await asyncio.gather(*(redis.call("ECHO", str(n)) for n in range(5))) == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_password_that_is_wrong_is_not_in_the_message() -> None:
    def refuse(command: list[bytes]) -> bytes:
        return b"-WRONGPASS invalid username-password pair\r\n" if command[0] == b"AUTH" else b"+OK\r\n"

    async with scripted(refuse) as script:
        redis = Redis(At(f"redis://:hidden@127.0.0.1:{script.port}"), sleep=ManualClock().sleep)
        async with redis:
            assert not redis.available
            with pytest.raises(Unavailable) as error:
                await redis.call("PING")
        assert "hidden" not in repr(error.value)
