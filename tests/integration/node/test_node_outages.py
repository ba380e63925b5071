"""Redis goes away in the middle, the process dies in the middle, the bus is away: no wrong answer, nothing lost."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protos.node.v1 import node_pb2
from protos.table import outbox_partition
from services.node_service.adapters.dynamo import DynamoNodeStore
from services.node_service.adapters.envelope import Enveloper
from services.node_service.model import Node, NodeEvent, NodeEventType, text
from services.node_service.ports import NodeWrite, Outcome
from shared.aws import Aws
from shared.dynamo import Put, Table
from shared.events.envelope import Event
from shared.events.outbox import Outbox
from shared.idempotency import Idempotency
from shared.ids import SystemClock, UlidFactory
from tests.support import durable_valkey
from tests.support.durable_valkey import DurableValkey
from tests.support.node_listener import Listener, listening
from tests.support.node_service import NodeService, running
from tests.support.stores import Stores
from tests.support.waiting import until


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[DurableValkey]:
    async with durable_valkey.running(tmp_path) as found:
        yield found


async def exercise(service: NodeService, user: str, node_ids: list[str], round_: int) -> None:
    """Writes that must be done and reads that must see them."""
    for node_id in node_ids:
        title = f"{node_id} round {round_}"
        await service.get(user, node_id)
        written = await service.update(user, node_id, title=title)
        assert (await service.get(user, node_id)).title == title
        assert (await service.get(user, node_id, consistency_token=written.consistency_token)).title == title
    await service.delete(user, node_ids[0])
    assert node_ids[0] not in {node.node_id for node in await many(service, user, node_ids)}
    await service.restore(user, node_ids[0])
    assert {node.title for node in await many(service, user, node_ids)} == {
        f"{each} round {round_}" for each in node_ids
    }


async def cached_again(service: NodeService, user: str, valkey: DurableValkey) -> None:
    """The service has found Redis again, and its breaker has closed."""
    probe = f"probe-{uuid.uuid4().hex[:8]}"
    await service.create(user, probe)

    async def filled() -> bool:
        await service.get(user, probe)
        return await valkey.holds(f"b2:n:{{{user}}}:{probe}", b"V")

    await until(filled, what="a note in Redis")


async def many(service: NodeService, user: str, node_ids: list[str]) -> list[node_pb2.Node]:
    request = node_pb2.BatchGetNodesRequest(user_id=user, node_ids=node_ids, view=node_pb2.NODE_VIEW_TITLE)
    return list((await service.stub.BatchGetNodes(request)).nodes)


async def test_redis_is_killed_and_comes_back_with_old_notes(stores: Stores, user: str, valkey: DurableValkey) -> None:
    ids = ["a", "b", "c"]
    async with running(stores, REDIS_URL=valkey.url) as service:
        for node_id in ids:
            await service.create(user, node_id)
        await exercise(service, user, ids, 1)
        await valkey.kill()
        await exercise(service, user, ids, 2)
        await valkey.start()
        assert await valkey.holds(f"b2:n:{{{user}}}:b", b"b round 1")
        await cached_again(service, user, valkey)
        assert {(await service.get(user, node_id)).title for node_id in ids} == {f"{each} round 2" for each in ids}
        await exercise(service, user, ids, 3)


async def test_redis_freezes_and_goes_on(stores: Stores, user: str, valkey: DurableValkey) -> None:
    ids = ["a", "b"]
    async with running(stores, REDIS_URL=valkey.url) as service:
        for node_id in ids:
            await service.create(user, node_id)
        await exercise(service, user, ids, 1)
        valkey.freeze()
        await exercise(service, user, ids, 2)
        valkey.thaw()
        await cached_again(service, user, valkey)
        assert {(await service.get(user, node_id)).title for node_id in ids} == {f"{each} round 2" for each in ids}
        await exercise(service, user, ids, 3)


async def test_a_service_starts_without_redis(stores: Stores, user: str, valkey: DurableValkey) -> None:
    await valkey.kill()
    async with running(stores, REDIS_URL=valkey.url) as service:
        await service.create(user, "a")
        await exercise(service, user, ["a"], 1)


class DiesAfterCommit:
    """An outbox whose process ends between the commit and the publishing."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.lost: list[Event] = []

    def put(self, event: Event) -> Put:
        return self._outbox.put(event)

    def announce(self, *events: Event) -> None:
        self.lost += events


@pytest.fixture
async def listener(stores: Stores, user: str) -> AsyncIterator[Listener]:
    async with listening(stores, user) as found:
        yield found


