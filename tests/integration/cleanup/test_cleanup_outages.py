"""Deletions while S3 is down, without archives, and with two replicas at work."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from protos.cleanup.v1 import cleanup_pb2
from services.cleanup_service.adapters.archive import S3Archives
from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import Deletion
from services.cleanup_service.ports import Record
from shared.aws import Aws
from shared.errors import Unavailable
from shared.ids import SystemClock, UlidFactory
from tests.support.cleanup_peers import FakePeers, now_ms
from tests.support.cleanup_service import config_of, running
from tests.support.stores import Stores

DONE = cleanup_pb2.DELETION_STATE_DONE
FAILED = cleanup_pb2.DELETION_STATE_FAILED


async def test_s3_down_purges_nothing_and_a_retry_goes_on(stores: Stores, peers: FakePeers, user: str) -> None:
    peers.add(user, "n", "a")
    peers.link(user, "n", "a")
    peers.delete(user, "n", now_ms=now_ms(), purge_ms=now_ms())
    async with running(stores, peers, S3_ENDPOINT="http://127.0.0.1:9", BRAIN2_CLEANUP_ATTEMPTS="2") as broken:
        await broken.queue(user, "n")
        failed = await broken.until_state(user, "n", FAILED)
        assert failed.step == cleanup_pb2.DELETION_STEP_ARCHIVE
        assert "S3" in failed.error
        assert (user, "n") in peers.notes
        assert len(peers.edges_at(user, "n")) == 1
        listed = await broken.stub.ListDeletions(cleanup_pb2.ListDeletionsRequest(user_id=user, state=FAILED))
        assert [one.node_id for one in listed.deletions] == ["n"]
    async with running(stores, peers) as mended:
        assert (await mended.get(user, "n")).state == FAILED
        request = cleanup_pb2.RetryDeletionRequest(user_id=user, node_id="n", request_id="r1")
        first = await mended.stub.RetryDeletion(request)
        done = await mended.until_state(user, "n", DONE)
        assert done.archive_uri
        assert (await mended.stub.RetryDeletion(request)) == first


async def test_an_s3_that_goes_silent_holds_no_worker_for_ever(stores: Stores) -> None:
    """It takes the connection and never says "100 Continue": the client's own timeouts don't cover that."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = config_of(stores, S3_ENDPOINT=f"http://127.0.0.1:{port}")
    clock = SystemClock()
    saga = sagas.begin(Deletion("u", "n", 2, 0, 0), 0, "deleted")

    async def no_edges() -> AsyncIterator[list[Record]]:
        batches: list[list[Record]] = []
        for batch in batches:
            yield batch

    async with server, Aws(config, use=("s3",)) as aws:
        archives = S3Archives(aws.s3, "bucket", UlidFactory(clock), clock, timeout=0.2)
        with pytest.raises(Unavailable):
            await archives.write(saga, {"kind": "note"}, [], no_edges())


async def test_archives_can_be_disabled(stores: Stores, peers: FakePeers, user: str) -> None:
    peers.add(user, "n")
    peers.delete(user, "n", now_ms=now_ms(), purge_ms=now_ms())
    async with running(stores, peers, BRAIN2_ARCHIVES="0") as service:
        await service.queue(user, "n")
        done = await service.until_state(user, "n", DONE)
        assert done.archive_uri == ""
        assert "archives are disabled" in [entry.message for entry in done.history]


async def test_two_replicas_do_each_step_once_in_effect(stores: Stores, peers: FakePeers, user: str) -> None:
    ids = [f"n{number}" for number in range(20)]
    peers.add(user, *ids, "hub")
    for node_id in ids:
        peers.link(user, node_id, "hub")
    peers.calls.clear()
    async with running(stores, peers) as one, running(stores, peers) as two:
        for node_id in ids:
            peers.delete(user, node_id, now_ms=now_ms(), purge_ms=now_ms())
        await asyncio.gather(
            *((one if number % 2 else two).queue(user, node_id) for number, node_id in enumerate(ids)),
            *((two if number % 2 else one).queue(user, node_id) for number, node_id in enumerate(ids)),
        )
        for node_id in ids:
            await one.until_state(user, node_id, DONE)
    assert peers.calls.count("PurgeNode") == 20
    assert peers.calls.count("RemoveNode") == 20
    assert peers.edges_at(user, "hub") == []
