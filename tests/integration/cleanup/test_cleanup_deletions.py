"""Deletions from their events to archive and purge, on real stores, with the other services small and in memory."""

import gzip
import hashlib
import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protos.cleanup.v1 import cleanup_pb2
from protos.node.v1 import node_pb2
from shared.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from shared.events.envelope import Event, new_event
from shared.ids import SystemClock, UlidFactory
from tests.support.cleanup_peers import FakePeers, now_ms
from tests.support.cleanup_service import CleanupService, table_of
from tests.support.stores import Stores
from tests.support.waiting import until

DONE = cleanup_pb2.DELETION_STATE_DONE
PENDING = cleanup_pb2.DELETION_STATE_PENDING
CANCELLED = cleanup_pb2.DELETION_STATE_CANCELLED
IDS = UlidFactory(SystemClock())


def event_of(node: node_pb2.Node, kind: str, cascade: str = "CASCADE_EDGES") -> Event:
    data: dict[str, Any] = {"incarnation": str(node.incarnation)}
    if kind == "node.deleted":
        data |= {
            "delete_time": node.delete_time.ToJsonString(),
            "purge_time": node.purge_time.ToJsonString(),
            "cascade": cascade,
        }
    return new_event(
        IDS,
        SystemClock(),
        source="brain2.node",
        type=kind,
        user_id=node.user_id,
        node_id=node.node_id,
        version=node.version,
        data=data,
    )


async def publish(stores: Stores, *events: Event) -> None:
    async with stores.client("events") as bus:
        answer = await bus.put_events(
            Entries=[
                {
                    "Source": event.source,
                    "DetailType": event.type,
                    "Detail": event.to_json(),
                    "EventBusName": stores.resources.bus,
                }
                for event in events
            ]
        )
        assert answer["FailedEntryCount"] == 0


