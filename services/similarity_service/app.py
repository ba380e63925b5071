"""The composition root: every part of the similarity service and how they hang together, from top to bottom."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from services.similarity_service import subscriber
from services.similarity_service.adapters.dynamo import DynamoRecords, DynamoSettings
from services.similarity_service.adapters.peers import GraphPeer, NodePeer
from services.similarity_service.adapters.redis import RedisChangeLog
from services.similarity_service.adapters.unsettled import DynamoUnsettled
from services.similarity_service.config import SimilarityConfig
from services.similarity_service.servicer import SimilarityServicer
from services.similarity_service.usecases.finding import Finding
from services.similarity_service.usecases.indexing import Indexing
from services.similarity_service.usecases.library import Library
from services.similarity_service.usecases.linking import Linking
from services.similarity_service.usecases.marks import Marks
from services.similarity_service.usecases.preferences import Preferences
from services.similarity_service.usecases.reindexing import Reindexing
from services.similarity_service.usecases.searching import Searching
from shared import config, logs, telemetry
from shared.aws import Aws
from shared.dynamo import Table
from shared.events.consumer import Consumer
from shared.events.metered import watch_consumer
from shared.grpc.client import Channels
from shared.grpc.server import GrpcServer
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from shared.lifecycle import Lifecycle
from shared.metrics import Metrics
from shared.redis import Redis
from shared.resilience.breaker import Breaker

SAY_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Parts:
    """What a started service is made of, for whoever started it (tests, benchmarks). port: where it serves."""

    port: int
    library: Library
    linking: Linking
    handlers: Mapping[str, subscriber.Handler]


async def serve(life: Lifecycle) -> None:
    """The process: settings from the environment, logs, traces, and the service until it is told to stop."""
    settings = config.load(SimilarityConfig)
    logs.setup(settings.log_level, "similarity")
    await life.enter(telemetry.setup("similarity", settings))  # first, so closed last: the drain's spans are sent too
    await start(life, settings)
    await life.wait_for_stop()


async def start(life: Lifecycle, settings: SimilarityConfig) -> Parts:
    """Wire everything and serve. Tests start the service by this, too."""
    clock = SystemClock()
    metrics = await life.enter(Metrics("similarity", settings))

    aws = await life.enter(Aws(settings, use=("dynamodb", "sqs")))
    dynamodb = Breaker("dynamodb", clock)
    table = Table(aws.dynamodb, settings.table, breaker=dynamodb)
    redis = await life.enter(Redis(settings, clock=clock))
    channels = await life.enter(Channels(timeout=5.0, clock=clock))
    nodes = NodePeer(channels.stub(settings.node_target, node_pb2.DESCRIPTOR.services_by_name["NodeService"]))
    graph = GraphPeer(channels.stub(settings.graph_target, graph_pb2.DESCRIPTOR.services_by_name["GraphService"]))

    # The truth, and what is kept of it in memory.
    records = DynamoRecords(table, clock)
    preferences = Preferences(DynamoSettings(table), clock)
    library = Library(records, RedisChangeLog(redis), clock, max_bytes=settings.index_megabytes * 1024 * 1024)
    redis.on_lost(library.distrust)

    indexing = Indexing(records, library, preferences)
    marks = Marks(DynamoUnsettled(table), clock, UlidFactory(clock).new_id(), settings.settle_lease_seconds)
    linking = Linking(library, preferences, graph, records, marks, clock, quiet_seconds=settings.settle_seconds)
    servicer = SimilarityServicer(
        finding=Finding(records, library, preferences, graph),
        searching=Searching(records, library, preferences, nodes),
        indexing=indexing,
        reindexing=Reindexing(records, library, preferences, nodes, indexing, linking),
        preferences=preferences,
        idempotency=Idempotency(table, "similarity", clock),
    )
    server = GrpcServer(settings, [(similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"], servicer)])
    handlers = subscriber.handlers(indexing, linking, nodes)
    consumer = Consumer(
        aws.sqs,
        settings.queue_url,
        handlers,
        service="similarity",
        dlq_url=settings.dlq_url,
        clock=clock,
        concurrency=settings.consumers,
    )

    watch_consumer(metrics, consumer)
    metrics.gauge("brain2.similarity.index.size", "By", lambda: library.nbytes)
    metrics.gauge("brain2.similarity.index.users", "{user}", lambda: len(library.users))
    metrics.counter("brain2.similarity.index.loads", "{load}", lambda: library.loads)
    metrics.breakers(lambda: [dynamodb, redis.breaker, consumer.breaker, *channels.breakers])

    life.supervise("metrics", metrics.run())
    life.supervise("link settler", linking.run())
    life.supervise("link keeper", linking.keep())
    life.on_drain(linking.hand_over)
    life.supervise("change log", repeat(library.say_again, SAY_AGAIN_SECONDS))
    life.supervise("consumer", consumer.run())
    life.on_drain(consumer.drain)
    port = await server.start()
    life.on_drain(lambda: server.stop(settings.drain_seconds))
    return Parts(port, library, linking, handlers)


async def repeat(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Await work() for ever, with a pause after each."""
    while True:
        await work()
        await asyncio.sleep(seconds)
