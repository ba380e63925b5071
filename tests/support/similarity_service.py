"""The similarity service in this process, on real ports and real stores, with small peers, and a client of it."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from protos.node.v1 import events_pb2, node_pb2
from protos.similarity.v1 import similarity_pb2 as pb
from services.similarity_service import app
from services.similarity_service.config import SimilarityConfig
from shared import config as configuration
from shared.aws import Aws
from shared.dynamo import Table
from shared.errors import NotFound
from shared.events.envelope import Event, new_event
from shared.grpc.client import Channels
from shared.ids import SystemClock, UlidFactory
from shared.lifecycle import Lifecycle
from shared.redis import Redis
from tests.support.similarity_peers import FakePeers
from tests.support.stores import Stores
from tests.support.waiting import until

IDS = UlidFactory(SystemClock())
_MESSAGES: dict[str, Any] = {
    "node.created": events_pb2.NodeCreated,
    "node.updated": events_pb2.NodeUpdated,
    "node.restored": events_pb2.NodeRestored,
}


def config_of(stores: Stores, target: str = "127.0.0.1:9", **env: str) -> SimilarityConfig:
    """What the service is started with: both peers at one target, no waits that a test would have to sit out."""
    quick = {
        "BRAIN2_LISTEN": "127.0.0.1:0",
        "BRAIN2_DRAIN_SECONDS": "1",
        "BRAIN2_RELINK_QUIET_SECONDS": "0.2",
        "BRAIN2_NODE_TARGET": target,
        "BRAIN2_GRAPH_TARGET": target,
    }
    return configuration.load(SimilarityConfig, stores.environment("similarity") | quick | env)


@dataclass
class SimilarityService:
    """A running service and what it works with."""

    stub: Any
    peers: FakePeers
    components: app.Components
    life: Lifecycle

    async def indexed(self, user: str, node_id: str) -> bool:
        try:
            await self.stub.ExtractKeywords(pb.ExtractKeywordsRequest(user_id=user, node_id=node_id))
        except NotFound:
            return False
        return True

    async def similar(self, user: str, node_id: str) -> list[str]:
        answer = await self.stub.FindSimilar(pb.FindSimilarRequest(user_id=user, node_id=node_id))
        return [each.node_id for each in answer.nodes]

    async def search(self, user: str, query: str, **fields: Any) -> list[str]:
        answer = await self.stub.SearchNodes(pb.SearchNodesRequest(user_id=user, query=query, **fields))
        return [each.node_id for each in answer.hits]

    async def relinked(self) -> None:
        """Wait until no note is left to be relinked."""
        await until(lambda: self.components.relinker.pending == 0, what="relinked notes")

    async def hear(self, *events: Event) -> None:
        """Handle events as if they had come from the queue, in their order."""
        for event in events:
            await self.components.handlers[event.type](event)


@contextlib.asynccontextmanager
async def running(stores: Stores, peers: FakePeers, **env: str) -> AsyncIterator[SimilarityService]:
    """Started as in production but for the peers. env: variables that differ."""
    life = Lifecycle()
    try:
        parts = await app.start(life, config_of(stores, peers.target, **env))
        async with Channels() as channels:
            service = pb.DESCRIPTOR.services_by_name["SimilarityService"]
            stub = channels.stub(f"127.0.0.1:{parts.port}", service)
            yield SimilarityService(stub, peers, parts, life)
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


@contextlib.asynccontextmanager
async def redis_of(stores: Stores) -> AsyncIterator[Redis]:
    """The session's Redis, for tests of an adapter."""
    async with Redis(config_of(stores), clock=SystemClock()) as redis:
        yield redis


def event_of(node: node_pb2.Node, kind: str = "", *, omit: bool = False) -> Event:
    """The event that the node service would publish of a note as it is."""
    kind = kind or ("node.created" if node.version == 1 else "node.updated")
    if kind in _MESSAGES:
        message = _MESSAGES[kind](
            title=node.title,
            content="" if omit else node.content,
            content_omitted=omit,
            tags=node.tags,
            aliases=node.aliases,
            path=node.metadata.get("path", ""),
            metadata=node.metadata,
            incarnation=node.incarnation,
        )
    elif kind == "node.deleted":
        message = events_pb2.NodeDeleted(incarnation=node.incarnation)
    else:
        message = events_pb2.NodePurged(incarnation=node.incarnation)
    return new_event(
        IDS,
        SystemClock(),
        source="brain2.node",
        type=kind,
        user_id=node.user_id,
        node_id=node.node_id,
        version=node.version,
        data=json_format.MessageToDict(message),
    )


async def publish(stores: Stores, events: Sequence[Event], client: Any = None) -> None:
    """Put events on the bus, as the node service's outbox would. client: of EventBridge, where one is at hand."""
    async with contextlib.nullcontext(client) if client else stores.client("events") as bus:
        for start in range(0, len(events), 10):
            answer = await bus.put_events(
                Entries=[
                    {
                        "Source": event.source,
                        "DetailType": event.type,
                        "Detail": event.to_json(),
                        "EventBusName": stores.resources.bus,
                    }
                    for event in events[start : start + 10]
                ]
            )
            assert answer["FailedEntryCount"] == 0