async def archive_at(stores: Stores, uri: str) -> dict[str, Any]:
    """The parts of an archive by name, each proved against the manifest."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    async with stores.client("s3") as s3:

        async def read(name: str) -> bytes:
            answer = await s3.get_object(Bucket=bucket, Key=name)
            body: bytes = await answer["Body"].read()
            return body

        manifest = json.loads(await read(key))
        parts = {"manifest": manifest}
        for part in manifest["parts"]:
            body = await read(key.removesuffix("manifest.json") + part["name"])
            assert hashlib.sha256(body).hexdigest() == part["sha256"]
            assert len(body) == part["bytes"]
            parts[part["name"]] = json.loads(gzip.decompress(body))
        return parts


async def test_from_the_event_to_the_purge(
    stores: Stores, service: CleanupService, peers: FakePeers, user: str
) -> None:
    peers.add(user, "n", "a", "b", "c", "d", content="The quick brown fox " * 1000)
    for other in "abcd":
        peers.link(user, "n", other)
    peers.link(user, "a", "b")
    node = peers.delete(user, "n", now_ms=now_ms(), purge_ms=now_ms())
    await publish(stores, event_of(node, "node.deleted"))

    async def begun() -> bool:
        try:
            return bool(await service.get(user, "n"))
        except NotFound:
            return False

    await until(begun)
    done = await service.until_state(user, "n", DONE)
    assert done.removed_edges == 4
    assert (user, "n") not in peers.notes
    assert (user, "n") not in peers.indexed
    assert peers.edges_at(user, "n") == []
    assert len(peers.edges_at(user, "a")) == 1
    assert [entry.message for entry in done.history][:2] == ["deleted", "fenced"]
    archive = await archive_at(stores, done.archive_uri)
    assert archive["note.json.gz"]["note"]["text"] == "The quick brown fox " * 1000
    assert archive["note.json.gz"]["keywords"] == [{"keyword": "text", "weight": 1.0}]
    ends = {edge["source_id"] for edge in archive["edges-00000.json.gz"]["edges"]}
    assert ends == {"a", "b", "c", "d"}
    assert archive["manifest"]["edges"] == 4


async def test_the_end_of_a_deletion_is_published(
    stores: Stores, service: CleanupService, peers: FakePeers, user: str
) -> None:
    async with stores.client("sqs") as sqs, stores.client("events") as bus:
        name = f"listener-{user}"
        queue = (await sqs.create_queue(QueueName=name))["QueueUrl"]
        attributes = await sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        pattern = json.dumps({"detail-type": ["cleanup.completed"]})
        await bus.put_rule(Name=name, EventBusName=stores.resources.bus, EventPattern=pattern)
        target = {"Id": "t", "Arn": attributes["Attributes"]["QueueArn"]}
        await bus.put_targets(Rule=name, EventBusName=stores.resources.bus, Targets=[target])
        peers.add(user, "n")
        peers.delete(user, "n", now_ms=now_ms(), purge_ms=now_ms() + 60_000)
        await service.queue(user, "n")
        done = await service.until_state(user, "n", DONE)

        async def heard() -> Event | None:
            answer = await sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10)
            for message in answer.get("Messages", ()):
                event = Event.from_json(json.loads(message["Body"])["detail"])
                if event.user_id == user:
                    return event
            return None

        event = await until(heard)
        assert event is not None
        assert (event.source, event.node_id, event.version) == ("brain2.cleanup", "n", 2)
        assert event.data["archive_uri"] == done.archive_uri
        await bus.remove_targets(Rule=name, EventBusName=stores.resources.bus, Ids=["t"])
        await bus.delete_rule(Name=name, EventBusName=stores.resources.bus)
        await sqs.delete_queue(QueueUrl=queue)


async def test_a_restore_in_time_calls_it_off(
    stores: Stores, service: CleanupService, peers: FakePeers, user: str
) -> None:
    peers.add(user, "n")
    deleted = event_of(peers.delete(user, "n", now_ms=now_ms(), purge_ms=now_ms() + 3_600_000), "node.deleted")
    await publish(stores, deleted)

    async def waiting() -> bool:
        try:
            return (await service.get(user, "n")).state == PENDING
        except NotFound:
            return False

    await until(waiting)
    peers.restore(user, "n")
    restored = event_of(peers.notes[user, "n"], "node.restored")
    await publish(stores, restored)
    await service.until_state(user, "n", CANCELLED)
    # The late duplicate of the deletion, and one of the restore.
    await publish(stores, deleted, restored)
    other = f"{user}-b"
    peers.add(other, "marker")
    await publish(stores, event_of(peers.delete(other, "marker", now_ms=now_ms(), purge_ms=now_ms()), "node.deleted"))
    await until(lambda: (other, "marker") not in peers.notes)
    assert (await service.get(user, "n")).state == CANCELLED
    assert (user, "n") in peers.notes


async def test_a_restore_whose_event_is_late_still_wins_at_the_fence(
    service: CleanupService, peers: FakePeers, user: str
) -> None:
    peers.add(user, "n")
    peers.delete(user, "n", now_ms=now_ms(), purge_ms=now_ms() + 60_000)
    peers.trouble = lambda name: Unavailable("not yet") if name == "PurgeNode fence" else None
    try:
        await service.queue(user, "n")

        async def tried() -> bool:
            return "not yet" in (await service.get(user, "n")).error

        await until(tried)
        peers.restore(user, "n")
    finally:
        peers.trouble = lambda _: None
    await service.until_state(user, "n", CANCELLED)
    assert (user, "n") in peers.notes
    assert (user, "n") in peers.indexed


async def test_a_lost_event_loses_nothing(stores: Stores, service: CleanupService, peers: FakePeers, user: str) -> None:
    """Only the node service's item is there, as its transaction left it."""
    peers.add(user, "n")
    node = peers.delete(user, "n", now_ms=now_ms(), purge_ms=now_ms() + 300)
    async with table_of(stores) as table:
        await table.put(
            {
                "PK": f"USER#{user}",
                "SK": "NODE#n",
                "GSI2PK": "DELETED#7",
                "GSI2SK": f"TIMESTAMP#{node.purge_time.ToMilliseconds():013d}#USER#{user}#NODE#n",
            }
        )
        await until(lambda: (user, "n") not in peers.notes, what="the purge")
        await service.until_state(user, "n", DONE)
        await table.delete((f"USER#{user}", "NODE#n"))


async def test_orphans_go_along_when_asked(
    stores: Stores, service: CleanupService, peers: FakePeers, user: str
) -> None:
    peers.add(user, "n", "orphan", "linked", "edited", "friend")
    for other in ("orphan", "linked", "edited"):
        peers.link(user, "n", other)
    peers.link(user, "linked", "friend")
    peers.notes[user, "edited"].version = 2
    node = peers.delete(user, "n", now_ms=now_ms(), purge_ms=now_ms(), cascade=node_pb2.CASCADE_ORPHANS)
    # The event says nothing of it: the fence does.
    await publish(stores, event_of(node, "node.deleted", "CASCADE_EDGES"))
    await until(lambda: (user, "n") not in peers.notes)
    await service.until_state(user, "n", DONE)
    gone = {key[1] for key, note in peers.notes.items() if key[0] == user and note.HasField("delete_time")}
    assert gone == {"orphan"}


