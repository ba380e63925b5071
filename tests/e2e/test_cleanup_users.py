"""A whole user on four real services: exported and imported, reconciled after damage, erased without a trace."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from deploy.local import targets
from deploy.local.importer.jsonlines import JsonLines
from deploy.local.importer.send import Importer
from deploy.local.stack import Stack
from protos.cleanup.v1 import cleanup_pb2
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from shared.errors import NotFound
from shared.events.envelope import new_event
from shared.grpc.client import Channels
from shared.ids import SystemClock, UlidFactory
from tests.support.client import Client
from tests.support.clock import ManualClock
from tests.support.stack import whole_stack
from tests.support.stores import Stores, fresh_user
from tests.support.traces import traces_of
from tests.support.waiting import until, until_stable

TEXTS = {
    "tea": ("Tea", "Tea is brewed from the leaves of camellia sinensis with hot water in a porcelain teapot."),
    "teapot": ("Teapot", "A porcelain teapot keeps the hot water and the leaves of the tea together."),
    "coffee": ("Coffee", "Coffee is brewed from roasted beans with hot water in an espresso machine."),
    "espresso": ("Espresso", "An espresso machine presses hot water through roasted and ground beans of coffee."),
    "chess": ("Chess", "Chess is a board game of kings, queens, bishops and pawns for two players."),
    "pawn": ("Pawn", "The pawn is the weakest piece of the board game chess, yet it may become a queen."),
}


@pytest.fixture(scope="module")
async def quick(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack of its own, which doesn't wait where production does."""
    settings = {"BRAIN2_CLEANUP_POLL_SECONDS": "0.2", "BRAIN2_ERASURE_QUIET_SECONDS": "3"}
    async with whole_stack(tmp_path_factory.mktemp("quick"), **settings) as (found, log):
        yield found
        print(log.getvalue())


@pytest.fixture
async def client(quick: Stack, channels: Channels, user: str) -> Client:
    """A user with a few linked notes."""
    client = Client(channels, quick.addresses, user)
    drafts = [
        node_pb2.NewNode(node_id=node_id, title=title, content=text, tags=["e2e"], metadata={"source": "test"})
        for node_id, (title, text) in TEXTS.items()
    ]
    await client.node.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=user, nodes=drafts))
    edge = graph_pb2.NewEdge(
        source_id="tea",
        target_id="chess",
        type="served_at",
        directed=True,
        weight=0.25,
        metadata={"labels": {"a": "b"}},
    )
    await client.graph.CreateEdge(graph_pb2.CreateEdgeRequest(user_id=user, edge=edge))

    async def linked() -> bool:
        return all([await client.neighbor_ids(node_id) for node_id in TEXTS])

    await until(linked, what="the automatic links")
    await until_stable(lambda: client.links(sorted(TEXTS)), quiet=2.0, seconds=60.0)
    return client


async def exported(client: Client, *, deleted: bool = False) -> list[dict[str, Any]]:
    request = cleanup_pb2.ExportUserRequest(user_id=client.user, include_deleted=deleted)
    return [json.loads(line) async for message in client.cleanup.ExportUser(request) for line in message.lines]


def graph_of(records: list[dict[str, Any]]) -> tuple[Any, Any]:
    """What must be the same after an import: not the times and versions, which are the import's own."""
    own = ("version", "create_time", "update_time", "updated")
    bare = [{name: value for name, value in record.items() if name not in own} for record in records]
    notes = sorted((record for record in bare if record["kind"] == "note"), key=lambda record: record["id"])
    edges = [record for record in bare if record["kind"] == "edge"]
    return notes, sorted(edges, key=lambda record: json.dumps(record, sort_keys=True))


async def test_an_import_of_an_export_is_the_same_graph(
    quick: Stack, channels: Channels, client: Client, tmp_path: Path
) -> None:
    await client.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=client.user, node_id="pawn"))

    async def known() -> bool:
        records = await exported(client, deleted=True)
        return any(record.get("id") == "pawn" for record in records)

    await until(known, what="the deletion being heard of")
    records = await exported(client, deleted=True)
    assert {record["id"] for record in records if record["kind"] == "note"} == TEXTS.keys()
    assert len(graph_of(records)[1]) >= 4
    file = tmp_path / "export.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    copy = Client(channels, quick.addresses, fresh_user())
    async with targets.client(quick.addresses, copy.user) as brain:
        importer = Importer(brain)
        await importer.run(JsonLines(file))
    assert not importer.report.failures

    async def same() -> bool:
        again = await exported(copy, deleted=True)
        notes, edges = graph_of(again)
        old_notes, old_edges = graph_of(records)
        for note in (*notes, *old_notes):
            for gone in ("delete_time", "purge_time"):
                note[gone] = bool(note.get(gone))
        return bool(notes == old_notes and edges == old_edges)

    await until(same, what="the same graph")


