"""`python -m tests.bench.graph.client PORT METHOD REQUEST(hex) CALLS STREAMS TOKEN`: a load without h2load."""

import asyncio
import json
import sys
import time
from typing import Any

import grpc
import uvloop


async def main(port: str, method: str, request: str, calls: str, streams: str, token: str) -> None:
    body, left, received = bytes.fromhex(request), int(calls), 0
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        call: Any = channel.unary_unary(method)

        metadata = (("authorization", f"Bearer {token}"),) if token else ()

        async def worker() -> None:
            nonlocal left, received
            while left > 0:
                left -= 1
                answer = await call(body, metadata=metadata)
                received += len(answer)  # not in one line: `received` would be read before the wait

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(int(streams))))
        took = time.perf_counter() - began
    print(json.dumps({"calls": int(calls) / took, "answer_bytes": received / int(calls)}))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
