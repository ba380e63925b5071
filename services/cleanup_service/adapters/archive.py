"""Archives in S3: a purged note as gzip JSON, with a manifest that proves that it is complete.

    users/<user>/notes/<node>/v<version>/<run>/note.json.gz      the note and its keywords
                                              edges-00000.json.gz ...  its edges, at most 5,000 in an object
                                              manifest.json      their names, SHA-256 and sizes; written last

<run> is new in each attempt, so that two replicas never write the same object; the saga's archive_uri names the
manifest that counts. Everything of a user is under users/<user>/, which an erasure removes.
"""

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from services.cleanup_service.model.saga import Saga
from services.cleanup_service.ports import Archived, Record, edge_key
from shared.aws import AWS_ERRORS, translate
from shared.errors import DataLoss
from shared.ids import Clock, IdFactory

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

_EDGES_AN_OBJECT = 5_000
# Above this many bytes a part is compressed in a thread, so that it doesn't block the event loop.
_LARGE = 64 * 1024
# Seconds for one object. The timeouts of the client don't cover the wait for "100 Continue", which may never end.
_TIMEOUT = 30.0
FORMAT = "brain2.archive/1"


def prefix(user_id: str) -> str:
    """The key prefix of all archives of a user."""
    return f"users/{user_id}/"


class S3Archives:
    """ports.Archives. timeout: seconds for one object."""

    def __init__(
        self, client: "S3Client", bucket: str, ids: IdFactory, clock: Clock, *, timeout: float = _TIMEOUT
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._ids = ids
        self._clock = clock
        self._timeout = timeout

    async def write(
        self, saga: Saga, note: Record, keywords: Sequence[Record], edges: AsyncIterator[list[Record]]
    ) -> Archived:
        folder = f"{prefix(saga.user_id)}notes/{saga.node_id}/v{saga.version}/{self._ids.new_id()}/"
        parts = [await self._part(folder, "note.json.gz", {"note": note, "keywords": list(keywords)}, 1)]
        count, full = 0, []
        async for batch in edges:
            full += batch
            while len(full) >= _EDGES_AN_OBJECT:
                parts.append(await self._edges(folder, len(parts) - 1, full[:_EDGES_AN_OBJECT]))
                full = full[_EDGES_AN_OBJECT:]
            count += len(batch)
        if full:
            parts.append(await self._edges(folder, len(parts) - 1, full))
        manifest = {
            "format": FORMAT,
            "user_id": saga.user_id,
            "node_id": saga.node_id,
            "version": saga.version,
            "deleted_ms": saga.delete_ms,
            "archived_ms": self._clock.now_ms(),
            "edges": count,
            "parts": parts,
        }
        body = json.dumps(manifest, indent=1).encode()
        await self._put(f"{folder}manifest.json", body, "application/json")
        # The purge follows, so the archive must be there: read the manifest back.
        if await self._get(f"{folder}manifest.json") != body:
            raise DataLoss("the manifest was read back with other content", reason="ARCHIVE_CORRUPT")
        return Archived(f"s3://{self._bucket}/{folder}manifest.json", count)

    async def edge_keys(self, uri: str) -> set[str]:
        folder = uri.removeprefix(f"s3://{self._bucket}/").removesuffix("manifest.json")
        manifest = json.loads(await self._get(f"{folder}manifest.json"))
        found: set[str] = set()
        for part in manifest["parts"]:
            if part["name"].startswith("edges-"):
                body = await self._get(folder + part["name"])
                if hashlib.sha256(body).hexdigest() != part["sha256"]:
                    raise DataLoss(
                        f"{folder}{part['name']} has other content than was written", reason="ARCHIVE_CORRUPT"
                    )
                found |= {edge_key(edge) for edge in json.loads(gzip.decompress(body))["edges"]}
        return found

    async def append(self, uri: str, edges: Sequence[Record]) -> None:
        folder = uri.removeprefix(f"s3://{self._bucket}/").removesuffix("manifest.json")
        await self._part(folder, f"late-{self._ids.new_id()}.json.gz", {"edges": list(edges)}, len(edges))

    async def _edges(self, folder: str, number: int, edges: Sequence[Record]) -> dict[str, Any]:
        return await self._part(folder, f"edges-{number:05d}.json.gz", {"edges": edges}, len(edges))

    async def _part(self, folder: str, name: str, content: Record, count: int) -> dict[str, Any]:
        text = json.dumps(content, ensure_ascii=False).encode()
        pack = asyncio.to_thread(_packed, text) if len(text) > _LARGE else None
        body = await pack if pack is not None else _packed(text)
        digest = hashlib.sha256(body)
        # S3 verifies the checksum and refuses a damaged body.
        await self._put(folder + name, body, "application/gzip")
        return {"name": name, "sha256": digest.hexdigest(), "bytes": len(body), "count": count}

    async def _put(self, key: str, body: bytes, kind: str) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._client.put_object(
                    Bucket=self._bucket, Key=key, Body=body, ContentType=kind, ChecksumAlgorithm="SHA256"
                )
        except AWS_ERRORS as error:
            raise translate(error, "S3 PutObject") from error

    async def _get(self, key: str) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._client.get_object(Bucket=self._bucket, Key=key)
                return await answer["Body"].read()
        except AWS_ERRORS as error:
            raise translate(error, "S3 GetObject") from error


def _packed(text: bytes) -> bytes:
    # Without a time in the header, equal content gives equal bytes.
    return gzip.compress(text, mtime=0)
