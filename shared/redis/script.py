"""A Lua script that runs inside Redis, sent once and then referred to by its digest."""

import hashlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from shared.redis.connection import Argument

Call = Callable[..., Coroutine[Any, Any, Any]]


class Script:
    """Made by Redis.script(). `await script(keys=[...], args=[...])` gives the script's reply."""

    def __init__(self, source: str, call: Call) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self._call = call

    async def __call__(self, keys: Sequence[Argument] = (), args: Sequence[Argument] = ()) -> Any:
        return await self._call(*self.command(keys, args))

    def command(self, keys: Sequence[Argument] = (), args: Sequence[Argument] = ()) -> tuple[Argument, ...]:
        """The command that runs it, for Redis.pipeline(), which sends the script to a server that does not know it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)
