"""The stores of a test session: one ministack and one Valkey on free ports in a temporary folder, provisioned.

DYNAMODB_ENDPOINT, SQS_ENDPOINT, EVENTBRIDGE_ENDPOINT, S3_ENDPOINT and REDIS_URL put another server in the place of
each, so the same tests run against Amazon's DynamoDB Local or AWS. Nothing is ever reset: a session has names of its
own, and a test a user of its own (fresh_user) or, where it must see a whole table, a table of its own (fresh_table).
"""

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import aioboto3
from aiobotocore.config import AioConfig

from deploy.local import provision, stores
from deploy.local.console import Console


@dataclass(frozen=True)
class Stores:
    """Where the session's stores are and what was made on them."""

    endpoints: stores.Endpoints
    resources: provision.Resources

    @property
    def redis_url(self) -> str:
        return self.endpoints.redis

    @property
    def region(self) -> str:
        return stores.credentials()["AWS_REGION"]

    def environment(self, context: str) -> dict[str, str]:
        """What a service of this context would find in its environment."""
        return {**self.endpoints.environment(), **self.resources.environment(context)}

    def client(self, service: str) -> Any:
        """An async context manager: an aioboto3 client of dynamodb, sqs, events, s3 or cloudformation."""
        by_service = {"events": self.endpoints.eventbridge}
        endpoint = by_service[service] if service in by_service else getattr(self.endpoints, service)
        found = stores.credentials()
        make: Any = aioboto3.Session(
            aws_access_key_id=found.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=found.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=found.get("AWS_SESSION_TOKEN"),
            region_name=found["AWS_REGION"],
        ).client
        return make(service, endpoint_url=endpoint or None, config=AioConfig(retries={"max_attempts": 2}))

    @contextlib.asynccontextmanager
    async def fresh_table(self) -> AsyncIterator[str]:
        """The name of an empty table of the template's shape, deleted afterwards."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        async with self.client("dynamodb") as dynamodb:
            definition = provision.table_definition(provision.TEMPLATE.read_text(encoding="utf-8"))
            await dynamodb.create_table(TableName=name, **definition)
            await dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
            try:
                yield name
            finally:
                await dynamodb.delete_table(TableName=name)


def fresh_user() -> str:
    """A user that no other test knows."""
    return f"user-{uuid.uuid4().hex[:12]}"


@contextlib.asynccontextmanager
async def running(data: Path, env: Mapping[str, str] = os.environ) -> AsyncIterator[Stores]:
    """Stores for a session, on `data` where they are ours; what was made on others is removed at the end."""
    # Snapshots are the launcher's business: a session's stores are thrown away.
    started = await stores.start(data, on_line=Console().log, env=env, save_seconds=0)
    try:
        resources = await provision.apply(started.endpoints, prefix=f"test-{uuid.uuid4().hex[:8]}")
        found = Stores(started.endpoints, resources)
        try:
            # A service that a test starts in this process finds its credentials where AWS's own tools look for them.
            with mock.patch.dict(os.environ, stores.credentials(env)):
                yield found
        finally:
            await _tidy(found, env)
    finally:
        await started.stop()


async def _tidy(found: Stores, env: Mapping[str, str]) -> None:
    if env.get("DYNAMODB_ENDPOINT"):
        async with found.client("dynamodb") as dynamodb:
            await dynamodb.delete_table(TableName=found.resources.table)
    if env.get("SQS_ENDPOINT"):
        async with found.client("cloudformation") as cloudformation:
            await cloudformation.delete_stack(StackName=found.resources.bus)
        async with found.client("s3") as s3:
            listed = s3.get_paginator("list_objects_v2").paginate(Bucket=found.resources.bucket)
            async for page in listed:
                for item in page.get("Contents", ()):
                    await s3.delete_object(Bucket=found.resources.bucket, Key=item["Key"])
            await s3.delete_bucket(Bucket=found.resources.bucket)
