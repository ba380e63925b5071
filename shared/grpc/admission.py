"""What the calls of a server may hold at one time: slots, bytes, and places of callers that send or take nothing.

- Slots: ordinary calls share max_concurrent_rpcs (middleware.py). Subscriptions and bulk calls have lanes of their own,
  so that neither takes the slot of a lookup. One connection may hold a part of them only, and so may an authenticated
  caller over all its connections.
- Bytes: requests, and answers above _LARGE bytes until their caller has taken them, share max_inflight_bytes. One
  connection may hold half of it with answers.
- Silence: gRPC waits for the message of a call as long as the connection lives. Once more than _MOST_SILENT calls wait,
  further ones are begun at once and read their message themselves, within MESSAGE_SECONDS (server.py).

What a caller holds by silence, or by answers that it doesn't take, ends with its connection, which max_connection_age
bounds: grpcio can't end a call before its handler runs, or after it has returned. All refusals are RESOURCE_EXHAUSTED
with RetryInfo: nothing was done, and the same call may succeed a moment later.

gRPC's resource quota was considered: grpcio has no way to set it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from protos.options.rules import MethodTraits
from shared.config import ServerConfig
from shared.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted

Context = grpc.aio.ServicerContext[Any, Any]
BUSY_SECONDS = 0.2
# A subscription or a bulk call lasts: its slot isn't free again at once.
_LANE_BUSY_SECONDS = 1.0
# Smaller answers aren't counted: the call itself costs as much (16 KB).
LARGE = 16 * 1024
MESSAGE_SECONDS = 10.0
# Each costs 16 KB. Honest calls send their message with their headers, so few of them wait at any time.
_MOST_SILENT = 512
_DEFAULT_BYTES = 256 * 1024 * 1024
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# The first version of cgroups has no word for "no limit": it shows a number near 2^63.
_NO_LIMIT = 1 << 60


class Share:
    """The places that one caller may hold at one time, over all its connections.

    name: of what holds a place, in the plural, for errors. reason, retry_after: of the error.
    """

    def __init__(self, name: str, reason: str, limit: int, retry_after: float) -> None:
        self._name, self._reason, self._limit, self._retry_after = name, reason, limit, retry_after
        self._held: dict[str, int] = {}

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """Hold a place. ResourceExhausted when the caller has as many as it may have."""
        held = self._held.get(caller, 0)
        if held >= self._limit:
            raise ResourceExhausted(
                f"a caller may have {self._limit} {self._name} at one time",
                reason=self._reason,
                retry_after=self._retry_after,
            )
        self._held[caller] = held + 1
        try:
            yield
        finally:
            left = self._held[caller] - 1
            if left:
                self._held[caller] = left
            else:
                del self._held[caller]


class Lane:
    """Slots for one kind of long calls.

    name: of what holds a slot, in the plural, for errors.
    reason: of the error.
    part: what a connection may hold, and also a caller over all its connections.
    """

    def __init__(self, name: str, reason: str, limit: int, part: int) -> None:
        self.callers = Share(name, reason, part, _LANE_BUSY_SECONDS)
        self._name, self._reason = name, reason
        self._limit, self._per_connection = limit, part
        self._held: Counter[str] = Counter()
        self._total = 0

    def __len__(self) -> int:
        return self._total

    @contextmanager
    def slot(self, context: Context) -> Iterator[None]:
        """Hold a slot. ResourceExhausted when there is none, or when the connection has its part already."""
        connection = context.peer()
        if self._total >= self._limit:
            raise self._full(f"{self._limit} {self._name} are being served already")
        if self._held[connection] >= self._per_connection:
            raise self._full(f"a connection may have {self._per_connection} {self._name} at one time")
        self._total += 1
        self._held[connection] += 1
        try:
            yield
        finally:
            self._total -= 1
            self._held[connection] -= 1
            if not self._held[connection]:
                del self._held[connection]

    def _full(self, why: str) -> ResourceExhausted:
        return ResourceExhausted(why, reason=self._reason, retry_after=_LANE_BUSY_SECONDS)


class Admission:
    """Shared by all methods of a server. `bytes` is public, since the hot path counts requests in it itself."""

    def __init__(self, config: ServerConfig) -> None:
        self.limit = config.max_concurrent_rpcs
        self.max_bytes = config.max_inflight_bytes or default_inflight_bytes() // config.workers
        if self.max_bytes < 2 * config.max_message_bytes:
            # One call must always fit, with its request and its answer.
            self.max_bytes = 2 * config.max_message_bytes
        self.bytes = 0
        most = config.max_subscriptions
        self.subscriptions = Lane("subscriptions", "TOO_MANY_SUBSCRIPTIONS", most, max(1, most // 4))
        self.health_watches = Lane("health watches", "TOO_MANY_SUBSCRIPTIONS", most, max(1, most // 4))
        self.reflections = Lane("reflections", "TOO_MANY_SUBSCRIPTIONS", most, max(1, most // 4))
        self.bulk = Lane("bulk calls", "BULK_BUSY", config.max_bulk_rpcs, max(1, config.max_bulk_rpcs // 2))
        self.callers = Share("calls", "SERVER_BUSY", max(1, self.limit // 2), BUSY_SECONDS)
        # Calls whose headers have arrived and whose message has not.
        self._silent: set[asyncio.Task[Any] | None] = set()
        self._unread_by: Counter[str] = Counter()

    def share_of(self, traits: MethodTraits) -> Share:
        """What one caller may hold of the calls of an RPC."""
        if traits.subscription:
            return self.subscriptions.callers
        return self.bulk.callers if traits.bulk else self.callers

    def expect_message(self) -> bool:
        """The headers of a call have arrived; run it in the call's task. False: too many calls wait for a message."""
        if len(self._silent) >= _MOST_SILENT:
            # A call that its caller cancelled before its message came ends without a word.
            self._silent = {task for task in self._silent if task is not None and not task.done()}
            if len(self._silent) >= _MOST_SILENT:
                return False
        self._silent.add(asyncio.current_task())
        return True

    def message_arrived(self, task: "asyncio.Task[Any] | None") -> None:
        self._silent.discard(task)

    def hold_answer(self, context: Context, size: int, *, must: bool) -> None:
        """Count a large answer until the call's task ends, which is when the caller has taken it.

        must: the work is done and its answer goes out in any case. Else ResourceExhausted when there is no room.
        """
        task = asyncio.current_task()
        if task is None:
            return
        connection = context.peer()
        if not must:
            self.check_room(size)
            if self._unread_by[connection] + size > self.max_bytes // 2:
                raise busy("the caller has not read its earlier answers")
        self._hold(size, connection)
        task.add_done_callback(lambda _: self._release(size, connection))

    @contextmanager
    def writing(self, context: Context, size: int) -> Iterator[None]:
        """Count one answer of a stream while it is written, which lasts until the caller makes room for it."""
        if size <= LARGE:
            yield
            return
        connection = context.peer()
        self.check_room(size)
        self._hold(size, connection)
        try:
            yield
        finally:
            self._release(size, connection)

    def check_room(self, size: int) -> None:
        """ResourceExhausted when this many bytes more don't fit."""
        if self.bytes + size > self.max_bytes:
            raise busy(f"the running calls hold {self.bytes:,} bytes already")

    def _hold(self, size: int, connection: str) -> None:
        self.bytes += size
        self._unread_by[connection] += size

    def _release(self, size: int, connection: str) -> None:
        self.bytes -= size
        self._unread_by[connection] -= size
        if not self._unread_by[connection]:
            del self._unread_by[connection]


async def first_message(requests: AsyncIterator[bytes]) -> bytes:
    """The first message of a call whose handler gRPC began with the headers.

    InvalidArgument (MALFORMED_REQUEST): the call ends without a message.
    DeadlineExceeded: no message came within MESSAGE_SECONDS.
    """
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            return await anext(aiter(requests))
    except StopAsyncIteration:
        raise InvalidArgument("the call has no message", reason="MALFORMED_REQUEST") from None
    except TimeoutError:
        raise DeadlineExceeded(f"no message came within {MESSAGE_SECONDS:g} s") from None


def busy(why: str) -> ResourceExhausted:
    """The refusal of a call that does not fit into the memory of the process now."""
    return ResourceExhausted(why, reason="SERVER_BUSY", retry_after=BUSY_SECONDS)


def default_inflight_bytes() -> int:
    """A quarter of the memory limit of this process's control group; 256 MiB without a limit."""
    for path in _CGROUPS:
        try:
            limit = int(Path(path).read_text())
        except (OSError, ValueError):  # another version of cgroups, or the word "max"
            continue
        if 0 < limit < _NO_LIMIT:
            return limit // 4
    return _DEFAULT_BYTES
