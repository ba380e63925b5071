"""The console as a process, on a free port."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx2

from deploy.local import processes
from deploy.local.stores import ROOT
from tests.support.waiting import within


@dataclass(frozen=True)
class Console:
    """url: its address. lines: what it has logged. child: its process."""

    url: str
    lines: list[str]
    child: processes.Child


@contextlib.asynccontextmanager
async def console_of(addresses: Mapping[str, str], *arguments: str, **env: str) -> AsyncIterator[Console]:
    """A console of the services at these addresses that answers, with further arguments and variables."""
    port = processes.free_ports(1)[0]
    targets = [f"--{name}={address}" for name, address in addresses.items()]
    lines: list[str] = []
    child = await processes.start(
        "console",
        (sys.executable, "-m", "clients.console", "--listen", f"127.0.0.1:{port}", *targets, *arguments),
        env={"PYTHONUNBUFFERED": "1", **env},
        on_line=lambda _, line: lines.append(line),
        cwd=ROOT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with within(30), httpx2.AsyncClient() as client:
            while not child.ended.done():
                with contextlib.suppress(httpx2.TransportError):
                    await client.get(f"{url}/healthz")
                    break
                await asyncio.wait({child.ended}, timeout=0.05)
        assert not child.ended.done(), "\n".join(lines)
        yield Console(url, lines, child)
    finally:
        await child.stop(10.0)
        print("\n".join(lines))  # shown by pytest when a test fails
