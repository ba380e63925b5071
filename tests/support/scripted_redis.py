"""A Redis server that a test scripts: it answers each command as the test says, late, wrongly or not at all."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import hiredis

Respond = Callable[[list[bytes]], bytes | None]


@dataclass(frozen=True)
class At:
    redis_url: str
    redis_cluster: bool = False


@dataclass
class Script:
    """Answers each command with respond(command), after `gate` is open; None = no answer at all.

    chunks: how many commands each read brought. heard: the commands but those of a connection's beginning.
    refuses: new connections are cut.
    """

    respond: Respond
    port: int = 0
    chunks: list[int] = field(default_factory=list)
    heard: list[list[bytes]] = field(default_factory=list)
    connections: int = 0
    refuses: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        self.connections += 1
        self.writers.append(writer)
        commands = hiredis.Reader()
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                commands.feed(data)
                count = 0
                while (command := commands.gets()) is not False:
                    count += 1
                    greeting = command[0] in (b"CLIENT", b"PING")
                    if not greeting:
                        self.heard.append(command)
                        await self.gate.wait()
                    answer = b"+OK\r\n" if greeting else self.respond(command)
                    if answer is not None:
                        writer.write(answer)
                self.chunks.append(count)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def scripted(respond: Respond, *, gate: bool = True) -> AsyncIterator[Script]:
    script = Script(respond)
    if gate:
        script.gate.set()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        script.gate.set()
        server.close()
        for writer in script.writers:
            writer.close()
        await server.wait_closed()
