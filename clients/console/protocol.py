"""HTTP/1.1 of the console's server, with an end for connections that send no whole request head.

uvicorn waits for the first request of a connection, and for the rest of a head, as long as the connection lives. Each
connection counts in limit_concurrency, so that silent ones would keep everybody else out.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# An honest client sends its head at once; between two requests uvicorn's own timeout_keep_alive holds.
HEAD_SECONDS = 10.0


class HeadTimeout(H11Protocol):
    """Closes a connection on which no whole head arrives within HEAD_SECONDS."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        # IDLE: the bytes that have come so far are no whole head.
        if self.conn.their_state is h11.IDLE:
            self._watch()
        else:
            self._stop()

    def _watch(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self._close)

    def _stop(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _close(self) -> None:
        self._head = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()
