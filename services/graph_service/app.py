"""The composition root: every part of the graph service and how they hang together, from top to bottom."""

from dataclasses import dataclass

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from services.graph_service.adapters.channel import Channel
from services.graph_service.adapters.dynamo import DynamoEdgeStore
from services.graph_service.adapters.feed import RedisFeed
from services.graph_service.adapters.instance import instance_name
from services.graph_service.adapters.lists import CHANNEL, RedisLists
from services.graph_service.adapters.peers import NodePeer
from services.graph_service.config import GraphConfig
from services.graph_service.convert import WireCodec
from services.graph_service.ports import ChangeFeed, EdgeStore, NodeDirectory
from services.graph_service.servicer import GraphServicer
from services.graph_service.subscriber import handlers
from services.graph_service.usecases.adjacency import Adjacency, Limits
from services.graph_service.usecases.batch import Batch
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.guard import Guard, TrustedCache
from services.graph_service.usecases.hubs import Hubs
from services.graph_service.usecases.l1 import L1
from services.graph_service.usecases.links import Links
from services.graph_service.usecases.neighbors import Neighbors
from services.graph_service.usecases.visibility import Visibility
from services.graph_service.usecases.walks import Walks
from services.graph_service.usecases.watch import Watch
from services.graph_service.usecases.whole import Whole
from shared import config, logs, telemetry
from shared.aws import Aws
from shared.dynamo import Table
from shared.events.consumer import Consumer
from shared.events.metered import watch_consumer, watch_outbox
from shared.events.outbox import Outbox
from shared.grpc.client import Channels
from shared.grpc.server import GrpcServer
from shared.idempotency import Idempotency
from shared.ids import Clock, IdFactory, SystemClock, UlidFactory
from shared.lifecycle import Lifecycle
from shared.metrics import Metrics
from shared.redis import Redis
from shared.resilience.breaker import Breaker


async def serve(life: Lifecycle) -> None:
    """The process: settings from the environment, logs, traces, and the service until it is told to stop."""
    settings = config.load(GraphConfig)
    logs.setup(settings.log_level, "graph")
    await life.enter(telemetry.setup("graph", settings))  # first, so closed last: the spans of the drain are sent too
    await start(life, settings)
    await life.wait_for_stop()


async def start(life: Lifecycle, settings: GraphConfig) -> int:
    """Wire everything, serve, and answer the port. Tests start the service by this, too."""
    clock = SystemClock()
    ids = UlidFactory(clock)
    codec = WireCodec()
    metrics = await life.enter(Metrics("graph", settings))

    use = ("dynamodb", "events", "sqs") if settings.queue_url else ("dynamodb", "events")
    aws = await life.enter(Aws(settings, use=use))
    dynamodb = Breaker("dynamodb", clock)
    table = Table(aws.dynamodb, settings.table, breaker=dynamodb)
    redis = await life.enter(Redis(settings, breaker=Breaker("redis", clock)))
    channels = await life.enter(Channels(timeout=2.0, clock=clock))
    outbox = await life.enter(Outbox(table, aws.events, service="graph", bus=settings.event_bus, clock=clock))

    store = DynamoEdgeStore(table, outbox, Idempotency(table, "graph", clock), ids, clock)
    lists = RedisLists(
        redis, codec, instance_name(redis, clustered=settings.redis_cluster), hub_degree=settings.hub_degree
    )
    node = node_pb2.DESCRIPTOR.services_by_name["NodeService"]
    directory = NodePeer(channels.stub(settings.node_target, node) if settings.node_target else None)
    parts = assemble(store, lists, RedisFeed(redis, lists), directory, clock, ids, settings)
    channel = Channel(parts.adjacency, parts.existence, parts.watch, parts.l1)

    def lost() -> None:
        lists.distrust()
        parts.guard.kick.set()

    redis.on_lost(lost)
    subscription = redis.subscribe(
        CHANNEL, on_message=channel.on_message, on_ready=channel.on_ready, on_lost=channel.on_lost
    )
    servicer = GraphServicer(
        parts.links,
        parts.batch,
        parts.neighbors,
        parts.walks,
        parts.whole,
        parts.watch,
        parts.visibility,
    )
    services = [(graph_pb2.DESCRIPTOR.services_by_name["GraphService"], servicer)]
    # Where memory is never to hold anything, nobody need look.
    ready = {"GetNeighbors": parts.l1.answer} if parts.l1.used else None
    server = GrpcServer(settings, services, raw=("GetNeighbors",), fast_paths=ready)

    watch_outbox(metrics, outbox)
    watch_l1(metrics, parts.l1)
    metrics.breakers(lambda: [dynamodb, redis.breaker, outbox.breaker, *channels.breakers])

    life.supervise("metrics", metrics.run())
    await parts.guard.attempt()  # so that the first calls find Redis in use
    life.supervise("redis guard", parts.guard.run())
    life.supervise("invalidations", subscription.run())
    life.supervise("outbox sweeper", outbox.run_sweeper())
    life.on_drain(outbox.drain)
    life.on_drain(parts.l1.report)
    life.on_drain(parts.hubs.close)
    life.on_drain(parts.committer.drain)
    if settings.queue_url:
        consumer = Consumer(
            aws.sqs,
            settings.queue_url,
            handlers(parts.visibility),
            service="graph",
            dlq_url=settings.dlq_url,
            clock=clock,
        )
        watch_consumer(metrics, consumer)
        life.supervise("consumer", consumer.run())
        life.on_drain(consumer.drain)
    port = await server.start()
    life.on_drain(lambda: server.stop(settings.drain_seconds))
    return port


