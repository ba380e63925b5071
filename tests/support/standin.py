"""A service that does nothing but answer health checks: what the launcher's own tests start in place of the real ones.

`python -m tests.support.standin CONTEXT`; the contexts named in STANDIN_FAIL say why and exit with status 3.
"""

import asyncio
import json
import os
import signal
import sys

import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc


def say(message: str) -> None:
    print(json.dumps({"level": "INFO", "message": message}), flush=True)


async def main(context: str) -> int:
    if context in os.environ.get("STANDIN_FAIL", "").split(","):
        print(f"{context} cannot work today", file=sys.stderr)
        return 3
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    server.add_insecure_port(os.environ["BRAIN2_LISTEN"])
    await server.start()
    say(f"table {os.environ['BRAIN2_TABLE']}")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    say("bye")
    await server.stop(0)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
