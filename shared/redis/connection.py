"""One connection on which any number of calls are under way: replies come in the order of the commands.

Commands of one turn of the event loop are sent in one write. A caller that was cancelled or timed out leaves its place
in the queue, so that its reply is dropped and not given to the next caller.

Library: hiredis parses and packs. The libraries that were measured as a whole are in docs/adr/0006.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import hiredis

from shared.errors import Internal, Unavailable
from shared.redis.address import Address

Argument = str | bytes | int | float
Command = Sequence[Argument]

# The type stub of hiredis allows a tuple of one element only.
_pack: Callable[[tuple[Argument, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]
_MORE = object()
# Seconds by which timers may fire early or late.
_TICK = 0.001
# A timer that fires later than this many seconds means that something blocked the event loop.
_LATE = 0.02
# A connection with more unsent bytes than this takes no more commands: the server reads too slowly.
_MOST_UNSENT = 32 * 1024 * 1024
# Error codes by which a server reports that it can't serve now. All others are about the command.
_NOT_NOW = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS", "OOM", "MISCONF")


class ReplyError(Internal):
    """Redis refused a command. text: its answer; code: the first word of that (WRONGTYPE, NOSCRIPT, ERR ...)."""

    def __init__(self, text: str) -> None:
        super().__init__(f"Redis refused a command: {text}", reason="REDIS_REFUSED")
        self.text = text
        self.code = text.split(" ", 1)[0]


class NotReady(Unavailable):
    """The server can't serve now: it is starting, read only, out of memory and so on. code: as in ReplyError."""

    def __init__(self, text: str) -> None:
        super().__init__(f"Redis can't serve now: {text}", reason="REDIS_NOT_READY")
        self.code = text.split(" ", 1)[0]


def refusal(text: str) -> ReplyError | NotReady:
    """The error for an error reply."""
    return NotReady(text) if text.split(" ", 1)[0] in _NOT_NOW else ReplyError(text)


class _Waiting:
    """A place in the queue for `count` replies."""

    __slots__ = ("count", "future", "replies", "since")

    def __init__(self, future: "asyncio.Future[Any]", count: int, since: float) -> None:
        self.future = future
        self.count = count
        self.since = since
        self.replies: list[Any] | None = None


