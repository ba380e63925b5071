"""HTTP/2 on a plain socket, for what no well-behaved client does: frames of any content, in any order, half sent.

It writes frames (RFC 9113) with headers that are not compressed (RFC 7541, literals without indexing), and reads frames
without understanding them: a test looks at their types.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4


class Frame(NamedTuple):
    """One frame. stream: 0 is the connection itself."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """The bytes of a frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind & 255, flags & 255]) + stream.to_bytes(4, "big") + payload


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values.items()))


def headers(values: Mapping[str, str]) -> bytes:
    """A block of headers."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in values.items())


def call_headers(path: str, stream: int, more: Mapping[str, str] | None = None) -> bytes:
    """The HEADERS frame that begins a gRPC call."""
    values = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        **(more or {}),
    }
    return frame(HEADERS, headers(values), flags=END_HEADERS, stream=stream)


def message(body: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """A gRPC message with its prefix; length: what the prefix states, when it isn't the truth."""
    return bytes([compressed]) + (len(body) if length is None else length).to_bytes(4, "big") + body


def _text(value: str) -> bytes:
    data = value.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    length, more = bytearray([127]), len(data) - 127
    while more >= 128:
        length.append(more % 128 + 128)
        more //= 128
    length.append(more)
    return bytes(length) + data


class Connection:
    """A connection to a server on loopback; use it as an async context manager."""

    def __init__(self, port: int, *, window: int = 65_535) -> None:
        self._port = port
        self._window = window

    async def __aenter__(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        await self.send(PREFACE + settings({INITIAL_WINDOW_SIZE: self._window}))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass

    async def send(self, data: bytes) -> None:
        """OSError when the server has closed the connection."""
        self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> Frame | None:
        """The next frame; None at the end of the connection. SETTINGS are acknowledged."""
        try:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, OSError):
            return None
        found = Frame(head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, payload)
        if found.kind == SETTINGS and not found.flags:
            await self.send(frame(SETTINGS, flags=1))
        return found

    async def until(self, kind: int, *, stream: int | None = None, end: bool = False) -> Frame | None:
        """The next frame of a kind, of a stream if one is given, with END_STREAM if `end`; None at the end."""
        while (found := await self.read()) is not None:
            if found.kind == kind and stream in (None, found.stream) and (not end or found.flags & END_STREAM):
                return found
        return None
