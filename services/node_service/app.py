"""The composition root: every part of the node service and how they hang together, from top to bottom."""

import asyncio
from collections.abc import Callable

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from services.node_service.adapters.batches import IdempotentBatches
from services.node_service.adapters.dynamo import DynamoNodeStore, DynamoSettings
from services.node_service.adapters.envelope import Enveloper
from services.node_service.adapters.peers import PeerVisibility
from services.node_service.adapters.redis import CachedNodeStore
from services.node_service.adapters.teller import BusTeller
from services.node_service.config import NodeConfig
from services.node_service.model import UserSettings
from services.node_service.servicer import NodeServicer
from services.node_service.usecases.batches import BatchWriting
from services.node_service.usecases.life import Life
from services.node_service.usecases.reading import Reading
from services.node_service.usecases.replaying import Replaying
from services.node_service.usecases.settings import RecentRetentions, Settings
from services.node_service.usecases.turns import Optimist
from services.node_service.usecases.writing import Writing
from shared import config, logs, telemetry
from shared.aws import Aws
from shared.dynamo import Table
from shared.events.bus import Bus
from shared.events.metered import watch_outbox
from shared.events.outbox import Outbox
from shared.grpc.client import Channels
from shared.grpc.server import GrpcServer
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from shared.lifecycle import Lifecycle
from shared.metrics import Metrics
from shared.redis import Redis
from shared.resilience.breaker import Breaker

REPAY_SECONDS = 0.2


async def serve(life: Lifecycle) -> None:
    """The process: settings from the environment, logs, traces, and the service until it is told to stop."""
    settings = config.load(NodeConfig)
    logs.setup(settings.log_level, "node")
    await life.enter(telemetry.setup("node", settings))  # first, so closed last: the spans of the drain are sent too
    await start(life, settings)
    await life.wait_for_stop()


async def start(life: Lifecycle, settings: NodeConfig) -> int:
    """Wire everything, serve, and answer the port. Tests start the service by this, too."""
    clock = SystemClock()
    ids = UlidFactory(clock)
    metrics = await life.enter(Metrics("node", settings))

    aws = await life.enter(Aws(settings, use=("dynamodb", "events")))
    dynamodb = Breaker("dynamodb", clock)
    table = Table(aws.dynamodb, settings.table, breaker=dynamodb)
    redis = await life.enter(Redis(settings, clock=clock))
    channels = await life.enter(Channels(timeout=1.0, clock=clock))

    # What happens is told by the outbox: the item in the write's transaction, the publishing behind it.
    outbox = await life.enter(Outbox(table, aws.events, service="node", bus=settings.event_bus, clock=clock))
    idempotency = Idempotency(table, "node", clock)

    # The truth, and the cache around it.
    truth = DynamoNodeStore(table, outbox, idempotency, Enveloper(ids, telemetry.inject))
    store = CachedNodeStore(truth, redis, clock, keep_seconds=settings.cache_seconds)
    settings_store = DynamoSettings(table)

    defaults = UserSettings(retention_seconds=settings.retention_seconds)
    retentions = RecentRetentions(settings_store, defaults, clock)
    targets = {
        "graph": (settings.graph_target, graph_pb2.DESCRIPTOR.services_by_name["GraphService"]),
        "similarity": (settings.similarity_target, similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"]),
    }
    peers = {name: channels.stub(target, service) for name, (target, service) in targets.items() if target}
    visibility = PeerVisibility(peers, budget_seconds=settings.visibility_ms / 1000)

    # Past the outbox: there is no write whose event it would be, and a replay that ends early is gone on with.
    teller = BusTeller(
        Bus(aws.events, settings.event_bus, outbox.breaker), Enveloper(ids, telemetry.inject, replay=True)
    )

    # One queue of turns for all writes of a note.
    optimist = Optimist()
    writing = Writing(store, clock, ids, optimist)
    servicer = NodeServicer(
        writing=writing,
        batches=BatchWriting(writing, IdempotentBatches(idempotency)),
        life=Life(store, retentions, visibility, clock, optimist),
        reading=Reading(store, max_answer_bytes=settings.max_message_bytes),
        settings=Settings(settings_store, defaults, retentions),
        replaying=Replaying(store, teller, clock),
        idempotency=idempotency,
    )
    server = GrpcServer(settings, [(node_pb2.DESCRIPTOR.services_by_name["NodeService"], servicer)])

    watch_outbox(metrics, outbox)
    metrics.breakers(lambda: [dynamodb, redis.breaker, outbox.breaker, *channels.breakers])

    life.supervise("metrics", metrics.run())
    life.supervise("outbox sweeper", outbox.run_sweeper())
    life.supervise("cache debts", repeat(store.repay, REPAY_SECONDS))
    life.on_drain(outbox.drain)
    port = await server.start()
    life.on_drain(lambda: server.stop(settings.drain_seconds))
    return port


async def repeat(work: Callable[[], object], seconds: float) -> None:
    """Call and await work() for ever, with a pause after each."""
    while True:
        result = work()
        if asyncio.iscoroutine(result):
            await result
        await asyncio.sleep(seconds)
