"""The composition root: makes and connects every component of the cleanup service, from top to bottom."""

import os
import random
import socket

from protos.cleanup.v1 import cleanup_pb2
from services.cleanup_service import convert, subscriber
from services.cleanup_service.adapters.archive import S3Archives
from services.cleanup_service.adapters.erasure_ledger import S3ErasureLedger
from services.cleanup_service.adapters.erasures import DynamoErasures
from services.cleanup_service.adapters.observer import DeletionObserver
from services.cleanup_service.adapters.peer_repairs import GrpcPeerRepairs
from services.cleanup_service.adapters.peers import GraphPeer, NodePeer, SimilarityPeer, connect
from services.cleanup_service.adapters.queue_depth import QueueDepth
from services.cleanup_service.adapters.reconcile_store import DynamoReconcileStore
from services.cleanup_service.adapters.sagas import DynamoDeletionQueue, DynamoSagas, DynamoShardLeases
from services.cleanup_service.adapters.user_cache import UserCache
from services.cleanup_service.adapters.user_data_reader import GrpcUserDataReader
from services.cleanup_service.adapters.user_partition import StoredUserPartition
from services.cleanup_service.config import CleanupConfig
from services.cleanup_service.model.saga import Saga
from services.cleanup_service.servicer import CleanupServicer
from services.cleanup_service.usecases.deletions import Deletions
from services.cleanup_service.usecases.erase_user import UserEraser
from services.cleanup_service.usecases.poll_deletions import DeletionPoller
from services.cleanup_service.usecases.reconcile_user import UserReconciler
from services.cleanup_service.usecases.run_deletion import DeletionRunner, RetryPolicy
from services.cleanup_service.usecases.workers import Workers
from shared import logs, telemetry
from shared.aws import Aws
from shared.config import ConfigError, load
from shared.dynamo import Table
from shared.dynamo.metered import watch_table
from shared.events.bus import Bus
from shared.events.consumer import Consumer
from shared.events.envelope import Event, new_event
from shared.events.metered import watch_consumer, watch_outbox
from shared.events.outbox import Outbox
from shared.grpc.client import Channels
from shared.grpc.metered import RpcMetrics
from shared.grpc.server import GrpcServer
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from shared.lifecycle import Lifecycle
from shared.metrics import Metrics
from shared.resilience.background import cancel_all
from shared.resilience.breaker import Breaker
from shared.resilience.pace import IdlePace
from shared.resilience.retry import Backoff

# How often the deletions are counted: one count is 48 queries in all processes together, 24 read units if all is empty.
QUEUE_DEPTH_SECONDS = 180.0


async def serve(life: Lifecycle) -> None:
    """The process: reads the config, sets up logs and traces, and serves until it is stopped."""
    config = load(CleanupConfig)
    logs.setup(config.log_level, "cleanup")
    await life.enter(telemetry.setup("cleanup", config))  # first, so closed last: the spans of the drain are sent too
    await start(life, config)
    await life.wait_for_stop()


