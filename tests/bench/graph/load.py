"""Closed-loop load for throughput: h2load when it is installed (Debian's nghttp2-client), else a grpc.aio client
process.
"""

import asyncio
import json
import re
import shutil
import struct
import sys
import tempfile
from dataclasses import dataclass

from tests.bench.graph.world import LOAD_CORE, pinned

STREAMS = 64
_HEADERS = ("content-type: application/grpc", "te: trailers")


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls a second, and the bytes of message that each answer had."""

    calls: float
    answer_bytes: float


async def rate(
    port: int,
    method: str,
    request: bytes,
    calls: int,
    answer: int | None,
    *,
    token: str = "",
    connections: int = 1,
    streams: int = STREAMS,
) -> Rate:
    """`streams` calls at a time on each of the connections. token: sent with each call.

    RuntimeError unless every answer has `answer` bytes (None: any number above 0): h2load counts gRPC errors as
    successes, but they have no body.
    """
    found = await (_h2load if shutil.which("h2load") else _client)(
        port, method, request, calls, token, connections, streams
    )
    wrong = found.answer_bytes <= 0 if answer is None else abs(found.answer_bytes - answer) > 0.5
    if wrong:
        raise RuntimeError(f"{method}: {found.answer_bytes:.1f} bytes an answer instead of {answer}")
    return found


async def _h2load(
    port: int, method: str, request: bytes, calls: int, token: str, connections: int, streams: int
) -> Rate:
    with tempfile.NamedTemporaryFile(suffix=".bin") as body:
        body.write(b"\0" + struct.pack(">I", len(request)) + request)
        body.flush()
        sent = (*_HEADERS, f"authorization: Bearer {token}") if token else _HEADERS
        headers = [part for header in sent for part in ("-H", header)]
        # Windows of 1 GB: a large answer must not wait for flow control.
        command = [
            "h2load",
            "-n",
            str(calls),
            "-c",
            str(connections),
            "-m",
            str(streams),
            "-w",
            "30",
            "-W",
            "30",
            "-d",
            body.name,
        ]
        text = await _run([*command, *headers, f"http://127.0.0.1:{port}{method}"])
    per_second = re.search(r"finished in .*?, ([\d.]+) req/s", text)
    done = re.search(r"requests: \d+ total, .*?, (\d+) succeeded", text)
    data = re.search(r"\((\d+)\) data\s*$", text, re.MULTILINE)
    if not (per_second and done and data) or int(done[1]) != calls:
        raise RuntimeError(f"h2load did not finish:\n{text}")
    return Rate(float(per_second[1]), int(data[1]) / calls - 5)


async def _client(
    port: int, method: str, request: bytes, calls: int, token: str, connections: int, streams: int
) -> Rate:
    module = "tests.bench.graph.client"
    shape = [str(calls), str(connections), str(streams)]
    argv = [sys.executable, "-m", module, str(port), method, request.hex(), *shape, token]
    found = json.loads(await _run(argv))
    return Rate(found["calls"], found["answer_bytes"])


async def _run(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *pinned(LOAD_CORE, *command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{out.decode()}")
    return out.decode()
