"""`python -m services.cleanup_service reconcile`: asks a running service to reconcile users, and prints what it finds.

    reconcile --user U [--user V ...] | --all-queued   [--dry-run] [--rate N] [--target host:port]

One JSON object a line: findings as they come, a report for each user. Made for a Kubernetes CronJob: exit code 0 when
all users were looked at and everything found was repaired (or --dry-run), 1 otherwise, 2 for wrong usage.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from protos.cleanup.v1 import cleanup_pb2
from shared.errors import Brain2Error
from shared.grpc.client import Channels

_PAGE = 200


def main(arguments: Sequence[str]) -> int:
    """Runs the command; answers its exit code."""
    return asyncio.run(_run(options(arguments)))


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m services.cleanup_service reconcile", description=__doc__)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", action="append", default=[], help="whom to look at; may be repeated")
    who.add_argument("--all-queued", action="store_true", help="everybody who deleted something in the last 30 days")
    parser.add_argument("--dry-run", action="store_true", help="repair nothing")
    parser.add_argument("--rate", type=int, default=0, help="items looked at per second at most (default 500)")
    parser.add_argument("--target", default=os.environ.get("BRAIN2_CLEANUP_TARGET", "127.0.0.1:50054"))
    return parser.parse_args(arguments)


async def _run(options: argparse.Namespace) -> int:
    async with Channels() as channels:
        stub = channels.stub(options.target, cleanup_pb2.DESCRIPTOR.services_by_name["CleanupService"])
        try:
            users = options.user or await _queued(stub)
        except Brain2Error as error:
            _say({"error": f"{error.reason}: {error.message}"})
            return 1
        sound = True
        for user in users:
            try:
                sound &= await _reconcile(stub, user, options)
            except Brain2Error as error:
                _say({"user_id": user, "error": f"{error.reason}: {error.message}"})
                sound = False
        return 0 if sound else 1


async def _reconcile(stub: Any, user: str, options: argparse.Namespace) -> bool:
    request = cleanup_pb2.ReconcileUserRequest(user_id=user, dry_run=options.dry_run, max_rate=options.rate)
    sound = False
    async for answer in stub.ReconcileUser(request):
        for finding in answer.findings:
            _say({"user_id": user, "finding": json_format.MessageToDict(finding, preserving_proto_field_name=True)})
        if answer.HasField("report"):
            report = answer.report
            sound = options.dry_run or dict(report.found) == dict(report.repaired)
            _say({"user_id": user, "report": json_format.MessageToDict(report, preserving_proto_field_name=True)})
    return sound


async def _queued(stub: Any) -> list[str]:
    """Everybody who has a deletion in any state."""
    users: set[str] = set()
    states: list[Any] = [state for state in cleanup_pb2.DeletionState.values() if state]
    for state in states:
        token: str | None = ""
        while token is not None:
            request = cleanup_pb2.ListDeletionsRequest(state=state, page_size=_PAGE, page_token=token)
            page = await stub.ListDeletions(request)
            users |= {deletion.user_id for deletion in page.deletions}
            token = page.next_page_token or None
    return sorted(users)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False), flush=True)
