"""How a list is found: one read for many, never a stale one, and always an answer."""

import asyncio
from dataclasses import dataclass

import pytest

from services.graph_service.convert import WireCodec
from services.graph_service.model.consistency_token import Token, token_for
from services.graph_service.model.edge import NewEdge, first_version
from services.graph_service.ports import Invalidation, PackedList
from services.graph_service.usecases.freshness import Freshness
from services.graph_service.usecases.limits import Limits
from services.graph_service.usecases.list_filler import ListFiller
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.memory_cache import MemoryCache
from tests.support.clock import ManualClock
from tests.support.graph_fakes import FakeLists, FakeStore
from tests.support.turns import turns_during

CODEC = WireCodec()


@dataclass
class Components:
    store: FakeStore
    cache: FakeLists
    memory: MemoryCache
    clock: ManualClock
    lookup: ListLookup

    def add_edge(self, a: str, b: str) -> None:
        edge = first_version("u", NewEdge(a, b), 1)
        self.store.stored[edge.key] = edge

    async def neighbors(self, note: str, token: Token | None = None) -> list[str]:
        result = await self.lookup.find("u", (note,), token)
        block = result.lists[note].packed_list
        assert block is not None
        return [n.node_id for n in CODEC.unpack(block.packed) if n.node_id not in result.hidden]

    def token(self, stamp: int, *notes: str, space: str = "space") -> Token:
        return token_for(space, stamp, self.clock.ms, set(notes))


@pytest.fixture
def components() -> Components:
    store, cache, clock = FakeStore(), FakeLists(), ManualClock()
    memory = MemoryCache(100_000, clock)
    memory.reopen()

    async def sleep(seconds: float) -> None:
        clock.move(seconds)
        await asyncio.sleep(0)

    freshness = Freshness(cache, clock)
    filler = ListFiller(store, cache, memory, CODEC, freshness, clock, Limits(), sleep=sleep)
    return Components(store, cache, memory, clock, ListLookup(memory, cache, filler, freshness))


async def test_memory_then_redis_then_dynamodb(components: Components) -> None:
    components.add_edge("a", "b")
    assert await components.neighbors("a") == ["b"]
    assert components.store.reads.count("a") == 1
    components.cache.calls.clear()
    assert await components.neighbors("a") == ["b"]
    assert components.cache.calls == [], "memory"
    components.memory.close()
    components.memory.reopen()
    assert await components.neighbors("a") == ["b"]
    assert components.cache.calls == ["read"], "one round trip for the list and the hidden set"
    assert components.store.reads.count("a") == 1


async def test_concurrent_misses_are_one_read(components: Components) -> None:
    components.add_edge("a", "b")
    components.store.hold = asyncio.Event()
    readers = [asyncio.create_task(components.neighbors("a")) for _ in range(50)]
    while "a" not in components.store.reads:
        await asyncio.sleep(0)
    components.store.hold.set()
    assert await asyncio.gather(*readers) == [["b"]] * 50
    assert components.store.reads.count("a") == 1


async def test_a_read_that_a_write_overtook_is_not_shared_nor_kept(components: Components) -> None:
    components.store.hold = asyncio.Event()
    early = asyncio.create_task(components.neighbors("a"))
    while "a" not in components.store.reads:
        await asyncio.sleep(0)
    components.add_edge("a", "b")
    stamp = await components.cache.finish(Invalidation("u", (("a", "b#related"),)), "w")
    components.lookup.invalidate("u", ["a"])
    late = asyncio.create_task(components.neighbors("a"))
    while components.store.reads.count("a") < 2:
        await asyncio.sleep(0)
    components.store.hold.set()
    assert await early == []
    assert await late == ["b"]
    assert await components.neighbors("a", components.token(stamp, "a")) == ["b"]
    assert await components.neighbors("a") == ["b"], "the early reader stored nothing"