async def start(life: Lifecycle, config: CleanupConfig) -> int:
    """Makes and starts all components; returns the port. Tests start the service by this, too."""
    if config.archives and not config.archive_bucket:
        raise ConfigError(["BRAIN2_ARCHIVE_BUCKET is required unless BRAIN2_ARCHIVES=0"])
    clock = SystemClock()
    ids = UlidFactory(clock)
    # The name of this process in leases. A restarted process has another one, so that it never takes a lease for its
    # own.
    owner = f"{socket.gethostname()}-{os.getpid()}-{ids.new_id()[-6:]}"
    metrics = await life.enter(Metrics("cleanup", config, link=life.link))

    aws = await life.enter(Aws(config))
    table = Table(aws.dynamodb, config.table, breaker=Breaker("dynamodb", clock), measure=metrics.enabled)
    channels = await life.enter(Channels(timeout=10.0, security=config, clock=clock))
    outbox = await life.enter(
        Outbox(table, aws.events, service="cleanup", bus=config.event_bus, clock=clock, shards=config.outbox_shards)
    )

    # Clients of the other services, and the stores of this one.
    peers = connect(channels, config.node_target, config.graph_target, config.similarity_target)
    nodes, graph, similarity = NodePeer(peers), GraphPeer(peers), SimilarityPeer(peers)
    archives = S3Archives(aws.s3, config.archive_bucket, ids, clock)

    def completed(saga: Saga) -> Event:
        return new_event(
            ids,
            clock,
            source="brain2.cleanup",
            type="cleanup.completed",
            user_id=saga.user_id,
            node_id=saga.node_id,
            version=saga.version,
            data=convert.completed(saga),
            carrier=telemetry.inject(),
        )

    sagas = DynamoSagas(table, outbox, ids, completed)
    erasures = DynamoErasures(table, ids)

    # Deletions: recorded by events and RPCs, found by the poller, run by workers.
    policy = RetryPolicy(
        max_attempts=config.max_attempts,
        backoff=Backoff(base=config.backoff_seconds, cap=300.0),
        lease_ms=round(config.lease_seconds * 1000),
    )
    observer = DeletionObserver()
    runner = DeletionRunner(
        store=sagas,
        nodes=nodes,
        graph=graph,
        similarity=similarity,
        archives=archives if config.archives else None,
        observer=observer,
        clock=clock,
        owner=owner,
        policy=policy,
        tracer=telemetry,
    )
    workers = Workers(runner.run_deletion, config.deletion_workers)
    pace = IdlePace(after=6, rests=14)
    deletions = Deletions(
        store=sagas,
        nodes=nodes,
        erasures=erasures,
        clock=clock,
        offer=workers.offer,
        tracer=telemetry,
        changed=pace.busy,
    )
    leases = DynamoShardLeases(table)
    poller = DeletionPoller(
        queue=DynamoDeletionQueue(table),
        leases=leases,
        deletions=deletions,
        submit=workers.submit,
        rng=random,
        owner=owner,
        pace=pace,
    )

    # Users: erase, export, reconcile.
    eraser = UserEraser(
        store=erasures,
        ledger=S3ErasureLedger(aws.s3, config.archive_bucket) if config.archive_bucket else None,
        partition=StoredUserPartition(
            table,
            aws.s3,
            config.archive_bucket,
            UserCache(config.redis_url, cluster=config.redis_cluster),
            config.outbox_shards,
        ),
        nodes=nodes,
        graph=graph,
        similarity=similarity,
        clock=clock,
        ids=ids,
        owner=owner,
        quiet_ms=round(config.quiet_seconds * 1000),
        lease_ms=policy.lease_ms,
        tracer=telemetry,
    )
    bus = Bus(aws.events, config.event_bus, Breaker("eventbridge", clock))
    reconciler = UserReconciler(
        store=DynamoReconcileStore(table, bus, config.outbox_shards),
        peers=GrpcPeerRepairs(peers),
        deletions=deletions,
        tracer=telemetry,
    )

    servicer = CleanupServicer(
        deletions, eraser, GrpcUserDataReader(peers), reconciler, Idempotency(table, "cleanup", clock)
    )
    server = GrpcServer(
        config,
        [(cleanup_pb2.DESCRIPTOR.services_by_name["CleanupService"], servicer)],
        metrics=RpcMetrics(metrics) if metrics.enabled else None,
    )
    consumer = Consumer(
        aws.sqs,
        config.queue_url,
        subscriber.handlers(deletions),
        service="cleanup",
        dlq_url=config.dlq_url,
        clock=clock,
    )

    watch_table(metrics, table)
    watch_consumer(metrics, consumer)
    watch_outbox(metrics, outbox)
    metrics.counter("brain2.cleanup.deletions", "{deletion}", observer.outcomes, by="brain2.outcome")
    metrics.counter("brain2.cleanup.failed_attempts", "{attempt}", lambda: observer.failed_attempts)
    metrics.counter("brain2.reconcile.unrepaired", "{finding}", lambda: reconciler.unrepaired.total())
    depth = QueueDepth(table, leases, clock)
    metrics.gauge(
        "cleanup_queue_depth",
        "",
        depth.read,
        by="state",
        what="Deletions that are due, running or failed, in the shards that this process polls; add up all processes.",
        fresh_for=QUEUE_DEPTH_SECONDS,
    )
    metrics.breakers(lambda: [*table.breakers, outbox.breaker, bus.breaker, consumer.breaker, *channels.breakers])

    life.supervise("metrics", metrics.run())
    life.supervise("outbox sweeper", outbox.run_sweeper())
    life.on_drain(outbox.drain)
    background = [
        life.supervise("workers", workers.work()),
        life.supervise("poller", poller.run_forever(config.poll_seconds)),
        life.supervise("eraser", eraser.run_forever(config.poll_seconds)),
    ]
    life.on_drain(lambda: leases.release(owner))
    # While the stores are still open: released sagas are continued by another replica at once.
    life.on_drain(lambda: cancel_all(background))
    life.supervise("consumer", consumer.run())
    life.on_drain(consumer.drain)
    port = await server.start()
    life.on_drain(lambda: server.stop(config.drain_seconds))
    return port
