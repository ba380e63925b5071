"""`python -m services.node_service replay`: calls ReplayEvents of a running service and prints the progress.

    replay --user U [--rate N] [--after TOKEN] [--target host:port]

Prints one JSON object a line. The exit code is 0 when all events were published, else 1: the last line then has the
value for --after that continues the replay.
"""

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from protos.node.v1 import node_pb2
from shared import commands
from shared.config import ClientSecurity, load
from shared.errors import Brain2Error
from shared.grpc.client import Channels


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.node_service replay", description=__doc__)
    parser.add_argument("--user", required=True, help="user_id of the notes")
    parser.add_argument("--rate", type=int, default=0, help="events per second at most, 1 to 2000 (default 200)")
    parser.add_argument("--after", default="", help="continue an earlier replay: its last next_page_token")
    parser.add_argument("--target", default=os.environ.get("BRAIN2_NODE_TARGET", "127.0.0.1:50051"))
    return commands.run("replay", _run(parser.parse_args(arguments)))


async def _run(options: argparse.Namespace) -> int:
    token: str = options.after
    async with Channels(security=load(ClientSecurity)) as channels:
        stub: Any = channels.stub(options.target, node_pb2.DESCRIPTOR.services_by_name["NodeService"])
        request = node_pb2.ReplayEventsRequest(user_id=options.user, max_rate=options.rate, page_token=token)
        try:
            async for progress in stub.ReplayEvents(request):
                token = progress.next_page_token
                _print(json_format.MessageToDict(progress, preserving_proto_field_name=True))
                if progress.finished:
                    return 0
        except Brain2Error as error:
            _print({"user_id": options.user, "error": f"{error.reason}: {error.message}", "after": token})
    return 1


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False), flush=True)
