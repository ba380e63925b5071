"""The composition root: it creates and connects the components of the graph service."""

from dataclasses import dataclass

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from services.graph_service.adapters.channel import Channel
from services.graph_service.adapters.dynamo import DynamoEdgeStore, StoredEdges
from services.graph_service.adapters.feed import RedisFeed
from services.graph_service.adapters.instance import instance_name
from services.graph_service.adapters.list_cache import CHANNEL, RedisLists
from services.graph_service.adapters.peers import NodePeer
from services.graph_service.config import GraphConfig
from services.graph_service.convert import WireCodec
from services.graph_service.ports import ChangeFeed, EdgeStore, NodeDirectory
from services.graph_service.servicer import GraphServicer
from services.graph_service.subscriber import handlers
from services.graph_service.usecases.announce_node_visibility import AnnounceNodeVisibility
from services.graph_service.usecases.batch_create_edges import BatchCreateEdges
from services.graph_service.usecases.batch_get_neighbors import BatchGetNeighbors
from services.graph_service.usecases.cache_recovery import CacheRecovery, RecoverableCache
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.detach_node import DetachNode
from services.graph_service.usecases.edges import Edges
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.fast_path import NeighborsFastPath
from services.graph_service.usecases.find_shortest_path import FindShortestPath
from services.graph_service.usecases.freshness import Freshness
from services.graph_service.usecases.get_graph_stats import GetGraphStats
from services.graph_service.usecases.get_neighbors import GetNeighbors
from services.graph_service.usecases.get_subgraph import GetSubgraph
from services.graph_service.usecases.hubs import Hubs
from services.graph_service.usecases.limits import Limits
from services.graph_service.usecases.list_edges import ListEdges
from services.graph_service.usecases.list_filler import ListFiller
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.list_suppressed_edges import ListSuppressedEdges
from services.graph_service.usecases.memory_cache import MemoryCache
from services.graph_service.usecases.neighbor_pages import NeighborPages
from services.graph_service.usecases.node_events import NodeEvents
from services.graph_service.usecases.set_node_visibility import SetNodeVisibility
from services.graph_service.usecases.warm_cache import WarmCache
from services.graph_service.usecases.watch_edges import WatchEdges
from shared import config as configuration
from shared import logs, telemetry
from shared.aws import Aws
from shared.dynamo import Table
from shared.dynamo.metered import watch_table
from shared.events.consumer import Consumer
from shared.events.metered import watch_consumer, watch_outbox
from shared.events.outbox import Outbox
from shared.grpc.client import Channels
from shared.grpc.metered import Latencies, RpcMetrics
from shared.grpc.server import GrpcServer
from shared.idempotency import Idempotency
from shared.ids import Clock, IdFactory, SystemClock, UlidFactory
from shared.lifecycle import Lifecycle
from shared.metrics import Metrics
from shared.quotas import Quotas
from shared.redis import Redis
from shared.resilience.breaker import Breaker

# The buckets are milliseconds; the first ones are for answers from memory.
LATENCIES: Latencies = {"edge_lookup_latency_ms": ((0.1, 0.25, 0.5, 1, 5, 10, 25, 50, 100), ("GetNeighbors",))}


async def serve(life: Lifecycle) -> None:
    """The process: it runs the service until it is stopped."""
    config = configuration.load(GraphConfig)
    logs.setup(config.log_level, "graph")
    await life.enter(telemetry.setup("graph", config))  # closed last, after the spans of the drain
    await start(life, config)
    await life.wait_for_stop()


async def start(life: Lifecycle, config: GraphConfig) -> int:
    """Wire everything, start the server and return its port. Tests start the service by this function as well."""
    clock = SystemClock()
    ids = UlidFactory(clock)
    codec = WireCodec()
    metrics = await life.enter(Metrics("graph", config, link=life.link))

    use = ("dynamodb", "events", "sqs") if config.queue_url else ("dynamodb", "events")
    aws = await life.enter(Aws(config, use=use))
    table = Table(aws.dynamodb, config.table, breaker=Breaker("dynamodb", clock), measure=metrics.enabled)
    redis = await life.enter(Redis(config, breaker=Breaker("redis", clock)))
    channels = await life.enter(Channels(timeout=2.0, security=config, clock=clock))
    outbox = await life.enter(
        Outbox(table, aws.events, service="graph", bus=config.event_bus, clock=clock, shards=config.outbox_shards)
    )

    quotas = Quotas(table, "graph", clock, {"edges": config.quota_edges}, StoredEdges(table))
    store = DynamoEdgeStore(table, outbox, Idempotency(table, "graph", clock), ids, clock, quotas)
    cache = RedisLists(redis, codec, instance_name(redis), hub_degree=config.hub_degree)
    node_service = node_pb2.DESCRIPTOR.services_by_name["NodeService"]
    directory = NodePeer(channels.stub(config.node_target, node_service) if config.node_target else None)
    components = assemble(store, cache, RedisFeed(redis, cache), directory, clock, ids, config)
    servicer = components.servicer
    channel = Channel(components.lookup, components.existence, servicer.watch_edges, components.memory)

    def on_lost() -> None:
        cache.disable()
        components.recovery.wake.set()

    redis.on_lost(on_lost)
    subscription = redis.subscribe(
        CHANNEL, on_message=channel.on_message, on_ready=channel.on_ready, on_lost=channel.on_lost
    )
    services = [(graph_pb2.DESCRIPTOR.services_by_name["GraphService"], servicer)]
    # GetNeighbors takes and returns bytes; the server answers from the ready responses before it calls the servicer.
    ready_response = servicer.fast_path.ready_response
    ready = None if ready_response is None else {"GetNeighbors": ready_response}
    server = GrpcServer(
        config,
        services,
        raw=("GetNeighbors",),
        fast_paths=ready,
        redis=redis,
        metrics=RpcMetrics(metrics, LATENCIES) if metrics.enabled else None,
    )

    watch_table(metrics, table)
    metrics.caches(
        {
            "memory": lambda: (components.memory.counters.hits, components.memory.counters.misses),
            "redis_list": lambda: (cache.hits, cache.misses),
        }
    )
    watch_outbox(metrics, outbox)
    watch_memory_cache(metrics, components.memory)
    handled: list[Breaker] = []
    metrics.breakers(lambda: [*table.breakers, *redis.breakers, outbox.breaker, *handled, *channels.breakers])

    life.supervise("metrics", metrics.run())
    await components.recovery.try_step()  # the first calls find Redis enabled
    life.supervise("cache recovery", components.recovery.run())
    life.supervise("invalidations", subscription.run())
    life.supervise("outbox sweeper", outbox.run_sweeper())
    life.on_drain(outbox.drain)
    life.on_drain(components.memory.log_counters)
    life.on_drain(components.hubs.close)
    life.on_drain(components.committer.drain)
    if config.queue_url:
        consumer = Consumer(
            aws.sqs,
            config.queue_url,
            handlers(components.node_events, clock),
            service="graph",
            dlq_url=config.dlq_url,
            clock=clock,
        )
        watch_consumer(metrics, consumer)
        handled.append(consumer.breaker)
        life.supervise("consumer", consumer.run())
        life.on_drain(consumer.drain)
    port = await server.start()
    life.on_drain(lambda: server.stop(config.drain_seconds))
    return port


