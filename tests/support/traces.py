"""Everything that the stores hold, read whole with clients of the test's own: for tests that something is gone."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import redis.asyncio as redis

from tests.support.stores import Stores


async def table_items(stores: Stores, table: str) -> list[dict[str, Any]]:
    """Every item of a table, raw. Only tests may scan."""
    async with stores.client("dynamodb") as client:
        pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [item async for page in pages for item in page["Items"]]


async def redis_entries(url: str) -> AsyncIterator[str]:
    """Every key of Redis with its value as text."""
    connect: Any = redis.Redis.from_url
    async with connect(url) as client:
        async for key in client.scan_iter(count=1000):
            kind = (await client.type(key)).decode()
            reads: dict[str, Callable[[bytes], Any]] = {
                "string": lambda key: client.get(key),
                "hash": lambda key: client.hgetall(key),
                "set": lambda key: client.smembers(key),
                "zset": lambda key: client.zrange(key, 0, -1),
                "list": lambda key: client.lrange(key, 0, -1),
                "stream": lambda key: client.xrange(key),
            }
            value = await reads[kind](key) if kind in reads else b""
            yield f"{key!r} = {value!r}"


async def objects(stores: Stores, bucket: str) -> AsyncIterator[tuple[str, str]]:
    """Every object of a bucket: its key and its text, unpacked."""
    async with stores.client("s3") as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        async for page in pages:
            for found in page.get("Contents", ()):
                body = await (await client.get_object(Bucket=bucket, Key=found["Key"]))["Body"].read()
                text = gzip.decompress(body) if found["Key"].endswith(".gz") else body
                yield found["Key"], text.decode()


async def traces_of(stores: Stores, needle: str, *, table: str = "") -> list[str]:
    """Where a text occurs in DynamoDB, Redis or S3."""
    found = [
        f"dynamodb: {item['PK']} {item['SK']}"
        for item in await table_items(stores, table or stores.resources.table)
        if needle in json.dumps(item, default=repr)
    ]
    found += [f"redis: {entry}" async for entry in redis_entries(stores.redis_url) if needle in entry]
    bucket = stores.resources.bucket
    found += [f"s3: {key}" async for key, text in objects(stores, bucket) if needle in key or needle in text]
    return found
