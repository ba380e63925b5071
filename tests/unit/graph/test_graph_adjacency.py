"""How a list is found: one read for many, never a stale one, and always an answer."""

import asyncio
from dataclasses import dataclass

import pytest

from services.graph_service.convert import WireCodec
from services.graph_service.model.edge import NewEdge, born
from services.graph_service.model.token import Token, token_for
from services.graph_service.ports import Touched
from services.graph_service.usecases.adjacency import Adjacency, Limits
from services.graph_service.usecases.l1 import L1
from tests.support.graph_fakes import FakeClock, FakeLists, FakeStore

CODEC = WireCodec()


@dataclass
class Parts:
    store: FakeStore
    cache: FakeLists
    l1: L1
    clock: FakeClock
    adjacency: Adjacency

    def link(self, a: str, b: str) -> None:
        edge = born("u", NewEdge(a, b), 1)
        self.store.stored[edge.key] = edge

    async def neighbors(self, note: str, token: Token | None = None) -> list[str]:
        look = await self.adjacency.look("u", (note,), token)
        block = look.found[note].block
        assert block is not None
        return [n.node for n in CODEC.unpack(block.packed) if n.node not in look.hidden]

    def token(self, stamp: int, *notes: str, space: str = "space") -> Token:
        return token_for(space, stamp, self.clock.ms, set(notes))


@pytest.fixture
def parts() -> Parts:
    store, cache, clock = FakeStore(), FakeLists(), FakeClock()
    l1 = L1(100_000, clock)
    l1.reopen()

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        await asyncio.sleep(0)

    return Parts(store, cache, l1, clock, Adjacency(store, cache, l1, CODEC, clock, Limits(), sleep=sleep))


async def test_memory_then_redis_then_dynamodb(parts: Parts) -> None:
    parts.link("a", "b")
    assert await parts.neighbors("a") == ["b"]
    assert parts.store.reads.count("a") == 1
    parts.cache.calls.clear()
    assert await parts.neighbors("a") == ["b"]
    assert parts.cache.calls == [], "memory"
    parts.l1.close()
    parts.l1.reopen()
    assert await parts.neighbors("a") == ["b"]
    assert parts.cache.calls == ["read"], "one round trip for the list and the hidden set"
    assert parts.store.reads.count("a") == 1


async def test_concurrent_misses_are_one_read(parts: Parts) -> None:
    parts.link("a", "b")
    parts.store.hold = asyncio.Event()
    readers = [asyncio.create_task(parts.neighbors("a")) for _ in range(50)]
    while "a" not in parts.store.reads:
        await asyncio.sleep(0)
    parts.store.hold.set()
    assert await asyncio.gather(*readers) == [["b"]] * 50
    assert parts.store.reads.count("a") == 1


async def test_a_read_that_a_write_overtook_is_not_shared_nor_kept(parts: Parts) -> None:
    parts.store.hold = asyncio.Event()
    early = asyncio.create_task(parts.neighbors("a"))
    while "a" not in parts.store.reads:
        await asyncio.sleep(0)
    parts.link("a", "b")
    stamp = await parts.cache.finish(Touched("u", (("a", "b#related"),)), "w")
    parts.adjacency.invalidate("u", ["a"])
    late = asyncio.create_task(parts.neighbors("a"))
    while parts.store.reads.count("a") < 2:
        await asyncio.sleep(0)
    parts.store.hold.set()
    assert await early == []
    assert await late == ["b"]
    assert await parts.neighbors("a", parts.token(stamp, "a")) == ["b"]
    assert await parts.neighbors("a") == ["b"], "the early reader put nothing back"


async def test_a_token_is_satisfied_by_what_was_filled_after_its_write(parts: Parts) -> None:
    parts.link("a", "b")
    await parts.neighbors("a")
    reads = parts.store.reads.count("a")
    assert await parts.neighbors("a", parts.token(1, "a")) == ["b"]
    assert await parts.neighbors("a", parts.token(10_000, "other")) == ["b"], "not about this note"
    assert parts.store.reads.count("a") == reads
    assert await parts.neighbors("a", parts.token(parts.cache.now, "a")) == ["b"]
    assert parts.store.reads.count("a") == reads + 1, "too old: read again, and kept"
    assert await parts.neighbors("a", parts.token(parts.cache.now - 3, "a")) == ["b"]


@pytest.mark.parametrize(("stamp", "space"), [(0, "space"), (5, "another")])
async def test_a_token_that_cannot_be_verified_asks_dynamodb_each_time(parts: Parts, stamp: int, space: str) -> None:
    await parts.neighbors("a")
    token = parts.token(stamp, "a", space=space)
    for count in (2, 3):
        await parts.neighbors("a", token)
        assert parts.store.reads.count("a") == count
    parts.clock.advance(2 * 3600)
    await parts.neighbors("a")
    reads = parts.store.reads.count("a")
    await parts.neighbors("a", token)
    assert parts.store.reads.count("a") == reads, "older than anything that can still be cached"


async def test_without_redis_everything_is_read_and_nothing_kept(parts: Parts) -> None:
    parts.link("a", "b")
    parts.cache.away = True
    for count in (1, 2):
        assert await parts.neighbors("a") == ["b"]
        assert parts.store.reads.count("a") == count
    assert len(parts.l1) == 0


async def test_a_dirty_list_is_read_and_not_kept(parts: Parts) -> None:
    await parts.cache.begin(Touched("u", (("a", "b#related"),)), "w")
    parts.link("a", "b")
    assert await parts.neighbors("a") == ["b"]
    assert parts.l1.get("u", "a") is None
    assert await parts.neighbors("a") == ["b"]
    assert parts.store.reads.count("a") == 2


async def test_another_process_that_fills_is_waited_for_a_little(parts: Parts) -> None:
    parts.link("a", "b")
    await parts.cache.lease("u", "a")  # another process, which dies
    assert await parts.neighbors("a") == ["b"]
    assert parts.clock.seconds >= 0.05
    assert parts.l1.get("u", "a") is None


async def test_known_empty_is_not_read_again(parts: Parts) -> None:
    for _ in range(3):
        assert await parts.neighbors("nobody") == []
    assert parts.store.reads.count("nobody") == 1


async def test_many_lists_are_one_round_trip(parts: Parts) -> None:
    notes = [f"n{i}" for i in range(200)]
    await parts.adjacency.look("u", notes)
    parts.l1.close()
    parts.l1.reopen()
    parts.cache.calls.clear()
    look = await parts.adjacency.look("u", notes)
    assert parts.cache.calls == ["read"]
    assert list(look.found) == notes


async def test_a_long_list_is_a_hub_and_is_not_collected(parts: Parts) -> None:
    for i in range(600):
        parts.link("a", f"n{i:03}")
    found = (await parts.adjacency.look("u", ("a",))).found["a"]
    assert found.block is None
    assert not found.truth
    parts.cache.away = True
    parts.cache.space = ""
    assert (await parts.adjacency.look("u", ("a",))).found["a"].truth


async def test_hidden_notes_come_along(parts: Parts) -> None:
    parts.link("a", "b")
    parts.link("a", "c")
    parts.store.hidden_notes = ["b"]
    assert await parts.neighbors("a") == ["c"]
    assert await parts.adjacency.hidden("u") == {"b"}