def watch_l1(metrics: Metrics, l1: L1) -> None:
    """What memory spared, and what it holds."""
    metrics.counter(
        "brain2.graph.l1.lookups",
        "{lookup}",
        lambda: {"hit": l1.counters.hits, "miss": l1.counters.misses},
        by="brain2.outcome",
    )
    metrics.counter("brain2.graph.l1.evictions", "{list}", lambda: l1.counters.evictions)
    metrics.counter("brain2.graph.l1.invalidations", "{list}", lambda: l1.counters.invalidations)
    metrics.counter("brain2.graph.l1.flushes", "{flush}", lambda: l1.counters.flushes)
    metrics.gauge("brain2.graph.l1.size", "By", lambda: l1.size)
    metrics.gauge("brain2.graph.l1.lists", "{list}", lambda: len(l1))


@dataclass(frozen=True, slots=True)
class Parts:
    """The use cases of one process, wired to each other."""

    l1: L1
    adjacency: Adjacency
    hubs: Hubs
    existence: Existence
    committer: Committer
    guard: Guard
    neighbors: Neighbors
    links: Links
    batch: Batch
    visibility: Visibility
    walks: Walks
    whole: Whole
    watch: Watch


def assemble(
    store: EdgeStore,
    cache: TrustedCache,
    feed: ChangeFeed,
    directory: NodeDirectory,
    clock: Clock,
    ids: IdFactory,
    settings: GraphConfig,
    limits: Limits | None = None,
) -> Parts:
    """The core on whatever implements its ports."""
    codec = WireCodec()
    limits = limits or Limits(hub_degree=settings.hub_degree, reads=settings.dynamodb_reads)
    l1 = L1(settings.l1_bytes, clock, ttl=settings.l1_seconds)
    adjacency = Adjacency(store, cache, l1, codec, clock, limits)
    hubs = Hubs(store, cache, l1, adjacency, clock, limits)
    existence = Existence(directory, clock, ttl=settings.existence_seconds)
    committer = Committer(store, cache, adjacency, ids, clock)
    neighbors = Neighbors(adjacency, hubs, existence, l1, codec)
    links = Links(store, committer, adjacency, neighbors, existence, codec, clock, auto_cap=settings.auto_edge_cap)
    return Parts(
        l1=l1,
        adjacency=adjacency,
        hubs=hubs,
        existence=existence,
        committer=committer,
        guard=Guard(store, cache, adjacency),
        neighbors=neighbors,
        links=links,
        batch=Batch(store, committer, adjacency, neighbors, existence, links, codec, clock),
        visibility=Visibility(store, cache, adjacency, committer, existence, codec),
        walks=Walks(neighbors, existence),
        whole=Whole(store, adjacency, hubs, directory, clock),
        watch=Watch(feed, cache),
    )