async def reconciled(
    client: Client, *, dry_run: bool = False
) -> tuple[set[tuple[str, str]], cleanup_pb2.ReconcileReport]:
    request = cleanup_pb2.ReconcileUserRequest(user_id=client.user, dry_run=dry_run, max_rate=100_000)
    findings: set[tuple[str, str]] = set()
    report = cleanup_pb2.ReconcileReport()
    async for answer in client.cleanup.ReconcileUser(request):
        findings |= {(finding.kind, finding.node_id) for finding in answer.findings}
        if answer.HasField("report"):
            report = answer.report
    return findings, report


async def test_damage_is_found_first_and_then_repaired(quick: Stack, client: Client) -> None:
    sound, report = await reconciled(client)
    assert sound == set()
    assert (report.notes, report.index_entries) == (6, 6)
    stores = Stores(quick.endpoints, quick.resources)
    pk = f"USER#{client.user}"
    before = await client.links(sorted(TEXTS))
    async with stores.client("dynamodb") as dynamodb:

        async def delete(sk: str) -> None:
            key = {"PK": {"S": pk}, "SK": {"S": sk}}
            await dynamodb.delete_item(TableName=quick.resources.table, Key=key)

        async def copy(sk: str, to: str) -> None:
            key = {"PK": {"S": pk}, "SK": {"S": sk}}
            item = (await dynamodb.get_item(TableName=quick.resources.table, Key=key))["Item"]
            await dynamodb.put_item(TableName=quick.resources.table, Item={**item, "SK": {"S": to}})

        await delete("EDGE#chess#tea#served_at")
        await copy("EDGE#tea#chess#served_at", "EDGE#tea#nowhere#served_at")
        await copy("EDGE#tea#chess#served_at", "EDGE#nowhere#tea#served_at")
        await copy("TERMS#tea", "TERMS#ghost")
        await delete("TERMS#coffee")
        posting = {"PK": {"S": pk}, "SK": {"S": "KW#phantom#word"}, "GSI1PK": {"S": f"{pk}#KW#word"}}
        await dynamodb.put_item(TableName=quick.resources.table, Item={**posting, "GSI1SK": {"S": "NODE#phantom"}})
        await dynamodb.put_item(
            TableName=quick.resources.table,
            Item={
                "PK": {"S": pk},
                "SK": {"S": "GRAPH#HIDDEN#espresso"},
                "v": {"N": "0"},
                "hid": {"BOOL": True},
            },
        )
    planted = {
        ("ONE_SIDED_EDGE", "tea"),
        ("EDGE_TO_MISSING_NODE", "nowhere"),
        ("VECTOR_WITHOUT_NODE", "ghost"),
        ("NODE_NOT_INDEXED", "coffee"),
        ("POSTING_WITHOUT_NODE", "phantom"),
        ("VISIBILITY_DISAGREES", "espresso"),
    }
    found, report = await reconciled(client, dry_run=True)
    assert found - {one for one in found if one[0] == "CACHE_DISAGREES"} == planted
    assert sum(report.repaired.values()) == 0
    found, report = await reconciled(client)
    assert planted <= found
    assert dict(report.repaired) == dict(report.found)

    async def whole() -> bool:
        return (await reconciled(client))[0] == set()

    await until(whole, seconds=60, what="a sound user")
    assert await client.links(sorted(TEXTS)) == before


async def remove(stack: Stack, user: str, *sks: str) -> None:
    """Items of the user, behind everybody's back."""
    async with Stores(stack.endpoints, stack.resources).client("dynamodb") as dynamodb:
        for sk in sks:
            key = {"PK": {"S": f"USER#{user}"}, "SK": {"S": sk}}
            await dynamodb.delete_item(TableName=stack.resources.table, Key=key)