def watch_memory_cache(metrics: Metrics, memory: MemoryCache) -> None:
    """Report the lookups and the size of the memory cache."""
    metrics.counter(
        "brain2.graph.l1.lookups",
        "{lookup}",
        lambda: {"hit": memory.counters.hits, "miss": memory.counters.misses},
        by="brain2.outcome",
    )
    metrics.counter("brain2.graph.l1.evictions", "{list}", lambda: memory.counters.evictions)
    metrics.counter("brain2.graph.l1.invalidations", "{list}", lambda: memory.counters.invalidations)
    metrics.counter("brain2.graph.l1.flushes", "{flush}", lambda: memory.counters.flushes)
    metrics.gauge("brain2.graph.l1.size", "By", lambda: memory.size)
    metrics.gauge("brain2.graph.l1.lists", "{list}", lambda: len(memory))


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The core of one process."""

    servicer: GraphServicer
    get_neighbors: GetNeighbors
    node_events: NodeEvents
    lookup: ListLookup
    memory: MemoryCache
    hubs: Hubs
    existence: Existence
    committer: Committer
    recovery: CacheRecovery


def assemble(
    store: EdgeStore,
    cache: RecoverableCache,
    feed: ChangeFeed,
    directory: NodeDirectory,
    clock: Clock,
    ids: IdFactory,
    config: GraphConfig,
    limits: Limits | None = None,
) -> Components:
    """The core on any implementation of its ports."""
    codec = WireCodec()
    limits = limits or Limits(hub_degree=config.hub_degree, reads=config.dynamodb_reads)
    memory = MemoryCache(config.memory_cache_bytes, clock, ttl=config.memory_cache_seconds)
    freshness = Freshness(cache, clock, limits)
    filler = ListFiller(store, cache, memory, codec, freshness, clock, limits)
    lookup = ListLookup(memory, cache, filler, freshness)
    hubs = Hubs(store, cache, memory, freshness, clock, limits)
    pages = NeighborPages(lookup, hubs, codec)
    existence = Existence(directory, clock, ttl=config.existence_seconds)
    committer = Committer(store, cache, lookup, codec, ids, clock)

    edges = Edges(store, committer, lookup, pages, existence, clock, config.auto_edge_cap)
    get_neighbors = GetNeighbors(lookup, pages, existence, memory, codec)
    detach_node = DetachNode(store, committer, directory)
    visibility = SetNodeVisibility(store, cache, lookup, committer, existence, codec, directory, clock)
    servicer = GraphServicer(
        edges=edges,
        batch_create_edges=BatchCreateEdges(store, committer, edges, clock),
        fast_path=NeighborsFastPath(memory, cache, codec, get_neighbors.get_neighbors),
        batch_get_neighbors=BatchGetNeighbors(lookup, pages, memory, codec),
        get_subgraph=GetSubgraph(pages, existence),
        find_shortest_path=FindShortestPath(pages),
        list_edges=ListEdges(store, lookup),
        list_suppressed_edges=ListSuppressedEdges(store, lookup),
        get_graph_stats=GetGraphStats(store, lookup, directory, clock),
        warm_cache=WarmCache(store, lookup, hubs),
        watch_edges=WatchEdges(feed, cache),
        detach_node=detach_node,
        set_node_visibility=visibility,
        announce_node_visibility=AnnounceNodeVisibility(committer, clock),
    )
    return Components(
        servicer=servicer,
        get_neighbors=get_neighbors,
        node_events=NodeEvents(store, lookup, existence, visibility, detach_node),
        lookup=lookup,
        memory=memory,
        hubs=hubs,
        existence=existence,
        committer=committer,
        recovery=CacheRecovery(store, cache, lookup),
    )
