"""WatchEdges: a user's changes as they happen. The feed is read on demand, so a slow reader delays only itself."""

import asyncio
from collections.abc import AsyncIterator

from services.graph_service.ports import ChangeFeed, ListCache
from services.graph_service.usecases.validation import check_user
from shared.errors import OutOfRange
from shared.tokens import RESUME, Integer, Text, TokenCodec

_PAGE = 100


class WatchEdges:
    """heartbeat: seconds without a change after which a new resume token is sent.

    poll: seconds after which the feed is read even without an invalidation, in case the channel is down.
    """

    def __init__(self, feed: ChangeFeed, cache: ListCache, *, heartbeat: float = 15.0, poll: float = 2.0) -> None:
        self._feed = feed
        self._cache = cache
        self._heartbeat = heartbeat
        self._poll = poll
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def notify(self, user_id: str) -> None:
        """An invalidation about this user arrived: wake the readers."""
        for event in self._waiting.get(user_id, ()):
            event.set()

    async def watch_edges(self, user_id: str, resume_token: str) -> AsyncIterator[tuple[bytes | None, str]]:
        """Pairs of an entry of the feed and a resume token; None instead of an entry is a heartbeat.

        The first pair is a heartbeat, with the position from which the stream goes on. InvalidArgument: the token is
        malformed. OutOfRange RESUME_TOKEN_EXPIRED: changes after the token are no longer kept.
        """
        check_user(user_id)
        space, position = self._cache.space, _TOKENS.decode(_BOUND, resume_token)
        if position is None:
            last = await self._feed.last(user_id)
        else:
            token_space, last = position
            if token_space != self._cache.space:
                raise expired()  # another Redis instance has another feed
            space = token_space
        event = asyncio.Event()
        self._waiting.setdefault(user_id, set()).add(event)
        try:
            yield None, _encode(space, last)
            quiet = 0.0
            while True:
                event.clear()
                if self._cache.space not in (space, ""):
                    raise expired()
                entries = await self._feed.after(user_id, last, _PAGE)
                for entry in entries:
                    last, quiet = entry.id, 0.0
                    yield entry.data, _encode(space, last)
                if entries:
                    continue
                if quiet >= self._heartbeat:
                    quiet = 0.0
                    yield None, _encode(space, last)
                try:
                    async with asyncio.timeout(self._poll):
                        await event.wait()
                except TimeoutError:
                    quiet += self._poll
        finally:
            waiting = self._waiting[user_id]
            waiting.discard(event)
            if not waiting:
                del self._waiting[user_id]


def expired() -> OutOfRange:
    return OutOfRange(
        "the changes after this token are no longer kept: read ListEdges again", reason="RESUME_TOKEN_EXPIRED"
    )


_BOUND = "WatchEdges"
# An id of the Redis stream: two numbers of 64 bits.
_TOKENS: TokenCodec[tuple[str, str]] = TokenCodec(
    RESUME,
    lambda space, ms, sequence: (space, f"{ms}-{sequence}"),
    {"s": Text(128), "t": Integer(0, 2**64 - 1), "n": Integer(0, 2**64 - 1)},
)


def _encode(space: str, last: str) -> str:
    milliseconds, sequence = last.split("-")
    return _TOKENS.encode(_BOUND, space, int(milliseconds), int(sequence))
