"""WatchEdges: a user's changes as they come, read on demand, so that a slow reader holds back only itself."""

import asyncio
from collections.abc import AsyncIterator

from services.graph_service.ports import ChangeFeed, ListCache
from shared.errors import OutOfRange, Violations
from shared.ids import check_user_id
from shared.tokens import RESUME, Integer, Text, TokenCodec

_PAGE = 100


class Watch:
    """heartbeat: seconds without a change after which a fresh resume token is sent. poll: seconds after which the feed
    is read even when nobody told us, for the case that the channel is lost."""

    def __init__(self, feed: ChangeFeed, cache: ListCache, *, heartbeat: float = 15.0, poll: float = 2.0) -> None:
        self._feed = feed
        self._cache = cache
        self._heartbeat = heartbeat
        self._poll = poll
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def told(self, user: str) -> None:
        """Something of the user changed (an invalidation came)."""
        for event in self._waiting.get(user, ()):
            event.set()

    async def changes(self, user: str, resume_token: str) -> AsyncIterator[tuple[bytes | None, str]]:
        """(entry of the feed, resume token); None is a heartbeat. The first is a heartbeat with the token of now."""
        violations = Violations()
        check_user_id("user_id", user, violations)
        violations.raise_if_any()
        space, position = self._cache.space, _TOKENS.decode(_BOUND, resume_token)
        if position is None:
            last = await self._feed.last(user)
        else:
            token_space, last = position
            if token_space != self._cache.space:
                raise expired()  # another Redis instance: its feed began anew
            space = token_space
        event = asyncio.Event()
        self._waiting.setdefault(user, set()).add(event)
        try:
            yield None, _encode(space, last)
            quiet = 0.0
            while True:
                event.clear()
                if self._cache.space not in (space, ""):
                    raise expired()
                entries = await self._feed.after(user, last, _PAGE)
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
            waiting = self._waiting[user]
            waiting.discard(event)
            if not waiting:
                del self._waiting[user]


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
