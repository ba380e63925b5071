"""ErasureStatus a user, proved by reading the whole of DynamoDB, Redis and S3; and exporting one."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as redis

from protos.cleanup.v1 import cleanup_pb2
from services.cleanup_service.model.erasure import user_digest
from shared.dynamo import Item
from shared.errors import InvalidArgument, NotFound
from shared.events.envelope import new_event
from shared.ids import SystemClock, UlidFactory
from tests.support.cleanup_peers import FakePeers, now_ms
from tests.support.cleanup_service import CleanupService, running, table_of
from tests.support.stores import Stores, fresh_user
from tests.support.traces import table_items, traces_of
from tests.support.waiting import until


def items_of(user: str) -> list[Item]:
    """One item of every kind that is documented, as the services write them, and leftovers of a crash."""
    pk = f"USER#{user}"
    event = new_event(
        UlidFactory(SystemClock()),
        SystemClock(),
        source="brain2.node",
        type="node.created",
        user_id=user,
        node_id="a",
        version=1,
        data={"title": f"of {user}"},
    )
    return [
        {"PK": pk, "SK": "EDGE#a#gone"},
        {"PK": pk, "SK": "EDGE#gone#a#follows"},
        {"PK": pk, "SK": "GRAPH#HIDDEN#a"},
        {"PK": pk, "SK": "KW#a#word", "GSI1PK": f"{pk}#KW#word", "GSI1SK": "NODE#a"},
        {"PK": pk, "SK": "TERMS#a"},
        {"PK": pk, "SK": "SIM#state"},
        {"PK": pk, "SK": "SETTINGS#node"},
        *({"PK": f"IDEMP#{service}#{user}", "SK": "r1"} for service in ("node", "graph", "similarity", "cleanup")),
        {"PK": "GRAPH#JOURNAL#2", "SK": event.id, "user": user},
        {"PK": "OUTBOX#node#3", "SK": event.id, "event": event.to_json(), "at": event.time_ms},
        # In a shard that there is with BRAIN2_OUTBOX_SHARDS above its default.
        {"PK": "OUTBOX#graph#15", "SK": event.id, "event": event.to_json(), "at": event.time_ms},
    ]


@pytest.fixture(scope="module")
async def service(stores: Stores, peers: FakePeers) -> AsyncIterator[CleanupService]:
    """On a table of its own: the proof reads all of it."""
    settings = {"BRAIN2_OUTBOX_SHARDS": "16"}
    async with stores.fresh_table() as table, running(stores, peers, BRAIN2_TABLE=table, **settings) as found:
        yield found


async def seed(stores: Stores, service: CleanupService, peers: FakePeers, user: str) -> None:
    peers.add(user, "a", "b", "c", content=f"the secret of {user}")
    peers.link(user, "a", "b")
    async with table_of(stores, BRAIN2_TABLE=service.config.table) as table:
        await table.batch_write([*items_of(user), *({"PK": f"USER#{user}", "SK": f"NODE#{n}"} for n in "abc")])
    async with redis.Redis.from_url(stores.redis_url) as client:
        for key in (f"node:{{{user}}}:a", f"graph:{{{user}}}:list:b", f"{{{user}}}"):
            await client.set(key, f"about {user}")
        await client.xadd(f"sim:{{{user}}}:log", {"node": "a"})
    # One archived, one that waits.
    peers.delete(user, "c", now_ms=now_ms(), purge_ms=now_ms())
    await service.queue(user, "c")
    await service.until_state(user, "c", cleanup_pb2.DELETION_STATE_DONE)


async def erased(service: CleanupService, user: str) -> cleanup_pb2.Erasure:
    begun = await service.stub.EraseUser(cleanup_pb2.EraseUserRequest(user_id=user, confirm_user_id=user))
    request = cleanup_pb2.GetErasureRequest(erasure_id=begun.erasure.erasure_id)
    assert begun.erasure.user_id == user

    async def done() -> cleanup_pb2.Erasure | None:
        found: cleanup_pb2.Erasure = (await service.stub.GetErasure(request)).erasure
        assert not found.error
        return found if found.done else None

    found = await until(done, what="the erasure")
    assert found is not None
    return found


async def test_nothing_is_left_but_the_receipt_and_the_ledger(
    stores: Stores, service: CleanupService, peers: FakePeers, user: str
) -> None:
    other = fresh_user()
    for one in (user, other):
        await seed(stores, service, peers, one)
    others = await traces_of(stores, other, table=service.config.table)
    assert len(await traces_of(stores, user, table=service.config.table)) == len(others) > 18
    # The peers own the note items; ours stand in for them, so the erasure must find and sweep them.
    receipt = await erased(service, user)
    # The ledger is kept apart from the table, for a table that is restored to a time before.
    [ledger] = await traces_of(stores, user, table=service.config.table)
    assert re.fullmatch(rf"s3: ledger/erasures/[0-9a-f]{{64}}/\d{{13}}-{receipt.erasure_id}\.json", ledger)
    assert [key for key in peers.notes if key[0] == user] == []
    assert await traces_of(stores, other, table=service.config.table) == others
    assert receipt.user_id == ""
    assert receipt.user_digest == user_digest(receipt.erasure_id, user)
    assert receipt.removed["nodes"] == 3
    assert receipt.removed["archives"] >= 2
    assert receipt.removed["cache"] == 4
    kept = [item for item in await table_items(stores, service.config.table) if receipt.erasure_id in str(item)]
    assert [item["PK"]["S"] for item in kept] == ["CLEANUP#ERASURE"]
    assert "secret" not in json.dumps(kept, default=repr)


async def test_erasing_again_finds_nothing_and_what_comes_later_starts_anew(
    service: CleanupService, peers: FakePeers, user: str
) -> None:
    first = await erased(service, user)
    second = await erased(service, user)
    assert first.erasure_id != second.erasure_id
    assert dict(second.removed) == {}


async def test_requests_are_checked(service: CleanupService, user: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await service.stub.EraseUser(cleanup_pb2.EraseUserRequest(user_id=user, confirm_user_id="somebody"))
    assert [one.field for one in refused.value.violations] == ["confirm_user_id"]
    with pytest.raises(NotFound):
        await service.stub.GetErasure(cleanup_pb2.GetErasureRequest(erasure_id="unknown"))


async def exported(service: CleanupService, user: str, *, deleted: bool = False) -> list[dict[str, Any]]:
    request = cleanup_pb2.ExportUserRequest(user_id=user, include_deleted=deleted)
    return [json.loads(line) async for message in service.stub.ExportUser(request) for line in message.lines]


async def test_an_export_holds_all_notes_edges_and_settings(
    service: CleanupService, peers: FakePeers, user: str
) -> None:
    peers.add(user, *(f"n{number}" for number in range(7)), content='text\nwith "quotes" and ünïcode ' * 2000)
    for number in range(6):
        peers.link(user, f"n{number}", f"n{number + 1}")
    peers.link(user, "n0", "n5").suppressed = True
    peers.link(user, "n0", "n6").suppressed = True
    peers.link(user, "n1", "n3").weight = 0.0
    peers.delete(user, "n6", now_ms=now_ms(), purge_ms=now_ms() + 3_600_000)
    await service.queue(user, "n6")  # known to the sagas from here on, and purged soon
    await service.until_state(user, "n6", cleanup_pb2.DELETION_STATE_DONE)
    records = await exported(service, user)
    notes = {record["id"]: record for record in records if record["kind"] == "note"}
    assert sorted(notes) == [f"n{number}" for number in range(6)]
    assert notes["n1"]["text"] == 'text\nwith "quotes" and ünïcode ' * 2000
    assert notes["n1"]["tags"] == ["tag"]
    assert notes["n1"]["created"].startswith("2023-11-14T22:13:20.001")
    edges = {(record["source_id"], record["target_id"]): record for record in records if record["kind"] == "edge"}
    assert sorted(edges) == sorted([*((f"n{number}", f"n{number + 1}") for number in range(5)), ("n1", "n3")])
    # JSON of protobuf leaves a weight of 0 out, and an import would take none for 1.
    assert edges["n1", "n3"]["weight"] == 0.0
    rejections = [record for record in records if record["kind"] == "rejection"]
    assert rejections == [{"kind": "rejection", "source_id": "n0", "target_id": "n5", "type": "related"}]
    settings = {record["context"]: record["settings"] for record in records if record["kind"] == "settings"}
    assert settings == {"node": {"retention": "60s"}, "similarity": {"language": "german"}}
    assert records[-1] == {"kind": "end", "notes": 6, "edges": 6, "rejections": 1, "settings": 2}


async def test_an_export_with_deleted_notes_has_their_edges_too(
    service: CleanupService, peers: FakePeers, user: str
) -> None:
    peers.add(user, "a", "b", "c")
    peers.link(user, "a", "b")
    peers.delete(user, "b", now_ms=now_ms(), purge_ms=now_ms() + 3_600_000)
    peers.trouble = lambda name: InvalidArgument("stuck") if name == "ExtractKeywords" else None
    try:
        await service.queue(user, "b")
        await service.until_state(user, "b", cleanup_pb2.DELETION_STATE_FAILED)
    finally:
        peers.trouble = lambda _: None
    assert [record["id"] for record in await exported(service, user) if record["kind"] == "note"] == ["a", "c"]
    records = await exported(service, user, deleted=True)
    notes = {record["id"]: record for record in records if record["kind"] == "note"}
    assert sorted(notes) == ["a", "b", "c"]
    assert "delete_time" in notes["b"]
    assert records[-1] == {"kind": "end", "notes": 3, "edges": 1, "rejections": 0, "settings": 2}