async def test_a_crash_between_commit_and_publish_loses_no_event(
    stores: Stores, user: str, listener: Listener, service: NodeService
) -> None:
    clock = SystemClock()
    async with Aws(service.config, use=("dynamodb", "events")) as aws:
        table = Table(aws.dynamodb, stores.resources.table)
        outbox = Outbox(table, aws.events, service="node-crash", bus=service.config.event_bus, clock=clock, grace=0.0)
        dying = DiesAfterCommit(outbox)
        store = DynamoNodeStore(table, dying, Idempotency(table, "node", clock), Enveloper(UlidFactory(clock), dict))
        node = Node(
            user_id=user, node_id="n", title="T", version=1, incarnation=1, create_ms=1, update_ms=1, **text("C")
        )
        event = NodeEvent(event_type=NodeEventType.CREATED, node=node, time_ms=clock.now_ms() - 1)
        assert await store.commit(NodeWrite(before=None, after=node, event=event)) is Outcome.DONE
        [lost] = dying.lost
        left = await table.get((outbox.partition(lost.id), lost.id), consistent=True)
        assert left is not None
        assert listener.received == []
        await until(outbox.sweep, what="the sweep of the event")
        [received] = await listener.wait_for(1)
        assert received == lost
        assert await table.get((outbox.partition(lost.id), lost.id), consistent=True) is None


async def test_every_write_has_its_own_event(service: NodeService, user: str, listener: Listener) -> None:
    await service.create(user, content="C", tags=["a"])
    await service.update(user, content="D")
    await service.update(user, content="x" * 250_000)
    await service.delete(user, cascade=node_pb2.CASCADE_ORPHANS)
    await service.restore(user)
    await service.delete(user)
    for fence in (True, False):
        await service.stub.PurgeNode(node_pb2.PurgeNodeRequest(user_id=user, node_id="n", version=6, fence=fence))
    received = sorted(await listener.wait_for(7), key=lambda event: event.version)
    assert [(event.version, event.type) for event in received] == [
        (1, "node.created"),
        (2, "node.updated"),
        (3, "node.updated"),
        (4, "node.deleted"),
        (5, "node.restored"),
        (6, "node.deleted"),
        (7, "node.purged"),
    ]
    assert {event.user_id for event in received} == {user}
    assert {event.node_id for event in received} == {"n"}
    assert {event.source for event in received} == {"brain2.node"}
    assert len({event.data["incarnation"] for event in received}) == 1
    created, updated, large, gone, back, *_ = (event.data for event in received)
    assert (created["title"], created["content"], created["tags"]) == ("T", "C", ["a"])
    assert (updated["content"], updated["changed"]) == ("D", ["content"])
    assert (large["content_omitted"], "content" in large) == (True, False)
    assert gone["cascade"] == "CASCADE_ORPHANS"
    assert back["content_omitted"] is True


async def test_a_batch_has_an_event_for_each_note(service: NodeService, user: str, listener: Listener) -> None:
    notes = [node_pb2.NewNode(node_id=f"n{at}", title="T") for at in range(60)]
    await service.stub.BatchCreateNodes(node_pb2.BatchCreateNodesRequest(user_id=user, nodes=notes))
    received = await listener.wait_for(60)
    assert {event.node_id for event in received} == {f"n{at}" for at in range(60)}


async def test_a_call_that_is_given_up_is_done_whole_or_not_at_all(
    service: NodeService, user: str, listener: Listener
) -> None:
    calls = [asyncio.create_task(service.create(user, f"n{at}")) for at in range(40)]
    for at, call in enumerate(calls):
        if at % 2:
            await asyncio.sleep(0)
            call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    answered = {f"n{at}" for at, result in enumerate(ended) if not isinstance(result, BaseException)}

    async def relayed() -> bool:
        return {event.node_id for event in listener.received} == set(await service.listed(user))

    await listener.wait_for(len(answered))
    await until(relayed, what="an event for each stored note")
    assert answered <= set(await service.listed(user))


async def test_events_are_spread_over_as_many_shards_as_the_configuration_has(stores: Stores, user: str) -> None:
    dead = {"EVENTBRIDGE_ENDPOINT": "http://127.0.0.1:9", "BRAIN2_OUTBOX_SHARDS": "64"}
    async with stores.fresh_table() as name, running(stores, BRAIN2_TABLE=name, **dead) as service:
        for number in range(30):
            await service.create(user, f"n{number}")
        async with Aws(service.config, use=("dynamodb",)) as aws:
            table = Table(aws.dynamodb, name)
            used = {
                shard
                for shard in range(64)
                if (await table.query(outbox_partition("node", shard), limit=1, consistent=True)).items
            }
    # By chance all of 30 events are in the lower 8 of 64 shards once in 10^27 runs.
    assert max(used) >= 8
