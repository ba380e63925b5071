"""Redis is read only after the journal is replayed."""

import pytest

from services.graph_service.convert import WireCodec
from services.graph_service.ports import Invalidation, JournalEntry, PackedList
from services.graph_service.usecases.cache_recovery import CacheRecovery
from services.graph_service.usecases.freshness import Freshness
from services.graph_service.usecases.list_filler import ListFiller
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.memory_cache import MemoryCache
from tests.support.clock import ManualClock
from tests.support.graph_fakes import FakeLists, FakeStore

STALE = Invalidation("u", (("a", "b#related"), ("b", "a#related")), (b"entry",))
World = tuple[FakeStore, FakeLists, CacheRecovery]


@pytest.fixture
def world() -> World:
    store, cache, clock = FakeStore(), FakeLists(), ManualClock()
    memory, freshness = MemoryCache(0, clock), Freshness(cache, clock)
    lookup = ListLookup(memory, cache, ListFiller(store, cache, memory, WireCodec(), freshness, clock), freshness)
    return store, cache, CacheRecovery(store, cache, lookup)


async def test_the_journal_is_replayed_before_redis_is_enabled(world: World) -> None:
    store, cache, recovery = world
    cache.disable()
    store.journals["j"] = JournalEntry("j", STALE)
    cache.away = True
    await recovery.step()
    assert cache.space == ""
    assert store.journals
    cache.away = False
    cache.calls.clear()
    await recovery.step()
    assert cache.space == "space"
    assert store.journals == {}
    assert cache.calls == ["check_instance", "identify_instance", "finish"]
    assert cache.feed == [b"entry"]


async def test_entries_of_other_processes_are_replayed_while_redis_is_enabled(world: World) -> None:
    """A process that alone has lost Redis writes them; the others deliver the invalidations."""
    store, cache, recovery = world
    store.journals["j"] = JournalEntry("j", STALE)
    await recovery.step()
    assert store.journals == {}
    assert set(cache.published) == {"a", "b"}


async def test_memory_is_emptied_for_another_instance_whose_clock_may_differ() -> None:
    """A token holds a time of the new instance; the stamps of the lists in memory are times of the former one."""
    store, cache, clock = FakeStore(), FakeLists(), ManualClock()
    memory, freshness = MemoryCache(1_000_000, clock), Freshness(cache, clock)
    lookup = ListLookup(memory, cache, ListFiller(store, cache, memory, WireCodec(), freshness, clock), freshness)
    recovery = CacheRecovery(store, cache, lookup)
    cache.disable()
    await recovery.step()
    memory.reopen()
    await lookup.find("u", ("a",))
    assert memory.get("u", "a") is not None
    cache.disable()
    await recovery.step()
    assert memory.get("u", "a") is not None, "the same instance answers again"
    reading = memory.ticket("u", "b")
    cache.disable()
    cache.instance = "another"
    await recovery.step()
    assert memory.get("u", "a") is None
    assert memory.put(reading, PackedList(1, 0, 0, b""), 1) is None
    await lookup.find("u", ("a",))
    assert memory.get("u", "a") is not None
