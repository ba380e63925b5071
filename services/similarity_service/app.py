"""The composition root: makes every component of the similarity service and connects them, from top to bottom."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from services.similarity_service import subscriber
from services.similarity_service.adapters.dynamo import DynamoRecords, DynamoUserSettings
from services.similarity_service.adapters.peers import GraphPeer, NodePeer
from services.similarity_service.adapters.pending_relinks import DynamoPendingRelinks
from services.similarity_service.adapters.redis import RedisChangeLog
from services.similarity_service.config import SimilarityConfig
from services.similarity_service.servicer import SimilarityServicer
from services.similarity_service.usecases.announce_node_visibility import AnnounceNodeVisibility
from services.similarity_service.usecases.explain_similarity import ExplainSimilarity
from services.similarity_service.usecases.extract_keywords import ExtractKeywords
from services.similarity_service.usecases.find_similar import FindSimilar
from services.similarity_service.usecases.index_cache import IndexCache
from services.similarity_service.usecases.index_node import IndexNode
from services.similarity_service.usecases.link_node import LinkNode
from services.similarity_service.usecases.link_texts import LinkTexts
from services.similarity_service.usecases.list_keywords import ListKeywords
from services.similarity_service.usecases.list_mentions import ListMentions
from services.similarity_service.usecases.list_nodes_by_keyword import ListNodesByKeyword
from services.similarity_service.usecases.record_changes import RecordChanges
from services.similarity_service.usecases.refresh_records import RefreshRecords
from services.similarity_service.usecases.reindex_user import ReindexUser
from services.similarity_service.usecases.relink import Relinker
from services.similarity_service.usecases.relink_leases import RelinkLeases
from services.similarity_service.usecases.remove_node import RemoveNode
from services.similarity_service.usecases.rename_node import RenameNode
from services.similarity_service.usecases.search_nodes import SearchNodes
from services.similarity_service.usecases.set_node_visibility import SetNodeVisibility
from services.similarity_service.usecases.suggest_links import SuggestLinks
from services.similarity_service.usecases.user_settings import UserSettingsCache
from services.similarity_service.usecases.wait_for_index import WaitForIndex
from shared import logs, telemetry
from shared.aws import Aws
from shared.config import load as load_config
from shared.dynamo import Table
from shared.dynamo.metered import watch_table
from shared.events.consumer import Consumer
from shared.events.handlers import BatchHandler, Handler
from shared.events.metered import watch_consumer
from shared.grpc import deadline
from shared.grpc.client import Channels
from shared.grpc.metered import RpcMetrics
from shared.grpc.server import GrpcServer
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from shared.lifecycle import Lifecycle
from shared.metrics import Metrics
from shared.redis import Redis
from shared.resilience.breaker import Breaker

PUBLISH_PENDING_SECONDS = 0.5
REFRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Components:
    """The components of a started service that its starter needs. port: where it serves."""

    port: int
    cache: IndexCache
    relinker: Relinker
    handlers: Mapping[str, Handler | BatchHandler]


async def serve(life: Lifecycle) -> None:
    """Run the process: read the config, set up logs and traces, and serve until the process is told to stop."""
    config = load_config(SimilarityConfig)
    logs.setup(config.log_level, "similarity")
    await life.enter(telemetry.setup("similarity", config))  # first, so closed last: the drain's spans are sent too
    await start(life, config)
    await life.wait_for_stop()


async def start(life: Lifecycle, config: SimilarityConfig) -> Components:
    """Connect all components and serve."""
    clock = SystemClock()
    metrics = await life.enter(Metrics("similarity", config, link=life.link))

    aws = await life.enter(Aws(config, use=("dynamodb", "sqs")))
    table = Table(aws.dynamodb, config.table, breaker=Breaker("dynamodb", clock), measure=metrics.enabled)
    redis = await life.enter(Redis(config, clock=clock))
    channels = await life.enter(Channels(timeout=5.0, security=config, clock=clock))
    nodes = NodePeer(channels.stub(config.node_target, node_pb2.DESCRIPTOR.services_by_name["NodeService"]))
    graph = GraphPeer(channels.stub(config.graph_target, graph_pb2.DESCRIPTOR.services_by_name["GraphService"]))

    # The records, and the indexes that are built from them.
    records = DynamoRecords(table, clock)
    user_settings = UserSettingsCache(DynamoUserSettings(table), clock)
    cache = IndexCache(records, RedisChangeLog(redis), clock, max_bytes=config.index_megabytes * 1024 * 1024)
    redis.on_lost(cache.mark_all_stale)
    changes = RecordChanges(records, cache)
    index_node = IndexNode(changes, cache, user_settings)
    set_visibility = SetNodeVisibility(records, changes, cache, nodes, clock)
    remove_node = RemoveNode(changes, cache, nodes)

    # Automatic links, and those that the texts have.
    leases = RelinkLeases(DynamoPendingRelinks(table), clock, UlidFactory(clock).new_id(), config.relink_lease_seconds)
    relinker = Relinker(
        cache,
        user_settings,
        graph,
        records,
        leases,
        clock,
        tracer=telemetry,
        quiet_seconds=config.relink_quiet_seconds,
        linger_seconds=config.relink_linger_seconds,
    )
    link_node = LinkNode(cache, user_settings, graph, relinker)
    link_texts = LinkTexts(records, cache, graph)
    refresh_records = RefreshRecords(records, cache, nodes, index_node, link_texts, link_node, clock)

    servicer = SimilarityServicer(
        extract_keywords=ExtractKeywords(cache),
        find_similar=FindSimilar(cache),
        explain_similarity=ExplainSimilarity(cache, user_settings),
        suggest_links=SuggestLinks(cache, graph),
        list_nodes_by_keyword=ListNodesByKeyword(records, cache, user_settings),
        list_keywords=ListKeywords(cache),
        search_nodes=SearchNodes(cache, user_settings, nodes),
        list_mentions=ListMentions(cache, nodes),
        rename_node=RenameNode(cache, nodes, deadline.remaining),
        wait_for_index=WaitForIndex(cache, clock, deadline.remaining),
        reindex_user=ReindexUser(
            records, cache, user_settings, nodes, index_node, set_visibility, link_texts, relinker
        ),
        remove_node=remove_node,
        set_node_visibility=set_visibility,
        announce_node_visibility=AnnounceNodeVisibility(cache, clock),
        user_settings=user_settings,
        idempotency=Idempotency(table, "similarity", clock),
    )
    server = GrpcServer(
        config,
        [(similarity_pb2.DESCRIPTOR.services_by_name["SimilarityService"], servicer)],
        redis=redis,
        metrics=RpcMetrics(metrics) if metrics.enabled else None,
    )
    handlers = subscriber.handlers(
        index_node, set_visibility, remove_node, link_texts, link_node, relinker, nodes, graph
    )
    consumer = Consumer(
        aws.sqs,
        config.queue_url,
        handlers,
        service="similarity",
        dlq_url=config.dlq_url,
        clock=clock,
        concurrency=config.consumers,
    )

    watch_table(metrics, table)
    watch_consumer(metrics, consumer)
    watch_links(metrics, link_node, graph)
    metrics.gauge("brain2.similarity.index.size", "By", lambda: cache.nbytes)
    metrics.gauge("brain2.similarity.index.users", "{user}", lambda: len(cache.users))
    metrics.counter("brain2.similarity.index.loads", "{load}", lambda: cache.loads)
    metrics.gauge("brain2.similarity.relink.pending", "{note}", lambda: relinker.pending)
    metrics.breakers(lambda: [*table.breakers, *redis.breakers, consumer.breaker, *channels.breakers])

    life.supervise("metrics", metrics.run())
    life.supervise("relinking", relinker.run())
    life.supervise("relink leases", relinker.run_leases())
    life.on_drain(relinker.stop)
    life.supervise("change log", repeat(cache.publish_pending, PUBLISH_PENDING_SECONDS))
    life.supervise("records of earlier releases", repeat(refresh_records, REFRESH_SECONDS))
    life.supervise("consumer", consumer.run())
    life.on_drain(consumer.drain)
    port = await server.start()
    life.on_drain(set_visibility.drain)
    life.on_drain(lambda: server.stop(config.drain_seconds))
    return Components(port, cache, relinker, handlers)


def watch_links(metrics: Metrics, link_node: LinkNode, graph: GraphPeer) -> None:
    """Report the similar notes that were found, and the automatic links that were made and removed."""
    metrics.counter(
        "similarity_matches_total",
        "",
        lambda: link_node.matches,
        what="Similar notes that were found for notes that were created or changed.",
    )
    metrics.counter(
        "similarity_links_total",
        "",
        lambda: {"made": graph.made, "removed": graph.removed},
        by="change",
        what="Automatic links that were made and removed.",
    )


async def repeat(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Await work() without end, with a pause of so many seconds after each call."""
    while True:
        await work()
        await asyncio.sleep(seconds)