async def test_lists_are_paged_for_users_and_for_operators(
    stores: Stores, service: CleanupService, peers: FakePeers, user: str
) -> None:
    ids = [f"n{number}" for number in range(7)]
    peers.add(user, *ids)
    start_ms = now_ms()
    for number, node_id in enumerate(ids):
        node = peers.delete(user, node_id, now_ms=start_ms + number, purge_ms=start_ms + 3_600_000)
        await publish(stores, event_of(node, "node.deleted"))

    async def all_there() -> bool:
        return await _listed(service, user_id=user, page_size=100) == ids

    await until(all_there)
    assert await _listed(service, user_id=user, page_size=3) == ids
    assert await _listed(service, user_id=user, state=PENDING, page_size=2) == ids
    everybody = await _listed(service, state=PENDING, page_size=5)
    assert [node_id for node_id in everybody if node_id in ids][-7:] == ids

    def at(number: float) -> Timestamp:
        microseconds = round((start_ms + number) * 1000)
        return Timestamp(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)

    for who in ({"user_id": user}, {"state": PENDING}):
        found = await _listed(service, **who, page_size=2, start_time=at(2), end_time=at(5))
        assert [node_id for node_id in found if node_id in ids][-3:] == ["n2", "n3", "n4"]
    assert await _listed(service, user_id=user, start_time=at(3.5)) == ["n4", "n5", "n6"]
    assert await _listed(service, user_id=user, end_time=at(3.5)) == ["n0", "n1", "n2", "n3"]
    assert await _listed(service, user_id=user, start_time=at(5), end_time=at(2)) == []
    assert await _listed(service, user_id=user, end_time=Timestamp(seconds=-1)) == []
    request = cleanup_pb2.ListDeletionsRequest(user_id=user, page_size=3)
    token = (await service.stub.ListDeletions(request)).next_page_token
    for wrong in (
        cleanup_pb2.ListDeletionsRequest(),
        cleanup_pb2.ListDeletionsRequest(user_id="#"),
        cleanup_pb2.ListDeletionsRequest(user_id="someone-else", page_token=token),
        cleanup_pb2.ListDeletionsRequest(user_id=user, page_token=token, start_time=at(0)),
        cleanup_pb2.ListDeletionsRequest(user_id=user, start_time=Timestamp(nanos=-1)),
        cleanup_pb2.ListDeletionsRequest(user_id=user, page_size=-1),
        cleanup_pb2.ListDeletionsRequest(user_id=user, state=99),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidArgument):
            await service.stub.ListDeletions(wrong)


async def _listed(service: CleanupService, **fields: Any) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        page = await service.stub.ListDeletions(cleanup_pb2.ListDeletionsRequest(page_token=token, **fields))
        found += [one.node_id for one in page.deletions]
        token = page.next_page_token
        if not token:
            return found


async def test_requests_are_refused_with_a_reason(service: CleanupService, peers: FakePeers, user: str) -> None:
    peers.add(user, "live")
    with pytest.raises(NotFound) as missing:
        await service.get(user, "live")
    assert missing.value.reason == "DELETION_NOT_FOUND"
    with pytest.raises(FailedPrecondition) as refused:
        await service.queue(user, "live")
    assert refused.value.reason == "NOT_DELETED"
    with pytest.raises(NotFound):
        await service.queue(user, "nobody")
    with pytest.raises(InvalidArgument) as invalid:
        await service.queue("", "a#b")
    assert {one.field for one in invalid.value.violations} == {"user_id", "node_id"}


async def test_a_retry_makes_up_for_an_event_in_the_dead_letters(
    service: CleanupService, peers: FakePeers, user: str
) -> None:
    peers.add(user, "n")
    peers.delete(user, "n", now_ms=now_ms(), purge_ms=now_ms() + 3_600_000)
    request = cleanup_pb2.RetryDeletionRequest(user_id=user, node_id="n")
    made = (await service.stub.RetryDeletion(request)).deletion
    # What the event would have done: the note can be restored until the end of its retention.
    assert made.state == cleanup_pb2.DELETION_STATE_PENDING
    assert made.purge_time == peers.notes[user, "n"].purge_time
    await service.queue(user, "n")
    await service.until_state(user, "n", DONE)
    with pytest.raises(FailedPrecondition) as refused:
        await service.stub.RetryDeletion(request)
    assert refused.value.reason == "NOT_FAILED"


async def test_a_request_id_is_carried_out_once(service: CleanupService, peers: FakePeers, user: str) -> None:
    peers.add(user, "n", "m")
    for node_id in "nm":
        peers.delete(user, node_id, now_ms=now_ms(), purge_ms=now_ms() + 3_600_000)
    first = await service.queue(user, "n", "r1")
    await service.until_state(user, "n", DONE)
    assert await service.queue(user, "n", "r1") == first
    with pytest.raises(InvalidArgument) as reused:
        await service.queue(user, "m", "r1")
    assert reused.value.reason == "REQUEST_ID_REUSED"
