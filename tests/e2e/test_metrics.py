"""The table in docs/operations.md (Metrics) is what the running services answer to Prometheus, no more and no less."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.local.stack import SERVICES, Stack
from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from shared.errors import NotFound
from tests.support.client import Client
from tests.support.scrape import Scraped, documented, parse, scrape
from tests.support.waiting import until

# What rules and dashboards are checked against: the scrapes of all four services, one after the other.
SCRAPE = Path(__file__).parents[1] / "contract" / "deploy" / "scrape.txt"


# Samples of one name that are kept, of all services together.
MOST_SAMPLES = 40


def kept_scrape_is_fresh(texts: Mapping[str, str]) -> None:
    """The kept scrape has the samples of this one, whatever their values; BRAIN2_KEEP_SCRAPE=1 writes it anew.

    texts: the answer of each service. In the file each begins with a line "# service: NAME".
    """
    if os.environ.get("BRAIN2_KEEP_SCRAPE"):
        lines, seen = [], Counter[str]()
        for service, text in texts.items():
            lines.append(f"# service: {service}")
            for line in text.splitlines():
                name = re.split("[{ ]", line)[0]
                seen[name] += 1
                if name != "target_info" and (name == "#" or seen[name] <= MOST_SAMPLES):
                    lines.append(line)
        SCRAPE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert sample_names(SCRAPE.read_text(encoding="utf-8")) == sample_names("".join(texts.values())) - {
        "target_info"
    }, "BRAIN2_KEEP_SCRAPE=1 make test PYTEST_ARGS=tests/e2e/test_metrics.py"


def sample_names(text: str) -> set[str]:
    return {re.split("[{ ]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}


async def use(client: Client) -> None:
    """Calls that leave a trace in every metric of calls, caches and links."""
    texts = {"m-tea": "Green tea from Uji, steeped in a clay teapot", "m-pot": "A clay teapot keeps green tea warm"}
    for node_id, text in texts.items():
        draft = node_pb2.NewNode(node_id=node_id, title=text[:9], content=text)
        await client.node.CreateNode(node_pb2.CreateNodeRequest(user_id=client.user, node=draft))
    await until(lambda: client.neighbor_ids("m-tea"), what="the automatic link")
    again = [node_pb2.NewNode(node_id=node_id, title="again") for node_id in texts]
    await client.node.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=client.user, nodes=again))
    with pytest.raises(NotFound):
        await client.node.GetNode(node_pb2.GetNodeRequest(user_id=client.user, node_id="nobody"))
    for _ in range(3):
        await client.node.GetNode(node_pb2.GetNodeRequest(user_id=client.user, node_id="m-tea"))
        await client.graph.GetNeighbors(graph_pb2.GetNeighborsRequest(user_id=client.user, node_id="m-tea"))
    await client.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=client.user, node_id="m-pot"))
    queued = cleanup_pb2.QueueDeletionRequest(user_id=client.user, node_id="m-pot")
    await client.cleanup.QueueDeletion(queued)


async def test_the_table_for_operators_is_what_a_scrape_shows(stack: Stack, client: Client) -> None:
    await use(client)
    texts: dict[str, str] = {}
    found: dict[str, dict[str, Scraped]] = {}

    async def all_scraped() -> bool:
        for service in SERVICES:
            texts[service] = await scrape(stack.metrics[service])
            found[service] = parse(texts[service])
        return found["cleanup"]["brain2_cleanup_deletions"].value(brain2_outcome="done") >= 1

    await until(all_scraped, what="the deletion's end")
    table = documented()
    for service, families in found.items():
        assert families.pop("target_info").value(service_name=service) == 1
        rows = {name: row for name, row in table.items() if service in row.services}
        assert {name: family.kind for name, family in families.items()} == {n: row.kind for n, row in rows.items()}
        for name, family in families.items():
            assert family.labels <= rows[name].labels, name
            assert not family.samples or family.labels == rows[name].labels, name

    kept_scrape_is_fresh(texts)

    node, graph, similarity, cleanup = (found[service] for service in SERVICES)
    assert node["node_creation_latency_ms"].value("_count") >= 2
    assert node["node_creation_latency_ms"].value("_bucket", le="1000.0") >= 1
    assert node["node_deletion_latency_ms"].value("_count") >= 1
    assert node["rpc_server_duration_ms"].value("_count", rpc_method="GetNode", code="NOT_FOUND") >= 1
    assert node["rpc_batch_items_total"].value(rpc_method="BatchCreateNodes", code="ALREADY_EXISTS") >= 2
    assert node["cache_hits_total"].value(cache="redis_node") >= 2
    assert 0 < node["cache_hit_rate"].value(cache="redis_node") <= 1
    assert node["dynamodb_consumed_units_total"].value(operation="TransactWriteItems", index="table") > 0
    assert graph["edge_lookup_latency_ms"].value("_count") >= 3
    assert graph["cache_hits_total"].value(cache="memory") >= 1
    assert graph["cache_misses_total"].value(cache="redis_list") >= 1
    assert similarity["similarity_matches_total"].value() >= 1
    assert similarity["similarity_links_total"].value(change="made") >= 1
    assert {dict(pairs)["state"] for _, pairs in cleanup["cleanup_queue_depth"].samples} == {"due", "running", "failed"}
    assert all(families["event_loop_lag_ms"].value("_count") > 0 for families in found.values())


async def test_recorded_calls_are_exemplars(stack: Stack, client: Client) -> None:
    """The launcher's stack records every trace. The bucket names one, and only where OpenMetrics was asked for."""
    draft = node_pb2.NewNode(title="Exemplary")
    await client.node.CreateNode(node_pb2.CreateNodeRequest(user_id=client.user, node=draft))
    text = await scrape(stack.metrics["node"], accept="application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    found = parse(text)["node_creation_latency_ms"].exemplars
    assert found
    assert re.fullmatch(r' # \{trace_id="[0-9a-f]{32}",span_id="[0-9a-f]{16}"\} [0-9.]+ [0-9.]+', found[0])
    assert " # {" not in await scrape(stack.metrics["node"])
