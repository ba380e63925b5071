"""The composition root: every part of the node service and how they hang together, from top to bottom."""

import asyncio

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from services.node_service.adapters.dynamo import DynamoNodeStore, DynamoSettings, StoredNotes
from services.node_service.adapters.envelope import Enveloper
from services.node_service.adapters.peers import PeerVisibility
from services.node_service.adapters.publisher import BusEventPublisher
from services.node_service.adapters.redis import CachedNodeStore
from services.node_service.config import NodeConfig
from services.node_service.model import UserSettings
from services.node_service.servicer import NodeServicer
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.optimistic_concurrency import OptimisticConcurrency
from services.node_service.usecases.user_settings import RetentionCache, StoredUserSettings
from shared import config as configuration
from shared import logs, telemetry
from shared.aws import Aws
from shared.dynamo import Table
from shared.dynamo.metered import watch_table
from shared.events.bus import Bus
from shared.events.metered import watch_outbox
from shared.events.outbox import Outbox
from shared.grpc.client import Channels
from shared.grpc.metered import Latencies, RpcMetrics
from shared.grpc.server import GrpcServer
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from shared.lifecycle import Lifecycle
from shared.metrics import Metrics
from shared.quotas import Quotas
from shared.redis import Redis
from shared.resilience.breaker import Breaker

# The buckets, in milliseconds, of the latencies of successful calls.
LATENCIES: Latencies = {
    "node_creation_latency_ms": ((10, 25, 50, 100, 250, 500, 1000), ("CreateNode",)),
    "node_deletion_latency_ms": ((5, 10, 25, 50, 100, 250), ("DeleteNode",)),
}
# How often pending invalidations of the cache are tried.
INVALIDATION_SECONDS = 0.2


async def serve(life: Lifecycle) -> None:
    """The process: configuration from the environment, logs, traces, and the service until it is stopped."""
    config = configuration.load(NodeConfig)
    logs.setup(config.log_level, "node")
    # Entered first, so closed last: the spans of the drain are sent, too.
    await life.enter(telemetry.setup("node", config))
    await start(life, config)
    await life.wait_for_stop()


async def start(life: Lifecycle, config: NodeConfig) -> int:
    """Wire everything, serve, and return the port. Tests start the service by this, too."""
    clock = SystemClock()
    ids = UlidFactory(clock)
    metrics = await life.enter(Metrics("node", config, link=life.link))

    aws = await life.enter(Aws(config, use=("dynamodb", "events")))
    table = Table(aws.dynamodb, config.table, breaker=Breaker("dynamodb", clock), measure=metrics.enabled)
    redis = await life.enter(Redis(config, clock=clock))
    channels = await life.enter(Channels(timeout=1.0, security=config, clock=clock))

    # The outbox publishes events: its item is in the write's transaction, the publishing follows.
    outbox = await life.enter(
        Outbox(table, aws.events, service="node", bus=config.event_bus, clock=clock, shards=config.outbox_shards)
    )
    idempotency = Idempotency(table, "node", clock)

    # The table holds the notes, and Redis is a cache around it.
    limits = {"notes": config.quota_notes, "bytes": config.quota_bytes}
    quotas = Quotas(table, "node", clock, limits, StoredNotes(table))
    dynamo_store = DynamoNodeStore(table, outbox, idempotency, Enveloper(ids, telemetry.inject), quotas)
    store = CachedNodeStore(dynamo_store, redis, clock, keep_seconds=config.cache_seconds)
    settings_store = DynamoSettings(table)

    defaults = UserSettings(retention_seconds=config.retention_seconds)
    retentions = RetentionCache(settings_store, defaults, clock)
    targets = {
        "graph": (config.graph_target, graph_pb2.DESCRIPTOR.services_by_name["GraphService"]),
        "similarity": (config.similarity_target, similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"]),
    }
    peers = {name: channels.stub(target, service) for name, (target, service) in targets.items() if target}

    visibility = PeerVisibility(peers, ids, clock, budget_seconds=config.visibility_ms / 1000)
    notes = Notes(
        store=store,
        idempotency=idempotency,
        retentions=retentions,
        visibility=visibility,
        # Replayed events don't go through the outbox, because there is no write that they belong to.
        publisher=BusEventPublisher(
            Bus(aws.events, config.event_bus, outbox.breaker), Enveloper(ids, telemetry.inject, replay=True)
        ),
        concurrency=OptimisticConcurrency(),
        clock=clock,
        ids=ids,
        max_answer_bytes=config.max_message_bytes,
    )
    servicer = NodeServicer(notes, StoredUserSettings(settings_store, defaults, retentions), idempotency)
    server = GrpcServer(
        config,
        [(node_pb2.DESCRIPTOR.services_by_name["NodeService"], servicer)],
        redis=redis,
        metrics=RpcMetrics(metrics, LATENCIES) if metrics.enabled else None,
    )

    watch_table(metrics, table)
    metrics.caches({"redis_node": lambda: (store.hits, store.misses)})
    watch_outbox(metrics, outbox)
    metrics.breakers(lambda: [*table.breakers, *redis.breakers, outbox.breaker, *channels.breakers])

    life.supervise("metrics", metrics.run())
    life.supervise("outbox sweeper", outbox.run_sweeper())
    life.supervise("pending cache invalidations", remove_pending(store))
    life.on_drain(outbox.drain)
    life.on_drain(store.drain)
    life.on_drain(visibility.drain)
    port = await server.start()
    life.on_drain(lambda: server.stop(config.drain_seconds))
    return port


async def remove_pending(store: CachedNodeStore) -> None:
    """Try the pending invalidations for as long as the process lives."""
    while True:
        await store.remove_pending()
        await asyncio.sleep(INVALIDATION_SECONDS)