async def test_a_token_is_satisfied_by_what_was_filled_after_its_write(components: Components) -> None:
    components.add_edge("a", "b")
    await components.neighbors("a")
    reads = components.store.reads.count("a")
    assert await components.neighbors("a", components.token(1, "a")) == ["b"]
    assert await components.neighbors("a", components.token(10_000, "other")) == ["b"], "not about this note"
    assert components.store.reads.count("a") == reads
    assert await components.neighbors("a", components.token(components.cache.now, "a")) == ["b"]
    assert components.store.reads.count("a") == reads + 1, "too old: read again, and kept"
    assert await components.neighbors("a", components.token(components.cache.now - 3, "a")) == ["b"]


@pytest.mark.parametrize(("stamp", "space"), [(0, "space"), (5, "another")])
async def test_a_token_that_cannot_be_verified_asks_dynamodb_each_time(
    components: Components, stamp: int, space: str
) -> None:
    await components.neighbors("a")
    token = components.token(stamp, "a", space=space)
    for count in (2, 3):
        await components.neighbors("a", token)
        assert components.store.reads.count("a") == count
    components.clock.move(2 * 3600)
    await components.neighbors("a")
    reads = components.store.reads.count("a")
    await components.neighbors("a", token)
    assert components.store.reads.count("a") == reads, "older than anything that can still be cached"


async def test_without_redis_everything_is_read_and_nothing_kept(components: Components) -> None:
    components.add_edge("a", "b")
    components.cache.away = True
    for count in (1, 2):
        assert await components.neighbors("a") == ["b"]
        assert components.store.reads.count("a") == count
    assert len(components.memory) == 0


async def test_a_dirty_list_is_read_and_not_kept(components: Components) -> None:
    await components.cache.begin(Invalidation("u", (("a", "b#related"),)), "w")
    components.add_edge("a", "b")
    assert await components.neighbors("a") == ["b"]
    assert components.memory.get("u", "a") is None
    assert await components.neighbors("a") == ["b"]
    assert components.store.reads.count("a") == 2


async def test_another_process_that_fills_is_waited_for_a_little(components: Components) -> None:
    components.add_edge("a", "b")
    await components.cache.lease("u", "a")  # another process, which dies
    assert await components.neighbors("a") == ["b"]
    assert components.clock.seconds >= 0.05
    assert components.memory.get("u", "a") is None


async def test_known_empty_is_not_read_again(components: Components) -> None:
    for _ in range(3):
        assert await components.neighbors("nobody") == []
    assert components.store.reads.count("nobody") == 1


async def test_many_lists_are_one_round_trip(components: Components) -> None:
    notes = [f"n{i}" for i in range(200)]
    await components.lookup.find("u", notes)
    components.memory.close()
    components.memory.reopen()
    components.cache.calls.clear()
    result = await components.lookup.find("u", notes)
    assert components.cache.calls == ["read"]
    assert list(result.lists) == notes


async def test_a_long_list_is_a_hub_and_is_not_collected(components: Components) -> None:
    for i in range(600):
        components.add_edge("a", f"n{i:03}")
    found = (await components.lookup.find("u", ("a",))).lists["a"]
    assert found.packed_list is None
    assert not found.dynamodb_only
    components.cache.away = True
    components.cache.space = ""
    assert (await components.lookup.find("u", ("a",))).lists["a"].dynamodb_only


async def test_hidden_notes_come_along(components: Components) -> None:
    components.add_edge("a", "b")
    components.add_edge("a", "c")
    components.store.hidden_notes = ["b"]
    assert await components.neighbors("a") == ["c"]
    assert await components.lookup.hidden("u") == {"b"}


