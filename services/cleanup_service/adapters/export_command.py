"""`python -m services.cleanup_service export`: prints a user's notes, edges and settings as JSON lines.

    export --user U [--include-deleted] [--target host:port]

The lines go to standard output and are what `python -m deploy.local import` reads. The last one counts the others. Exit
code 0: it is whole; 1: it was cut off, and the reason is on standard error; 2: wrong usage.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from protos.cleanup.v1 import cleanup_pb2
from shared import commands
from shared.config import ClientSecurity, load
from shared.errors import Brain2Error
from shared.grpc.client import Channels


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.cleanup_service export", description=__doc__)
    parser.add_argument("--user", required=True, help="whose notes, edges and settings")
    parser.add_argument("--include-deleted", action="store_true", help="also deleted notes that are not purged yet")
    parser.add_argument("--target", default=os.environ.get("BRAIN2_CLEANUP_TARGET", "127.0.0.1:50054"))
    return commands.run("export", _run(parser.parse_args(arguments)))


async def _run(options: argparse.Namespace) -> int:
    request = cleanup_pb2.ExportUserRequest(user_id=options.user, include_deleted=options.include_deleted)
    async with Channels(security=load(ClientSecurity)) as channels:
        stub: Any = channels.stub(options.target, cleanup_pb2.DESCRIPTOR.services_by_name["CleanupService"])
        try:
            async for answer in stub.ExportUser(request):
                sys.stdout.writelines(f"{line}\n" for line in answer.lines)
        except Brain2Error as error:
            print(f"brain2: the export is cut off: {error.reason}: {error.message}", file=sys.stderr)
            return 1
    return 0
