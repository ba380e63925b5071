"""Two replicas over the same stores: the same answers, the same links, users apart, and Redis may fail."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protos.similarity.v1 import similarity_pb2 as pb
from tests.support import durable_valkey
from tests.support.similarity_peers import FakePeers, fake_peers
from tests.support.similarity_service import SimilarityService, event_of, running
from tests.support.stores import Stores, fresh_user
from tests.support.waiting import until

TOPICS = ["graph tree node edge path", "flour water salt dough oven", "sail mast wind sea rope", "chord key scale tone"]


@pytest.fixture(scope="module")
async def pair(stores: Stores, peers: FakePeers) -> AsyncIterator[list[SimilarityService]]:
    async with running(stores, peers) as one, running(stores, peers) as two:
        yield [one, two]


def write(peers: FakePeers, user: str, count: int) -> None:
    rng = random.Random(7)
    for n in range(count):
        words = [*rng.choices(TOPICS[n % len(TOPICS)].split(), k=8), f"own{n}", f"Title{rng.randrange(count)}"]
        peers.note(user, f"n{n:03}", f"Title{n}", " ".join(words))


async def import_all(peers: FakePeers, user: str, services: list[SimilarityService], seed: int) -> None:
    """All notes at once, in some order, shared out to the replicas."""
    rng = random.Random(seed)
    events = [event_of(note) for note in peers.notes[user].values()]
    rng.shuffle(events)
    await asyncio.gather(*(rng.choice(services).hear(event) for event in events))
    for service in services:
        await service.relinked()


async def test_two_replicas_give_the_same_links_as_one(pair: list[SimilarityService], peers: FakePeers) -> None:
    users = [fresh_user() for _ in range(3)]
    for user in users:
        write(peers, user, 40)
    await import_all(peers, users[0], pair[:1], seed=1)
    await import_all(peers, users[1], pair, seed=2)
    await import_all(peers, users[2], pair, seed=3)
    first = peers.pairs(users[0])
    assert len(first) > 15
    # Each relinks again when its index shows what the other wrote after it.
    await until(lambda: peers.pairs(users[1]) == first, what="the same links from two replicas")
    await until(lambda: peers.pairs(users[2]) == first, what="the same links from two replicas")


async def test_what_one_replica_writes_the_other_answers(pair: list[SimilarityService], peers: FakePeers) -> None:
    user = fresh_user()
    one, two = pair
    assert await two.search(user, "fern") == []
    note = peers.note(user, "a", "Ferns", "A fern grows by spores")
    await one.hear(event_of(note))
    assert await two.search(user, "fern") == ["a"]
    peers.has(user, "a", 2, hidden=True)
    request = pb.SetNodeVisibilityRequest(user_id=user, node_id="a", version=2, visible=False)
    await one.stub.SetNodeVisibility(request)
    assert await two.search(user, "fern") == []


async def test_what_is_announced_to_one_replica_the_other_answers(
    pair: list[SimilarityService], peers: FakePeers
) -> None:
    user = fresh_user()
    one, two = pair
    note = peers.note(user, "a", "Ferns", "A fern grows by spores")
    await one.hear(event_of(note))
    change: Any = {"user_id": user, "node_id": "a", "version": 2, "incarnation": note.incarnation}

    async def announce(announcement_id: str, *, withdraw: bool = False) -> bool:
        request = pb.AnnounceNodeVisibilityRequest(**change, announcement_id=announcement_id, withdraw=withdraw)
        return bool((await one.stub.AnnounceNodeVisibility(request)).announced)

    async def shown() -> list[list[str]]:
        return [await service.search(user, "fern") for service in pair]

    assert await shown() == [["a"], ["a"]]
    assert await announce("first")
    assert await shown() == [[], []]
    assert not await announce("first", withdraw=True)
    assert await shown() == [["a"], ["a"]]
    assert await announce("second")
    await two.stub.SetNodeVisibility(pb.SetNodeVisibilityRequest(**change, visible=False))
    assert await shown() == [[], []]
    # What is stored is not withdrawn.
    assert not await announce("second", withdraw=True)
    assert await shown() == [[], []]


async def test_no_user_ever_meets_anothers_notes(pair: list[SimilarityService], peers: FakePeers) -> None:
    """Random users who write about the same things, and ask everything, on both replicas, at once."""
    rng = random.Random(5)
    users = [fresh_user() for _ in range(6)]
    for number, user in enumerate(users):
        for n in range(rng.randrange(1, 6)):
            # The same words and titles for all, the ids tell whose they are.
            peers.note(user, f"u{number}-{n}", f"Ferns {n}", f"fern spores wood {rng.choice(TOPICS)}", "plants")
    events = [event_of(note) for user in users for note in peers.notes[user].values()]
    rng.shuffle(events)
    await asyncio.gather(*(rng.choice(pair).hear(event) for event in events))

    async def ask(number: int, service: SimilarityService) -> None:
        user, own = users[number], set(peers.notes[users[number]])
        stub = service.stub
        seen = set(await service.search(user, "fern"))
        assert seen == own
        listed = await stub.ListNodesByKeyword(pb.ListNodesByKeywordRequest(user_id=user, keyword="fern"))
        seen |= {each.node_id for each in listed.nodes}
        similar = await stub.FindSimilar(pb.FindSimilarRequest(user_id=user, text="fern spores", title="Ferns 0"))
        seen |= {each.node_id for each in similar.nodes}
        for node_id in own:
            seen |= set(await service.similar(user, node_id))
            suggested = await stub.SuggestLinks(pb.SuggestLinksRequest(user_id=user, node_id=node_id))
            seen |= {each.node_id for each in suggested.nodes}
        assert seen == own
        counts = await stub.ListKeywords(pb.ListKeywordsRequest(user_id=user))
        assert max((each.nodes for each in counts.keywords), default=0) <= len(own)
        words = await stub.ExtractKeywords(pb.ExtractKeywordsRequest(user_id=user, text="fern", limit=1))
        assert words.keywords[0].document_frequency == len(own)
        strangers = users[(number + 1) % len(users)]
        assert not any([await service.indexed(user, node_id) for node_id in peers.notes[strangers]])

    await asyncio.gather(*(ask(number, rng.choice(pair)) for number in range(len(users)) for _ in range(3)))
    for service in pair:
        await service.relinked()
    for number, user in enumerate(users):
        assert {each for edge in peers.pairs(user) for each in edge} <= {f"u{number}-{n}" for n in range(6)}


async def test_redis_may_fail_and_come_back(stores: Stores, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(durable_valkey.running(tmp_path))
        peers = await stack.enter_async_context(fake_peers())
        env = {"REDIS_URL": valkey.url}
        one = await stack.enter_async_context(running(stores, peers, **env))
        two = await stack.enter_async_context(running(stores, peers, **env))
        user = fresh_user()
        await one.hear(event_of(peers.note(user, "a", "Ferns", "A fern grows by spores")))
        assert await two.search(user, "fern") == ["a"]

        await valkey.kill()
        await one.hear(event_of(peers.note(user, "b", "Fern tree", "A fern as a tree")))
        assert set(await one.search(user, "fern")) == {"a", "b"}

        async def seen() -> bool:
            return set(await two.search(user, "fern")) == {"a", "b"}

        await until(seen, what="the other's note without Redis")

        await valkey.start()
        await one.hear(event_of(peers.note(user, "c", "Fern wood", "ferns in the wood")))

        async def exact() -> bool:
            return set(await two.search(user, "fern")) == {"a", "b", "c"}

        await until(exact, what="the log at work again")
        assert set(await one.search(user, "fern")) == {"a", "b", "c"}
