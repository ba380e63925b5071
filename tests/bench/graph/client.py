"""A load without h2load: `python -m tests.bench.graph.client PORT METHOD REQUEST CALLS CONNECTIONS STREAMS TOKEN`.

REQUEST is in hexadecimal.
"""

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

import grpc
import uvloop

# A pool of its own for each channel: channels to one address would share a connection.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


async def main(
    port: str, method: str, request: str, calls: str, connections: str, streams: str, token: str = ""
) -> None:
    body, left, received = bytes.fromhex(request), int(calls), 0
    metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def worker(call: Any) -> None:
        nonlocal left, received
        while left > 0:
            left -= 1
            answer = await call(body, metadata=metadata)
            received += len(answer)  # not in one line: `received` would be read before the wait

    async with contextlib.AsyncExitStack() as stack:
        target = f"127.0.0.1:{port}"
        made: list[Any] = [
            await stack.enter_async_context(grpc.aio.insecure_channel(target, options=_OPTIONS))
            for _ in range(int(connections))
        ]
        began = time.perf_counter()
        await asyncio.gather(*(worker(each.unary_unary(method)) for each in made for _ in range(int(streams))))
        took = time.perf_counter() - began
    print(json.dumps({"calls": int(calls) / took, "answer_bytes": received / int(calls)}))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
