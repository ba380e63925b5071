"""The servers to compare with, as small as grpc.aio allows: `python -m tests.bench.graph.bare CONFIG`.

CONFIG is JSON: port, loop ("asyncio" or "uvloop"), answer (hex: the bytes that every call gets), redis_url and command
(a Redis command that is carried out before each answer, by the client that the services use).
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import uvloop

from shared.config import StoreConfig
from shared.redis import Redis

METHOD = "/bare.Bare/Call"


async def serve(config: dict[str, Any]) -> None:
    answer = bytes.fromhex(config["answer"])
    command: list[str] = config.get("command", [])
    redis: Redis | None = None
    if command:
        store = StoreConfig(region="none", event_bus="none", redis_url=config["redis_url"])
        redis = await Redis(store).__aenter__()

    async def echo(request: bytes, context: Any) -> bytes:
        return answer

    async def after_redis(request: bytes, context: Any) -> bytes:
        assert redis is not None
        await redis.call(*command)
        return answer

    handler: Callable[[bytes, Any], Awaitable[bytes]] = after_redis if command else echo
    methods: Any = {"Call": grpc.unary_unary_rpc_method_handler(handler)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Bare", methods),))
    server.add_insecure_port(f"127.0.0.1:{config['port']}")
    await server.start()
    print("serving", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    configuration = json.loads(sys.argv[1])
    run = uvloop.run if configuration["loop"] == "uvloop" else asyncio.run
    run(serve(configuration))
