"""The cleanup service in this process, on real ports and real stores, with small peers, and a client of it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from protos.cleanup.v1 import cleanup_pb2
from services.cleanup_service import app
from services.cleanup_service.config import CleanupConfig
from shared.aws import Aws
from shared.config import load
from shared.dynamo import Table
from shared.grpc.client import Channels
from shared.lifecycle import Lifecycle
from tests.support.cleanup_peers import FakePeers
from tests.support.stores import Stores
from tests.support.waiting import until


def config_of(stores: Stores, target: str = "127.0.0.1:9", **env: str) -> CleanupConfig:
    """The config of the service: all peers at one target, and waits that are short enough for a test."""
    quick = {
        "BRAIN2_LISTEN": "127.0.0.1:0",
        "BRAIN2_DRAIN_SECONDS": "1",
        "BRAIN2_CLEANUP_POLL_SECONDS": "0.1",
        "BRAIN2_CLEANUP_BACKOFF_SECONDS": "0.05",
        "BRAIN2_CLEANUP_LEASE_SECONDS": "2",
        "BRAIN2_ERASURE_QUIET_SECONDS": "0.2",
        **{f"BRAIN2_{peer}_TARGET": target for peer in ("NODE", "GRAPH", "SIMILARITY")},
    }
    return load(CleanupConfig, stores.environment("cleanup") | quick | env)


@dataclass
class CleanupService:
    """A running service and what it works with."""

    stub: Any
    peers: FakePeers
    config: CleanupConfig
    life: Lifecycle

    async def get(self, user: str, node_id: str) -> cleanup_pb2.Deletion:
        answer = await self.stub.GetDeletion(cleanup_pb2.GetDeletionRequest(user_id=user, node_id=node_id))
        found: cleanup_pb2.Deletion = answer.deletion
        return found

    async def queue(self, user: str, node_id: str, request_id: str = "") -> cleanup_pb2.Deletion:
        answer = await self.stub.QueueDeletion(
            cleanup_pb2.QueueDeletionRequest(user_id=user, node_id=node_id, request_id=request_id)
        )
        found: cleanup_pb2.Deletion = answer.deletion
        return found

    async def until_state(self, user: str, node_id: str, state: int) -> cleanup_pb2.Deletion:
        async def look() -> cleanup_pb2.Deletion | None:
            found = await self.get(user, node_id)
            return found if found.state == state else None

        found = await until(look, what=cleanup_pb2.DeletionState.Name(state))
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def running(stores: Stores, peers: FakePeers, **env: str) -> AsyncIterator[CleanupService]:
    """Started as in production but for the peers. env: config that differs."""
    config = config_of(stores, peers.target, **env)
    life = Lifecycle()
    try:
        port = await app.start(life, config)
        async with Channels() as channels:
            stub = channels.stub(f"127.0.0.1:{port}", cleanup_pb2.DESCRIPTOR.services_by_name["CleanupService"])
            yield CleanupService(stub, peers, config, life)
    finally:
        await life.close()
    if life.failure is not None:
        raise life.failure


@contextlib.asynccontextmanager
async def table_of(stores: Stores, **env: str) -> AsyncIterator[Table]:
    """The session's table (or another, by BRAIN2_TABLE), for tests of an adapter."""
    config = config_of(stores, **env)
    async with Aws(config, use=("dynamodb",)) as aws:
        yield Table(aws.dynamodb, config.table)


def time_of(ms: int) -> Timestamp:
    found = Timestamp()
    found.FromMilliseconds(ms)
    return found
