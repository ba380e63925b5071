"""Runs the MCP server over standard input and output: `python -m clients.mcp --target host:port --user ada`.

The token of the user is read from BRAIN2_TOKEN, so that it is not in the list of processes.
"""

import argparse
import asyncio
import os
import sys

from mcp.server.stdio import stdio_server

from clients.mcp.server import Views, build
from clients.python.brain2 import Brain2


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    brain = Brain2(arguments.target, graph=arguments.graph, similarity=arguments.similarity, cleanup=arguments.cleanup)
    token = os.environ.get("BRAIN2_TOKEN")
    async with brain:
        server = build(Views(lambda: brain), lambda _: (arguments.user, token))
        async with stdio_server() as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m clients.mcp", description="Brain2 for language models, over stdio")
    parser.add_argument("--target", help="the node service (default: BRAIN2_NODE_TARGET or localhost:50051)")
    for context in ("graph", "similarity", "cleanup"):
        parser.add_argument(f"--{context}", help="the port after the one before it, if left out")
    parser.add_argument("--user", default=os.environ.get("BRAIN2_USER", ""), help="the owner of the notes")
    try:
        asyncio.run(serve(parser.parse_args(argv)))
    except (ValueError, OSError) as error:  # a wrong target, or a file of BRAIN2_CA that can't be read
        print(f"mcp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
