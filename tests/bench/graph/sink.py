"""A collector that takes spans and metrics and forgets them: `python -m tests.bench.graph.sink PORT`."""

import asyncio
import sys
from typing import Any

import grpc

_SERVICES = ("trace.v1.TraceService", "metrics.v1.MetricsService")


async def main(port: int) -> None:
    async def export(request: bytes, context: Any) -> bytes:
        return b""

    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(export)
    names = [f"opentelemetry.proto.collector.{service}" for service in _SERVICES]
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, {"Export": handler}) for name in names])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
