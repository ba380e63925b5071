"""ports.erase_user.ErasureLedger in S3, in the bucket of the archives.

    ledger/erasures/<SHA-256 of the user_id>/<start, ms since 1970, 13 digits>-<erasure_id>.json

An erasure removes what is under users/ and never what is here: the bucket's lifecycle does, when no backup of the table
can be older any more. An object holds the user_id, because a replay must know whom to erase.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from services.cleanup_service.model.erasure import ErasureRecord
from shared.aws import AWS_ERRORS, translate
from shared.errors import DataLoss
from shared.ids import time_key

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

PREFIX = "ledger/erasures/"
FORMAT = "brain2.erasure/1"
_AT_ONCE = 16
# Seconds for one call. The timeouts of the client don't cover the wait for "100 Continue", which may never end.
_TIMEOUT = 30.0


class S3ErasureLedger:
    """bucket: not empty."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def write(self, record: ErasureRecord) -> None:
        body = {
            "format": FORMAT,
            "erasure_id": record.erasure_id,
            "user_id": record.user_id,
            "start_ms": record.start_ms,
        }
        digest = hashlib.sha256(record.user_id.encode()).hexdigest()
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._client.put_object(
                    Bucket=self._bucket,
                    Key=f"{PREFIX}{digest}/{time_key(record.start_ms)}-{record.erasure_id}.json",
                    Body=json.dumps(body).encode(),
                    ContentType="application/json",
                    ChecksumAlgorithm="SHA256",
                )
        except AWS_ERRORS as error:
            raise translate(error, "S3 PutObject") from error

    async def read(self) -> AsyncIterator[ErasureRecord]:
        after = ""
        while keys := await self._keys(after):
            after = keys[-1]
            for start in range(0, len(keys), _AT_ONCE):
                for record in await asyncio.gather(*(self._get(key) for key in keys[start : start + _AT_ONCE])):
                    yield record

    async def _keys(self, after: str) -> list[str]:
        """The next keys in their order; none at the end."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                page = await self._client.list_objects_v2(Bucket=self._bucket, Prefix=PREFIX, StartAfter=after)
        except AWS_ERRORS as error:
            raise translate(error, "S3 ListObjectsV2") from error
        return [found["Key"] for found in page.get("Contents", ())]

    async def _get(self, key: str) -> ErasureRecord:
        try:
            async with asyncio.timeout(_TIMEOUT):
                answer = await self._client.get_object(Bucket=self._bucket, Key=key)
                body = await answer["Body"].read()
        except AWS_ERRORS as error:
            raise translate(error, "S3 GetObject") from error
        try:
            found = json.loads(body)
            return ErasureRecord(str(found["erasure_id"]), str(found["user_id"]), int(found["start_ms"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataLoss(f"{key} is not a record of an erasure", reason="LEDGER_CORRUPT") from error