class Connection(asyncio.Protocol):
    """Made by connect(). timeout: seconds a call waits for its reply.

    on_close(error) is called once, when the connection is lost for whatever reason.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, timeout: float, limit: int, on_close: Callable[["Connection"], None]
    ) -> None:
        self._loop = loop
        self._timeout = timeout
        self._limit = limit
        self._on_close = on_close
        self._reader = hiredis.Reader(replyError=refusal, notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self._queue: deque[_Waiting] = deque()
        self._pending = 0
        self._out: list[bytes] = []
        self._heard = loop.time()
        self._watch: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._slow = False
        self.lost = False

    @property
    def pending(self) -> int:
        """Replies that are still to come."""
        return self._pending

    def send(self, packed: bytes, count: int) -> "asyncio.Future[Any]":
        """Send `count` packed commands; the future gives one reply, or for count != 1 the list of them.

        Unavailable at once when the connection is gone or too much is under way.
        """
        if self.lost:
            raise gone()
        if self._pending + count > self._limit or (self._slow and self._unsent() > _MOST_UNSENT):
            raise Unavailable(f"{self._pending} Redis commands are under way", reason="REDIS_OVERLOADED")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.append(_Waiting(future, count, self._loop.time()))
        self._pending += count
        if not self._out:
            # The write waits for the end of this turn of the loop: what others send in it goes along.
            self._loop.call_soon(self._flush)
        self._out.append(packed)
        if self._watch is None:
            self._watch_in(self._timeout)
        return future

    def close(self) -> None:
        """Drop the connection; what is under way fails as when it is lost."""
        if self._transport is not None:
            self._transport.abort()
        self._lose()

    def _flush(self) -> None:
        if not self.lost and self._transport is not None:
            self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out.clear()

    def _unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def _watch_in(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._watch = self._loop.call_later(seconds, self._check)

    def _check(self) -> None:
        """One timer for all calls: the queue is in order of age, so only its head can be too old."""
        self._watch = None
        now = self._loop.time()
        if now - self._due > _LATE:
            # The loop was blocked, and uvloop runs timers before it reads: the replies may have arrived already.
            self._watch_in(_TICK)
            return
        oldest: float | None = None
        for place in self._queue:
            if now - place.since < self._timeout - _TICK:
                oldest = place.since
                break
            # The place stays in the queue: its reply must still be taken off the stream.
            if not place.future.done():
                place.future.set_exception(Unavailable("Redis didn't reply in time", reason="REDIS_TIMEOUT"))
        if not self._queue:
            return
        silent_since = max(self._heard, self._queue[0].since)
        if now - silent_since >= self._timeout - _TICK:
            # Nothing arrived for a whole timeout: the connection is dead.
            self.close()
        else:
            wake = silent_since if oldest is None else oldest
            self._watch_in(max(wake + self._timeout - now, _TICK))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's, they only behave like them.
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self._slow = True

    def resume_writing(self) -> None:
        self._slow = False

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        reader, queue = self._reader, self._queue
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _MORE:
                place = queue[0]
                self._pending -= 1
                if place.count == 1:
                    queue.popleft()
                    if place.future.done():
                        continue
                    if isinstance(reply, Exception):
                        place.future.set_exception(reply)
                    else:
                        place.future.set_result(reply)
                else:
                    if place.replies is None:
                        place.replies = []
                    place.replies.append(reply)
                    if len(place.replies) == place.count:
                        queue.popleft()
                        if not place.future.done():
                            place.future.set_result(place.replies)
        except (hiredis.ProtocolError, IndexError):
            # Bytes that are not RESP, or a reply without a command: the stream can't be read any further.
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._lose()

    def _lose(self) -> None:
        if self.lost:
            return
        self.lost = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        queue, self._queue, self._pending = self._queue, deque(), 0
        for place in queue:
            if not place.future.done():
                place.future.set_exception(gone())
        self._on_close(self)


def gone() -> Unavailable:
    return Unavailable("the connection to Redis is lost; whether the command ran isn't known", reason="REDIS_LOST")


def pack(commands: Iterable[Command]) -> bytes:
    """The commands as RESP; text is sent as UTF-8, numbers as their repr."""
    return b"".join([_pack(tuple(command)) for command in commands])


async def connect(
    address: Address,
    *,
    name: str,
    timeout: float,
    connect_timeout: float,
    limit: int,
    on_close: Callable[[Connection], None],
) -> Connection:
    """A connection that is ready for commands: connected, authenticated, its database selected.

    Unavailable when that fails or takes longer than connect_timeout seconds, and for a wrong password: callers go on
    without a cache while the operator corrects it.
    """
    loop = asyncio.get_running_loop()
    closed_early = False

    def closed(connection: Connection) -> None:
        nonlocal closed_early
        closed_early = True
        if ready:
            on_close(connection)

    def make() -> Connection:
        return Connection(loop, timeout=timeout, limit=limit, on_close=closed)

    ready = False
    connection: Connection | None = None
    try:
        async with asyncio.timeout(connect_timeout):
            host = address.host if address.tls else None
            _, connection = await loop.create_connection(
                make, address.host, address.port, ssl=address.tls, server_hostname=host
            )
            greeting = address.greeting(name)
            replies = await connection.send(pack([*greeting, ("PING",)]), len(greeting) + 1)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
    except (OSError, TimeoutError, ReplyError, Unavailable) as error:
        if connection is not None:
            connection.close()
        raise Unavailable(f"can't connect to Redis at {address}: {error!r}", reason="REDIS_UNREACHABLE") from error
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    if closed_early:
        raise gone()
    ready = True
    return connection
