"""Receives the messages of channels, and reports from when messages may have been missed and from when on they are not.

Library: redis-py's PubSub, made again whenever it fails.
"""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn, Protocol

from redis import exceptions

from shared.errors import Unavailable
from shared.resilience.retry import Backoff, Rng, Sleep

log = logging.getLogger(__name__)


class _Client(Protocol):
    async def pubsub(self) -> Any: ...


class Subscription:
    """run() receives until it is cancelled, and subscribes again whenever the connection is lost.

    on_message(channel, data): called in order, in the loop.
    on_lost(): called at once when messages may have been missed, and before the first subscription.
    on_ready(): called when the server has confirmed all channels: every later message is received.
    silence: seconds without a message after which a PING is sent; after as many seconds again the connection counts as
    lost.
    """

    def __init__(
        self,
        redis: _Client,
        channels: Sequence[str],
        *,
        on_message: Callable[[bytes, bytes], None],
        on_ready: Callable[[], Awaitable[None] | None] | None,
        on_lost: Callable[[], None] | None,
        backoff: Backoff,
        sleep: Sleep,
        rng: Rng,
        silence: float = 2.0,
    ) -> None:
        self._redis = redis
        self._channels = channels
        self._on_message = on_message
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._backoff = backoff
        self._sleep = sleep
        self._rng = rng
        self._silence = silence
        self.ready = False

    async def run(self) -> NoReturn:
        attempt = 0
        self._lost()
        while True:
            try:
                await self._receive()
            except (exceptions.RedisError, OSError, TimeoutError, Unavailable) as error:
                log.warning("not subscribed to Redis; subscribing is tried again", extra={"error": repr(error)})
            except Exception:
                # A listener failed, too: whether it processed the message isn't known, so the message counts as missed.
                log.exception("receiving from Redis failed; subscribing is tried again")
            attempt = 0 if self.ready else attempt + 1
            if self.ready:
                self._lost()
            await self._sleep(self._backoff.delay(attempt, self._rng))

    def _lost(self) -> None:
        self.ready = False
        if self._on_lost is not None:
            self._on_lost()

    async def _receive(self) -> None:
        pubsub = await self._redis.pubsub()
        try:
            await pubsub.subscribe(*self._channels)
            confirmed = 0
            asked = False  # whether a PING is on its way
            while True:
                message = await pubsub.get_message(timeout=self._silence)
                if message is None:
                    if asked or not self.ready:
                        raise TimeoutError("the server is silent")
                    await pubsub.ping()
                    asked = True
                    continue
                asked = False
                if message["type"] == "message":
                    self._on_message(message["channel"], message["data"])
                elif message["type"] == "subscribe":
                    confirmed += 1
                    if confirmed == len(self._channels):
                        await self._confirmed()
        finally:
            # aclose() may wait for a server that isn't there.
            with contextlib.suppress(exceptions.RedisError, OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await pubsub.aclose()

    async def _confirmed(self) -> None:
        self.ready = True
        if self._on_ready is not None:
            result = self._on_ready()
            if inspect.isawaitable(result):
                await result
