"""ports.erase_user.UserPartition: everything of a user in the table, the archive and Redis, whichever service wrote it.

This is where cleanup removes items of all contexts (docs/adr/0044). They are found by key alone: everything of a user
is under USER#<u> or IDEMP#<service>#<u>, or it is one of the user's events in OUTBOX#<service>#<shard>, or a journal
entry of the graph in GRAPH#JOURNAL#<shard>.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from protos import table
from services.cleanup_service.adapters.archive import prefix
from services.cleanup_service.adapters.user_cache import UserCache
from shared.aws import AWS_ERRORS, translate
from shared.dynamo import Item, Key, Table
from shared.errors import InvalidArgument
from shared.events.stored import EVENT_ATTRIBUTES, stored_event

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

_PAGE = 500
# Seconds for one call of S3: the timeouts of its client don't cover every wait.
_TIMEOUT = 30.0
_EDGES = (table.EDGES, table.GRAPH)
_INDEX = (table.POSTINGS, table.TERMS, table.SIMILARITY)


class StoredUserPartition:
    """bucket: "" when no bucket is configured; then archives of an earlier configuration are not removed.

    outbox_shards: the partitions of each outbox.
    """

    def __init__(
        self,
        items: Table,
        s3: "S3Client",
        bucket: str,
        cache: UserCache,
        outbox_shards: int = table.OUTBOX_SHARDS,
    ) -> None:
        self._table = items
        self._outbox_shards = outbox_shards
        self._s3 = s3
        self._bucket = bucket
        self._cache = cache

    async def note_ids(self, user_id: str) -> AsyncIterator[list[str]]:
        found: list[str] = []
        notes = self._table.query_all(
            table.user_partition(user_id), begins_with=table.NODES, attributes=("PK", "SK"), consistent=True
        )
        async for item in notes:
            found.append(table.node_of(item["SK"]))
            if len(found) == _PAGE:
                yield found
                found = []
        if found:
            yield found

    async def remove_edges(self, user_id: str) -> int:
        return sum([await self._remove(table.user_partition(user_id), begins) for begins in _EDGES])

    async def remove_index(self, user_id: str) -> int:
        return sum([await self._remove(table.user_partition(user_id), begins) for begins in _INDEX])

    async def remove_cache(self, user_id: str) -> int:
        return await self._cache.remove_user(user_id)

    async def remove_archives(self, user_id: str) -> int:
        if not self._bucket:
            return 0
        count = 0
        while keys := await self._archived(user_id):
            try:
                async with asyncio.timeout(_TIMEOUT):
                    objects = [{"Key": key, "VersionId": version} for key, version in keys]
                    answer = await self._s3.delete_objects(
                        Bucket=self._bucket,
                        Delete={"Objects": objects, "Quiet": True},  # type: ignore[typeddict-item]
                    )
            except AWS_ERRORS as error:
                raise translate(error, "S3 DeleteObjects") from error
            if failures := answer.get("Errors"):
                code = failures[0].get("Code", "")
                raise translate(OSError(code), f"S3 DeleteObjects ({len(failures)} of {len(keys)} failed: {code})")
            count += len(keys)
        return count

    async def remove_records(self, user_id: str) -> int:
        # The marker is removed with the last write of the erasure.
        count = await self._remove(table.user_partition(user_id), "", keep=lambda item: item["SK"] == table.ERASING)
        for service in table.SERVICES:
            count += await self._remove(table.idempotency_partition(service, user_id), "")
            for shard in range(self._outbox_shards):
                count += await self._remove(
                    table.outbox_partition(service, shard),
                    "",
                    ("PK", "SK", *EVENT_ATTRIBUTES),
                    keep=lambda item: not _is_of(item, user_id),
                )
        for shard in range(table.JOURNAL_SHARDS):
            count += await self._remove(
                table.journal_partition(shard), "", ("PK", "SK", "user"), keep=lambda item: item.get("user") != user_id
            )
        return count

    async def _remove(
        self,
        pk: str,
        begins: str,
        attributes: Sequence[str] = ("PK", "SK"),
        keep: Callable[[Item], bool] = lambda _: False,
    ) -> int:
        keys: list[Key] = []
        count = 0
        items = self._table.query_all(pk, begins_with=begins or None, attributes=attributes, consistent=True)
        async for item in items:
            if not keep(item):
                keys.append((item["PK"], item["SK"]))
            if len(keys) == _PAGE:
                await self._table.batch_write(deletes=keys)
                count, keys = count + len(keys), []
        await self._table.batch_write(deletes=keys)
        return count + len(keys)

    async def _archived(self, user_id: str) -> list[tuple[str, str]]:
        # All versions of the objects: the bucket may have versioning enabled.
        try:
            page = await self._s3.list_object_versions(Bucket=self._bucket, Prefix=prefix(user_id))
        except AWS_ERRORS as error:
            raise translate(error, "S3 ListObjectVersions") from error
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        return [(one["Key"], one["VersionId"]) for one in found]


def _is_of(item: Item, user_id: str) -> bool:
    try:
        return stored_event(item).user_id == user_id
    except InvalidArgument:
        return False
