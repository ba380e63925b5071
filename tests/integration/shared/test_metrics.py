"""The numbers that real services send to a collector: they are there, and they follow what happens."""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import processes, traces
from protos.graph.v1 import graph_pb2
from shared.aws import Aws
from shared.config import ServerConfig
from shared.ids import SystemClock
from shared.metrics import Metrics
from shared.resilience.breaker import Breaker
from tests.integration.shared.conftest import Channel
from tests.support import cleanup_service, graph_service, node_service, similarity_service
from tests.support.cleanup_peers import fake_peers as cleanup_peers
from tests.support.graph_nodes import fake_nodes
from tests.support.metrics import Sink, collector
from tests.support.scrape import documented as table_of_metrics
from tests.support.scrape import parse, scrape
from tests.support.similarity_peers import fake_peers as similarity_peers
from tests.support.similarity_service import event_of
from tests.support.stores import Stores
from tests.support.waiting import until


@pytest.fixture
async def sink() -> AsyncIterator[tuple[str, Sink]]:
    async with collector() as found:
        yield found


def env(endpoint: str, channel: Channel | None = None) -> dict[str, str]:
    queues = {"BRAIN2_QUEUE_URL": channel.queue_url, "BRAIN2_DLQ_URL": channel.dlq_url} if channel else {}
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "BRAIN2_METRICS_SECONDS": "0.1", **queues}


def documented(sink: Sink) -> None:
    """Each metric that came is in the table for operators, with its unit; and no attribute has unbounded values."""
    table = {row.name: row for row in table_of_metrics().values()}
    assert sink.units.items() <= {name: row.unit for name, row in table.items()}.items()
    assert {each.replace(".", "_") for each in sink.attributes} <= {
        each for row in table.values() for each in row.labels
    }


async def test_similarity_tells_its_lag_depth_and_index(
    stores: Stores, aws: Aws, channel: Channel, sink: tuple[str, Sink], user: str
) -> None:
    endpoint, found = sink
    sqs: Any = aws.sqs
    lags: list[float] = []

    def numbers() -> dict[Any, float]:
        got = found.got.get("similarity", {})
        lags.append(got.get("brain2.consumer.lag", 0.0))
        return got

    async with similarity_peers() as peers, similarity_service.running(stores, peers, **env(endpoint, channel)):
        await until(lambda: numbers().get("brain2.dlq.depth") == 0, what="a first export")
        assert numbers()["brain2.consumer.messages", "handled"] == 0
        assert numbers()["brain2.breaker.state", "dynamodb"] == 0
        event = event_of(peers.note(user, "tea", "Green tea", "Sencha is a green tea from Japan."))
        late = json.loads(event.to_json()) | {"time": "2026-01-01T00:00:00.000Z"}
        await sqs.send_message(QueueUrl=channel.queue_url, MessageBody=json.dumps(late))
        await sqs.send_message(QueueUrl=channel.queue_url, MessageBody="no event")
        await until(lambda: numbers().get(("brain2.consumer.messages", "handled")) == 1, what="the handled event")
        await until(lambda: numbers().get("brain2.dlq.depth") == 1, what="the dead letter")
        await until(lambda: numbers().get("brain2.similarity.index.users") == 1, what="the index")
        got = numbers()
        assert got["brain2.consumer.messages", "dead"] == 1
        assert got["brain2.similarity.index.size"] > 0
        assert got["brain2.similarity.index.loads"] == 1
        assert {("brain2.queue.depth", state) for state in ("visible", "in_flight", "delayed")} <= got.keys()
        assert max(lags) > 86_400  # the event said that it is that old
        await until(lambda: numbers()["brain2.consumer.lag"] == 0, what="lag 0 when all is quiet")
    documented(found)


async def test_graph_tells_what_memory_spared(stores: Stores, sink: tuple[str, Sink], user: str) -> None:
    endpoint, found = sink
    async with fake_nodes() as nodes, graph_service.running(stores, nodes, **env(endpoint)) as graph:
        await graph.create(user, "a", "b")
        before = found.got.get("graph", {}).get(("brain2.graph.l1.lookups", "hit"), 0)
        request = graph_pb2.GetNeighborsRequest(user_id=user, node_id="a")
        for _ in range(5):
            await graph.stub.GetNeighbors(request)
        got = found.got.setdefault("graph", {})
        await until(lambda: got.get(("brain2.graph.l1.lookups", "hit"), 0) >= before + 3, what="hits")
        assert got["brain2.graph.l1.lookups", "miss"] >= 1
        assert got["brain2.graph.l1.size"] > 0
        assert "brain2.graph.l1.evictions" in got
        await until(lambda: got.get(("brain2.outbox.events", "published"), 0) >= 1, what="edge.created")
    documented(found)


async def test_node_tells_what_became_of_its_events(stores: Stores, sink: tuple[str, Sink], user: str) -> None:
    endpoint, found = sink
    async with node_service.running(stores, **env(endpoint) | {"BRAIN2_METRICS_SECONDS": "3600"}) as node:
        await node.create(user)
    # Sent at the end, though the interval was long.
    assert found.got["node"]["brain2.outbox.events", "published"] == 1
    assert found.got["node"]["brain2.outbox.queued"] == 0
    documented(found)


