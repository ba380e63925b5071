"""`python -m services.cleanup_service empty-caches | replay-erasures`: what a restore of the table needs besides.

    empty-caches
    replay-erasures [--dry-run]

empty-caches removes everything in Redis, which is newer than the restored table; no service may run meanwhile.
replay-erasures reads the ledger of erasures in the archive bucket, starts those that the restored table doesn't know,
and waits until the running cleanup service has carried them out.

Both read the environment of the service, so they are run in one of its pods. They print one JSON object a line. Exit
code 0: done (with --dry-run: no erasure is missing); 1: not so; 2: wrong usage, or no bucket.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.cleanup_service.adapters.erasure_ledger import S3ErasureLedger
from services.cleanup_service.adapters.erasures import DynamoErasures
from services.cleanup_service.adapters.user_cache import UserCache
from services.cleanup_service.usecases.replay_erasures import ErasureReplay
from shared import commands
from shared import config as configuration
from shared.aws import Aws
from shared.dynamo import Table
from shared.errors import Brain2Error
from shared.ids import SystemClock, UlidFactory


@dataclass(frozen=True, kw_only=True)
class RestoreConfig(configuration.StoreConfig):
    """The part of the service's environment that the commands read."""

    archive_bucket: str = configuration.env_field("", env="BRAIN2_ARCHIVE_BUCKET", why="the S3 bucket of the ledger")


def main(arguments: Sequence[str]) -> int:
    """Runs the command, whose name comes first, and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.cleanup_service", description=__doc__)
    names = parser.add_subparsers(dest="command", required=True)
    names.add_parser("empty-caches")
    replay = names.add_parser("replay-erasures")
    replay.add_argument("--dry-run", action="store_true", help="only print which erasures the table doesn't know")
    options = parser.parse_args(arguments)
    if options.command == "empty-caches":
        return commands.run("empty-caches", _empty_caches())
    return commands.run("replay-erasures", _replay(dry_run=options.dry_run))


async def _empty_caches() -> int:
    config = configuration.load(RestoreConfig)
    try:
        await UserCache(config.redis_url, cluster=config.redis_cluster).remove_everything()
    except Brain2Error as error:
        _print({"error": f"{error.reason}: {error.message}"})
        return 1
    _print({"caches": "empty"})
    return 0


async def _replay(*, dry_run: bool) -> int:
    config = configuration.load(RestoreConfig)
    if not config.archive_bucket:
        raise configuration.ConfigError(
            ["BRAIN2_ARCHIVE_BUCKET is empty: without a bucket there is no ledger of erasures"]
        )
    clock = SystemClock()
    async with Aws(config, use=("dynamodb", "s3")) as aws:
        replay = ErasureReplay(
            store=DynamoErasures(Table(aws.dynamodb, config.table), UlidFactory(clock)),
            ledger=S3ErasureLedger(aws.s3, config.archive_bucket),
            clock=clock,
        )
        try:
            known, missing = await replay.missing()
            for record in missing:
                _print({"erasure_id": record.erasure_id, "start_ms": record.start_ms, "state": "missing"})
            erased = 0
            if not dry_run:
                async for record in replay.replay(missing):
                    erased += 1
                    _print({"erasure_id": record.erasure_id, "start_ms": record.start_ms, "state": "erased"})
        except Brain2Error as error:
            _print({"error": f"{error.reason}: {error.message}"})
            return 1
    _print({"in_ledger": known, "missing": len(missing), "erased": erased})
    return 0 if erased == len(missing) else 1


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)
