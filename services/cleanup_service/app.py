"""The composition root: every part of the cleanup service and how they hang together, from top to bottom."""

import asyncio
import os
import random
import socket

from protos.cleanup.v1 import cleanup_pb2
from services.cleanup_service import convert, subscriber
from services.cleanup_service.adapters.archive import S3Archives
from services.cleanup_service.adapters.cache import UserCache
from services.cleanup_service.adapters.erasures import DynamoErasures
from services.cleanup_service.adapters.ledger import DynamoLedger
from services.cleanup_service.adapters.library import PeerLibrary
from services.cleanup_service.adapters.observer import CountingObserver, LogObserver
from services.cleanup_service.adapters.owners import PeerOwners
from services.cleanup_service.adapters.partition import UserTraces
from services.cleanup_service.adapters.peers import GraphPeer, IndexPeer, NodePeer, connect
from services.cleanup_service.adapters.sagas import DynamoDeletionQueue, DynamoSagas, DynamoShardLeases
from services.cleanup_service.config import CleanupConfig
from services.cleanup_service.model.saga import Saga
from services.cleanup_service.servicer import CleanupServicer
from services.cleanup_service.usecases.erase import Eraser
from services.cleanup_service.usecases.export import Export
from services.cleanup_service.usecases.intake import Intake
from services.cleanup_service.usecases.poll import Poller
from services.cleanup_service.usecases.reconcile import Reconciler
from services.cleanup_service.usecases.run import Policy, Runner
from services.cleanup_service.usecases.workers import Workers
from shared import config, logs, telemetry
from shared.aws import Aws
from shared.dynamo import Table
from shared.events.bus import Bus
from shared.events.consumer import Consumer
from shared.events.envelope import Event, new_event
from shared.events.metered import watch_consumer, watch_outbox
from shared.events.outbox import Outbox
from shared.grpc.client import Channels
from shared.grpc.server import GrpcServer
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from shared.lifecycle import Lifecycle
from shared.metrics import Metrics
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff


async def serve(life: Lifecycle) -> None:
    """The process: settings from the environment, logs, traces, and the service until it is told to stop."""
    settings = config.load(CleanupConfig)
    logs.setup(settings.log_level, "cleanup")
    await life.enter(telemetry.setup("cleanup", settings))  # first, so closed last: the spans of the drain are sent too
    await start(life, settings)
    await life.wait_for_stop()


async def start(life: Lifecycle, settings: CleanupConfig) -> int:
    """Wire everything, serve, and answer the port. Tests start the service by this, too."""
    if settings.archives and not settings.archive_bucket:
        raise config.ConfigError(["BRAIN2_ARCHIVE_BUCKET is required unless BRAIN2_ARCHIVES=0"])
    clock = SystemClock()
    ids = UlidFactory(clock)
    # Names this process in leases; a restart is another owner, or a paused twin could go on with its leases.
    owner = f"{socket.gethostname()}-{os.getpid()}-{ids.new_id()[-6:]}"
    metrics = await life.enter(Metrics("cleanup", settings))

    aws = await life.enter(Aws(settings))
    dynamodb = Breaker("dynamodb", clock)
    table = Table(aws.dynamodb, settings.table, breaker=dynamodb)
    channels = await life.enter(Channels(timeout=10.0, clock=clock))
    outbox = await life.enter(Outbox(table, aws.events, service="cleanup", bus=settings.event_bus, clock=clock))

    # The other services, and what is ours in the stores.
    peers = connect(channels, settings.node_target, settings.graph_target, settings.similarity_target)
    nodes, graph, index = NodePeer(peers), GraphPeer(peers), IndexPeer(peers)
    archives = S3Archives(aws.s3, settings.archive_bucket, ids, clock)

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

    # Deletions: taken in, run by a few workers, found again by the poller.
    policy = Policy(
        max_attempts=settings.max_attempts,
        backoff=Backoff(base=settings.backoff_seconds, cap=300.0),
        lease_ms=round(settings.lease_seconds * 1000),
    )
    observer = CountingObserver(LogObserver())
    runner = Runner(
        store=sagas,
        nodes=nodes,
        graph=graph,
        index=index,
        archives=archives if settings.archives else None,
        observer=observer,
        clock=clock,
        owner=owner,
        policy=policy,
    )
    workers = Workers(runner.run, settings.workers)
    intake = Intake(store=sagas, nodes=nodes, erasing=erasures, clock=clock, offer=workers.offer)
    leases = DynamoShardLeases(table)
    poller = Poller(
        store=sagas,
        queue=DynamoDeletionQueue(table),
        leases=leases,
        intake=intake,
        submit=workers.submit,
        clock=clock,
        rng=random,
        owner=owner,
    )

    # Users: erased, exported, reconciled.
    eraser = Eraser(
        store=erasures,
        traces=UserTraces(
            table, aws.s3, settings.archive_bucket, UserCache(settings.redis_url, cluster=settings.redis_cluster)
        ),
        nodes=nodes,
        graph=graph,
        index=index,
        clock=clock,
        ids=ids,
        owner=owner,
        quiet_ms=round(settings.quiet_seconds * 1000),
        lease_ms=policy.lease_ms,
    )
    exporter = Export(PeerLibrary(peers), intake)
    bus = Bus(aws.events, settings.event_bus, Breaker("eventbridge", clock))
    reconciler = Reconciler(
        ledger=DynamoLedger(table, bus), owners=PeerOwners(peers), intake=intake, erasing=erasures, clock=clock
    )

    servicer = CleanupServicer(intake, eraser, exporter, reconciler, Idempotency(table, "cleanup", clock))
    server = GrpcServer(settings, [(cleanup_pb2.DESCRIPTOR.services_by_name["CleanupService"], servicer)])
    consumer = Consumer(
        aws.sqs,
        settings.queue_url,
        subscriber.handlers(intake),
        service="cleanup",
        dlq_url=settings.dlq_url,
        clock=clock,
    )

    watch_consumer(metrics, consumer)
    watch_outbox(metrics, outbox)
    metrics.counter("brain2.cleanup.deletions", "{deletion}", observer.ended, by="brain2.outcome")
    metrics.counter("brain2.cleanup.stumbles", "{attempt}", lambda: observer.stumbles)
    metrics.breakers(lambda: [dynamodb, outbox.breaker, consumer.breaker, *channels.breakers])

    life.supervise("metrics", metrics.run())
    life.supervise("outbox sweeper", outbox.run_sweeper())
    life.on_drain(outbox.drain)
    background = [
        life.supervise("workers", workers.work()),
        life.supervise("poller", poller.run(settings.poll_seconds)),
        life.supervise("eraser", eraser.run_forever(settings.poll_seconds)),
    ]
    life.on_drain(lambda: leases.release(owner))
    # Given back while the stores are still open, so that another replica goes on at once.
    life.on_drain(lambda: _cancelled(background))
    life.supervise("consumer", consumer.run())
    life.on_drain(consumer.drain)
    port = await server.start()
    life.on_drain(lambda: server.stop(settings.drain_seconds))
    return port


async def _cancelled(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