async def test_caches_that_disagree_and_events_that_stayed_are_found_and_repaired(quick: Stack, client: Client) -> None:
    sound, _ = await reconciled(client)
    assert sound == set()
    # In memory and in Redis there is still an edge that the table no longer has.
    assert "chess" in await client.neighbor_ids("tea")
    await remove(quick, client.user, "EDGE#tea#chess#served_at", "EDGE#chess#tea#served_at")
    assert "chess" in await client.neighbor_ids("tea")
    # An old event of a service that has no sweeper; whoever hears it now ignores it.
    clock = SystemClock()
    event = new_event(
        UlidFactory(clock),
        ManualClock(clock.now_ms() - 300_000),
        source="brain2.node",
        type="node.updated",
        user_id=client.user,
        node_id="coffee",
        version=1,
        data={"title": "Coffee", "content": "coffee", "incarnation": "1"},
    )
    left = {"PK": "OUTBOX#similarity#3", "SK": event.id, "event": event.to_json()}
    async with Stores(quick.endpoints, quick.resources).client("dynamodb") as dynamodb:
        item = {name: {"S": value} for name, value in left.items()} | {"at": {"N": str(event.time_ms)}}
        await dynamodb.put_item(TableName=quick.resources.table, Item=item)

        planted = {("CACHE_DISAGREES", "tea"), ("CACHE_DISAGREES", "chess"), ("OUTBOX_LEFTOVER", "")}
        found, report = await reconciled(client, dry_run=True)
        assert found == planted
        assert not report.repaired
        found, report = await reconciled(client)
        assert found == planted
        assert dict(report.repaired) == dict(report.found) == {"CACHE_DISAGREES": 2, "OUTBOX_LEFTOVER": 1}
        key = {name: {"S": left[name]} for name in ("PK", "SK")}
        assert "Item" not in await dynamodb.get_item(TableName=quick.resources.table, Key=key)
    assert "chess" not in await client.neighbor_ids("tea")
    assert (await reconciled(client))[0] == set()


async def test_a_deletion_whose_note_is_gone_is_found_and_ended(quick: Stack, client: Client) -> None:
    ask = cleanup_pb2.GetDeletionRequest(user_id=client.user, node_id="pawn")

    async def state() -> int:
        try:
            return int((await client.cleanup.GetDeletion(ask)).deletion.state)
        except NotFound:
            return 0

    await client.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=client.user, node_id="pawn"))
    await until(state, what="the deletion")
    await remove(quick, client.user, "NODE#pawn")
    connect: Any = redis.Redis.from_url
    async with connect(quick.endpoints.redis) as cache:
        await cache.flushall()  # the node service's own cache still has it

    found, _ = await reconciled(client, dry_run=True)
    assert {("SAGA_WITHOUT_NODE", "pawn"), ("EDGE_TO_MISSING_NODE", "pawn"), ("VECTOR_WITHOUT_NODE", "pawn")} <= found
    await reconciled(client)

    async def ended() -> bool:
        return await state() == cleanup_pb2.DELETION_STATE_DONE and (await reconciled(client))[0] == set()

    await until(ended, seconds=60, what="the end of the deletion, and a sound user")


async def test_the_command_reports_as_json_lines(quick: Stack, client: Client) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cleanup_service", "reconcile", "--dry-run", "--rate", "100000"),
        *("--user", client.user, "--target", quick.addresses["cleanup"]),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    lines = [json.loads(line) for line in printed.splitlines()]
    assert lines[-1]["user_id"] == client.user
    assert lines[-1]["report"]["notes"] == "6"
    assert not [line for line in lines if "finding" in line]


async def test_erasing_leaves_nothing_but_the_receipt_and_the_ledger(
    quick: Stack, channels: Channels, client: Client
) -> None:
    stores = Stores(quick.endpoints, quick.resources)
    other = Client(channels, quick.addresses, fresh_user())
    draft = node_pb2.NewNode(node_id="theirs", title="Tea for another")
    await other.node.CreateNode(node_pb2.CreateNodeRequest(user_id=other.user, node=draft))
    await client.node.DeleteNode(node_pb2.DeleteNodeRequest(user_id=client.user, node_id="pawn", request_id="once"))
    queue = cleanup_pb2.QueueDeletionRequest(user_id=client.user, node_id="pawn")
    await client.cleanup.QueueDeletion(queue)
    await until(lambda: purged(client, "pawn"), what="the purge")
    assert len(await traces_of(stores, client.user)) > 30
    begun = await client.cleanup.EraseUser(
        cleanup_pb2.EraseUserRequest(user_id=client.user, confirm_user_id=client.user)
    )
    request = cleanup_pb2.GetErasureRequest(erasure_id=begun.erasure.erasure_id)

    async def done() -> bool:
        return bool((await client.cleanup.GetErasure(request)).erasure.done)

    await until(done, seconds=90, what="the erasure")
    left = await traces_of(stores, client.user)
    assert [trace.rpartition("/")[0].startswith("s3: ledger/erasures/") for trace in left] == [True]
    assert await client.neighbor_ids("tea") == set()
    assert (await client.search("tea")).total == 0
    assert await other.is_there("theirs")


async def purged(client: Client, node_id: str) -> bool:
    return not await client.is_there(node_id, show_deleted=True)