async def test_a_lookup_does_not_wait_behind_a_lookup_of_many(components: Components) -> None:
    components.add_edge("a", "b")
    components.store.edges_between = 10_000
    components.store.hold = asyncio.Event()
    many = asyncio.create_task(components.lookup.find("u", [f"n{number}" for number in range(400)]))
    while len(components.store.reads) < Limits().reads // 2:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(components.store.reads) <= Limits().reads // 2 + 1  # the read of the hidden set is over already
    single = asyncio.create_task(components.neighbors("a"))
    while "a" not in components.store.reads:
        await asyncio.sleep(0)  # without reads that are left for it, the test runs into its time-out
    components.store.hold.set()
    assert await single == ["b"]
    assert len((await many).lists) == 400


async def test_a_user_whose_reads_take_long_leaves_reads_for_the_others(components: Components) -> None:
    components.store.hold = asyncio.Event()
    hot = [asyncio.create_task(components.lookup.find("hot", [f"n{number}"])) for number in range(100)]
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(components.store.reads) <= Limits().reads * 3 // 4 + 1
    other = asyncio.create_task(components.lookup.find("u", ["a"]))
    while "a" not in components.store.reads:
        await asyncio.sleep(0)  # without reads that are left for it, the test runs into its time-out
    components.store.hold.set()
    await asyncio.gather(other, *hot)


NOTES = ("a", "b", "c", "d", "e", "f")


async def test_lists_of_notes_that_lie_close_together_are_one_read(components: Components) -> None:
    for pair in ("ab", "bc", "ef"):
        components.add_edge(*pair)
    result = await components.lookup.find("u", NOTES)
    found = {
        note: [n.node_id for n in CODEC.unpack(list_.packed_list.packed)]
        for note, list_ in result.lists.items()
        if list_.packed_list
    }
    assert found == {"a": ["b"], "b": ["a", "c"], "c": ["b"], "d": [], "e": ["f"], "f": ["e"]}
    assert sorted(components.store.reads) == ["!hidden", "a to f"]
    assert all(isinstance(components.cache.states["u", note], PackedList) for note in NOTES), "stored in Redis"
    components.store.reads.clear()
    await components.lookup.find("u", NOTES)
    assert components.store.reads == [], "memory has them"


async def test_lists_of_notes_with_many_edges_between_them_are_read_each_by_itself(components: Components) -> None:
    for other in range(30):
        components.add_edge("bb", f"x{other}")
    await components.lookup.find("u", NOTES)
    assert sorted(components.store.reads) == ["!hidden", *NOTES]


async def test_more_edges_by_the_time_of_the_read(components: Components) -> None:
    components.store.edges_between = 0
    for other in range(60):
        components.add_edge("bb", f"x{other}")
    components.add_edge("a", "c")
    result = await components.lookup.find("u", NOTES)
    assert sorted(components.store.reads) == ["!hidden", "a", "a to f", "b", "c", "d", "e", "f"]
    assert result.lists["a"].packed_list is not None
    assert result.lists["a"].packed_list.size == 1


async def test_a_write_during_a_read_of_many_lists_leaves_nothing_stale(components: Components) -> None:
    components.store.hold = asyncio.Event()
    reader = asyncio.create_task(components.lookup.find("u", NOTES))
    while "a to f" not in components.store.reads:
        await asyncio.sleep(0)
    invalidation = Invalidation("u", (("a", "b"), ("b", "a")))
    await components.cache.begin(invalidation, "w")
    components.lookup.invalidate("u", ("a", "b"))
    components.add_edge("a", "b")
    await components.cache.finish(invalidation, "w")
    components.store.hold.set()
    await reader
    assert await components.neighbors("a") == ["b"]
    assert await components.neighbors("b") == ["a"]


async def test_many_lists_that_one_read_brings_are_packed_in_slices(
    components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.resilience.slices._SECONDS", 0.0)
    notes = [f"n{number:02}" for number in range(40)]
    for note in notes:
        components.add_edge(note, "z")
    assert await turns_during(components.lookup.find("u", notes)) >= 40
    assert [await components.neighbors(note) for note in notes] == [["z"]] * 40
    assert not set(components.store.reads) & set(notes), "one read for all of them"