async def test_cleanup_tells_how_deletions_end(
    stores: Stores, channel: Channel, sink: tuple[str, Sink], user: str
) -> None:
    endpoint, found = sink
    async with cleanup_peers() as peers, cleanup_service.running(stores, peers, **env(endpoint, channel)) as cleanup:
        peers.add(user, "n")
        now_ms = SystemClock().now_ms()
        peers.delete(user, "n", now_ms=now_ms, purge_ms=now_ms)
        await cleanup.queue(user, "n")
        got = found.got.setdefault("cleanup", {})
        await until(lambda: got.get(("brain2.cleanup.deletions", "done")) == 1, what="the deletion's end")
        assert got["brain2.cleanup.deletions", "failed"] == 0
    documented(found)


async def test_without_an_endpoint_nothing_is_read_and_no_thread_runs() -> None:
    threads = threading.active_count()
    async with Metrics("node", ServerConfig()) as metrics:
        metrics.gauge("brain2.test", "1", lambda: 1 / 0)
        metrics.breakers(list)
        await metrics.run()  # it returns: there is nothing to do
        await metrics.send()
    assert threading.active_count() == threads


async def test_one_number_that_cant_be_read_is_left_out(
    sink: tuple[str, Sink], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint, found = sink
    numbers = [1.5]
    breaker = Breaker("a peer", SystemClock(), failures=1)
    async with Metrics("node", ServerConfig(otlp_endpoint=endpoint)) as metrics:
        metrics.gauge("brain2.test.bad", "1", lambda: numbers[1])
        metrics.gauge("brain2.test.good", "1", lambda: numbers[0])
        metrics.breakers(lambda: [breaker])
        with caplog.at_level(logging.WARNING):
            await metrics.send()
        assert "a metric can't be read now" in caplog.text
        assert found.got["node"] == {"brain2.test.good": 1.5, ("brain2.breaker.state", "a peer"): 0}
        assert "brain2.test.bad" not in found.units
        breaker.enter().end(False)
        await metrics.send()
        assert found.got["node"]["brain2.breaker.state", "a peer"] == 2


async def test_a_collector_that_is_away_holds_up_nothing() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
    began = time.monotonic()
    async with Metrics("node", ServerConfig(otlp_endpoint=endpoint, metrics_seconds=0.1)) as metrics:
        metrics.gauge("brain2.test", "1", lambda: 1)
        sending = asyncio.create_task(metrics.run())
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert time.monotonic() - began < 5


async def test_the_launchers_receiver_keeps_the_newest_numbers(tmp_path: Path) -> None:
    port = processes.free_ports(1)[0]
    server = await traces.serve(tmp_path / "traces.jsonl", port)
    try:
        numbers = {"hit": 1}
        async with Metrics("graph", ServerConfig(otlp_endpoint=f"http://127.0.0.1:{port}")) as metrics:
            metrics.counter("brain2.test", "1", lambda: numbers, by="brain2.outcome")
            await metrics.send()
            numbers["hit"] = 7
    finally:
        await server.stop(0)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"graph": {"brain2.test{hit}": 7}}


async def test_histograms_reach_the_collector_with_their_exemplars(sink: tuple[str, Sink]) -> None:
    endpoint, found = sink
    async with Metrics("node", ServerConfig(otlp_endpoint=endpoint)) as metrics:
        histogram = metrics.histogram("test_latency_ms", "{ms}", (1, 10), by="code")
        for value in (0.5, 1, 7, 70):
            histogram.series("OK").record(value, ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"))
        await metrics.send()
    (point,) = found.histograms["test_latency_ms"]
    assert list(point.bucket_counts) == [2, 1, 1]
    assert (point.count, point.sum, list(point.explicit_bounds)) == (4, 78.5, [1, 10])
    assert not point.HasField("min")
    assert [each.value.string_value for each in point.attributes] == ["OK"]
    assert [each.as_double for each in point.exemplars] == [1, 7, 70]  # the latest of each bucket
    assert {each.trace_id.hex() for each in point.exemplars} == {"0af7651916cd43dd8448eb211c80319c"}


async def test_the_endpoint_answers_scrapes_without_a_collector() -> None:
    reads = 0

    async def depth() -> float:
        nonlocal reads
        reads += 1
        return 3

    async with Metrics("node", ServerConfig(metrics_listen="127.0.0.1:0")) as metrics:
        metrics.counter("brain2.test", "s", lambda: {("a", "b"): 1.5}, by=("one", "two"), what="A test.")
        metrics.gauge("test_depth", "", depth)
        address = f"127.0.0.1:{metrics.port}"
        families = [parse(await scrape(address)) for _ in range(2)]
    assert families[0]["brain2_test"].value(one="a", two="b") == 1.5
    assert families[0]["target_info"].value(service_name="node") == 1
    # What comes from a store is not read for each scrape.
    assert [each["test_depth"].value() for each in families] == [3, 3]
    assert reads == 1


async def test_an_address_that_is_taken_ends_the_start() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        with pytest.raises(OSError, match="in use"):
            async with Metrics("node", ServerConfig(metrics_listen=f"127.0.0.1:{probe.getsockname()[1]}")):
                pass
