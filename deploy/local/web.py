"""Starts the console (clients/console) beside a running stack: RPCs over HTTP, the graph view, the MCP server.

The stack does not need it: when it can't start or ends, the services go on.
"""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping

from deploy.local import processes, stores
from deploy.local.console import Console

# As with make run's own ports: 50080 beside 50051 to 50054.
PORT_OFFSET = 29
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "BRAIN2_USER", "BRAIN2_CONSOLE_AUTHORIZATION_SERVERS")


@contextlib.asynccontextmanager
async def serving(addresses: Mapping[str, str], port_base: int | None, console: Console) -> AsyncIterator[str]:
    """The address of the console, or "" when it did not start. addresses: context -> "host:port" of the services.

    port_base: the port of the node service; None, or when the port that belongs to it is taken: any free port.
    """
    wanted = None if port_base is None else port_base + PORT_OFFSET
    port = wanted if wanted is not None and processes.is_free(wanted) else processes.free_ports(1)[0]
    targets = [part for context, address in addresses.items() for part in (f"--{context}", address)]
    child = await processes.start(
        "console",
        (sys.executable, "-m", "clients.console", "--listen", f"127.0.0.1:{port}", *targets),
        env={"PYTHONUNBUFFERED": "1", **{key: os.environ[key] for key in _PASSED_ON if key in os.environ}},
        on_line=console.log,
        cwd=stores.ROOT,
    )
    url = f"http://127.0.0.1:{port}"
    async with processes.beside(child, f"{url}/healthz", _START_SECONDS, _STOP_SECONDS, console) as answers:
        yield url if answers else ""
