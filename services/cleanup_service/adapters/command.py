"""`python -m services.cleanup_service reconcile`: reconciles users through a running service, and prints the findings.

    reconcile --user U [--user V ...] | --all-queued   [--dry-run] [--rate N] [--target host:port]

It prints one JSON object a line: findings as they arrive, and a report for each user. Exit code 0: all users were
reconciled and all findings repaired (or --dry-run); 1: not so; 2: wrong usage. A Kubernetes CronJob runs it.
"""

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from protos.cleanup.v1 import cleanup_pb2
from shared import commands
from shared.config import ClientSecurity, load
from shared.errors import Brain2Error
from shared.grpc.client import Channels

_PAGE = 200


def main(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    return commands.run("reconcile", _run(options(arguments)))


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m services.cleanup_service reconcile", description=__doc__)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", action="append", default=[], help="the user to reconcile; may be repeated")
    who.add_argument("--all-queued", action="store_true", help="all users who deleted a note in the last 30 days")
    parser.add_argument("--dry-run", action="store_true", help="repair nothing")
    parser.add_argument("--rate", type=int, default=0, help="the most items that are read per second (default 500)")
    parser.add_argument("--target", default=os.environ.get("BRAIN2_CLEANUP_TARGET", "127.0.0.1:50054"))
    return parser.parse_args(arguments)


async def _run(options: argparse.Namespace) -> int:
    async with Channels(security=load(ClientSecurity)) as channels:
        stub = channels.stub(options.target, cleanup_pb2.DESCRIPTOR.services_by_name["CleanupService"])
        try:
            users = options.user or await _users_with_deletions(stub)
        except Brain2Error as error:
            _print({"error": f"{error.reason}: {error.message}"})
            return 1
        consistent = True
        for user in users:
            try:
                consistent &= await _reconcile(stub, user, options)
            except Brain2Error as error:
                _print({"user_id": user, "error": f"{error.reason}: {error.message}"})
                consistent = False
        return 0 if consistent else 1


async def _reconcile(stub: Any, user: str, options: argparse.Namespace) -> bool:
    request = cleanup_pb2.ReconcileUserRequest(user_id=user, dry_run=options.dry_run, max_rate=options.rate)
    consistent = False
    async for answer in stub.ReconcileUser(request):
        for finding in answer.findings:
            _print({"user_id": user, "finding": json_format.MessageToDict(finding, preserving_proto_field_name=True)})
        if answer.HasField("report"):
            report = answer.report
            consistent = options.dry_run or dict(report.found) == dict(report.repaired)
            _print({"user_id": user, "report": json_format.MessageToDict(report, preserving_proto_field_name=True)})
    return consistent


async def _users_with_deletions(stub: Any) -> list[str]:
    """All users who have a deletion in any state."""
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


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False), flush=True)
