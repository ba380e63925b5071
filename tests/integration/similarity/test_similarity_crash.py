"""A process dies before it has relinked its notes: another makes the links that a clean rebuild makes."""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator

import pytest

from protos.similarity.v1 import similarity_pb2 as pb
from protos.table import RELINKS, TERMS, user_partition
from tests.support.similarity_peers import FakePeers
from tests.support.similarity_service import config_of, event_of, publish, running, table_of
from tests.support.stores import Stores
from tests.support.stores import running as running_stores
from tests.support.waiting import until

TOPICS = ["graph tree node edge path", "flour water salt dough oven", "sail mast wind sea rope", "chord key scale tone"]
LEASE = {"BRAIN2_RELINK_LEASE_SECONDS": "1"}


@pytest.fixture(scope="module")
async def stores(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    """Stores of this file's own: the long poll of a killed process may still take messages, which nobody gets."""
    async with running_stores(tmp_path_factory.mktemp("stores")) as found:
        yield found


def write(peers: FakePeers, user: str, count: int) -> None:
    rng = random.Random(7)
    for n in range(count):
        words = [*rng.choices(TOPICS[n % len(TOPICS)].split(), k=8), f"own{n}", f"Title{rng.randrange(count)}"]
        peers.note(user, f"n{n:03}", f"Title{n}", " ".join(words))


@contextlib.asynccontextmanager
async def process(stores: Stores, peers: FakePeers) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service as a process of its own, which links at once and never relinks."""
    env = {
        "BRAIN2_LISTEN": "127.0.0.1:0",
        "BRAIN2_NODE_TARGET": peers.target,
        "BRAIN2_GRAPH_TARGET": peers.target,
        "BRAIN2_RELINK_QUIET_SECONDS": "600",
    }
    env = os.environ | stores.environment("similarity") | env | LEASE
    started = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.similarity_service", env=env)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def acknowledged(stores: Stores) -> bool:
    """Whether the queue is empty: nothing will be delivered again."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    async with stores.client("sqs") as sqs:
        url = config_of(stores).queue_url
        found = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names))["Attributes"]
    return all(int(found[name]) == 0 for name in names)


async def test_notes_are_relinked_although_the_process_that_indexed_them_was_killed(
    stores: Stores, peers: FakePeers, user: str
) -> None:
    write(peers, user, 60)
    async with table_of(stores) as table:

        async def heard() -> bool:
            page = await table.query(user_partition(user), begins_with=TERMS, count=True, consistent=True)
            return page.count == 60 and await acknowledged(stores)

        async def entries() -> list[str]:
            page = await table.query(user_partition(user), begins_with=RELINKS, consistent=True)
            return [item["SK"] for item in page.items]

        async with process(stores, peers) as first:
            await publish(stores, [event_of(note) for note in peers.notes[user].values()])
            await until(heard, seconds=60, what="all notes indexed and their events acknowledged")
            (entry,) = await entries()
            first.kill()
            await first.wait()
        linked_at_once = peers.pairs(user)

        async with running(stores, peers, **LEASE) as second:

            async def taken_over() -> bool:
                # The entry is replaced a moment before its notes wait.
                return entry not in await entries() and second.components.relinker.pending > 0

            await until(taken_over, what="the entry of the dead process taken over")
            await second.relinked()
            relinked = peers.pairs(user)
            request = pb.ReindexUserRequest(user_id=user, relink=True)
            assert [each async for each in second.stub.ReindexUser(request)][-1].finished
            assert peers.pairs(user) == relinked != linked_at_once


async def test_a_process_that_ends_leaves_its_rest_to_others_at_once(
    stores: Stores, peers: FakePeers, user: str
) -> None:
    write(peers, user, 20)
    async with running(stores, peers) as second:
        async with running(stores, peers, BRAIN2_RELINK_QUIET_SECONDS="600") as first:
            await first.hear(*(event_of(note) for note in peers.notes[user].values()))
        await second.components.relinker.renew_and_take_over()
        assert user in second.components.relinker.users
        await second.relinked()
        relinked = peers.pairs(user)
        async for _ in second.stub.ReindexUser(pb.ReindexUserRequest(user_id=user, relink=True)):
            pass
        assert peers.pairs(user) == relinked
