"""Memory: bounded by bytes, and nothing that was read before an invalidation ever gets in."""

import pytest

from services.graph_service.ports import HIDDEN, PackedList
from services.graph_service.usecases.memory_cache import Entry, MemoryCache
from tests.support.clock import ManualClock


def packed(size: int = 10, stamp: int = 1) -> PackedList:
    return PackedList(stamp, 1, 0, b"x" * size)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def memory(clock: ManualClock) -> MemoryCache:
    made = MemoryCache(10_000, clock, ttl=60)
    made.reopen()
    return made


def keep(memory: MemoryCache, note: str, size: int = 10) -> Entry:
    entry = memory.put(memory.ticket("u", note), packed(size), 1)
    assert entry is not None
    return entry


def test_what_was_kept_is_found(memory: MemoryCache) -> None:
    entry = keep(memory, "a")
    assert memory.get("u", "a") is entry
    assert memory.get("u", "b") is None
    assert memory.get("v", "a") is None
    assert (memory.counters.hits, memory.counters.misses) == (1, 2)


def test_it_never_holds_more_than_its_bytes_and_drops_the_coldest(memory: MemoryCache) -> None:
    for i in range(100):
        keep(memory, f"n{i}", 1000)
        memory.get("u", "n0")
        assert memory.size <= 10_000
    assert memory.get("u", "n0") is not None, "read all the while"
    assert memory.get("u", "n50") is None
    assert memory.counters.evictions == 100 - len(memory)


def test_an_entry_larger_than_everything_is_not_kept(memory: MemoryCache) -> None:
    assert memory.put(memory.ticket("u", "a"), packed(20_000), 1) is None
    assert memory.size == 0


def test_an_invalidation_kills_the_entry_and_voids_the_reads_that_run(memory: MemoryCache) -> None:
    entry = keep(memory, "a")
    running, other = memory.ticket("u", "a"), memory.ticket("u", "b")
    memory.invalidate("u", "a")
    assert not entry.alive
    assert memory.get("u", "a") is None
    assert memory.put(running, packed(), 2) is None
    assert memory.put(other, packed(), 2) is not None
    assert memory.put(memory.ticket("u", "a"), packed(), 3) is not None, "a read that began afterwards"


def test_closed_it_serves_and_takes_nothing(memory: MemoryCache) -> None:
    keep(memory, "a")
    running = memory.ticket("u", "a")
    memory.close()
    assert (memory.get("u", "a"), len(memory), memory.size) == (None, 0, 0)
    assert memory.put(memory.ticket("u", "a"), packed(), 1) is None
    memory.reopen()
    assert memory.put(running, packed(), 1) is None, "it began before the channel was lost"
    assert memory.get("u", "a") is None


def test_entries_expire_whatever_happens(memory: MemoryCache, clock: ManualClock) -> None:
    keep(memory, "a")
    clock.move(59)
    assert memory.get("u", "a") is not None
    clock.move(2)
    assert memory.get("u", "a") is None


def response(memory: MemoryCache) -> tuple[Entry, Entry]:
    entry, hidden = keep(memory, "a"), keep(memory, HIDDEN)
    memory.put_response(b"request", b"answer", entry, hidden)
    return entry, hidden


def test_a_ready_answer_lives_as_long_as_both_lists(memory: MemoryCache, clock: ManualClock) -> None:
    response(memory)
    assert memory.response(b"request") == b"answer"
    assert memory.response(b"other") is None
    memory.invalidate("u", "a")
    assert memory.response(b"request") is None
    response(memory)
    memory.invalidate("u", HIDDEN)
    assert memory.response(b"request") is None
    response(memory)
    clock.move(61)
    assert memory.response(b"request") is None


def test_an_answer_of_a_dead_list_is_not_kept(memory: MemoryCache) -> None:
    entry, hidden = keep(memory, "a"), keep(memory, HIDDEN)
    memory.invalidate("u", "a")
    memory.put_response(b"request", b"answer", entry, hidden)
    assert memory.response(b"request") is None


def test_answers_count_and_go_with_their_entry(memory: MemoryCache) -> None:
    entry, hidden = keep(memory, "a"), keep(memory, HIDDEN)
    before = memory.size
    memory.put_response(b"request", b"x" * 500, entry, hidden)
    assert memory.size > before + 500
    memory.invalidate("u", "a")
    memory.invalidate("u", HIDDEN)
    assert memory.size == 0


def test_an_answer_that_replaces_another_counts_by_its_size(memory: MemoryCache) -> None:
    entry, hidden = keep(memory, "a"), keep(memory, HIDDEN)
    memory.put_response(b"request", b"x", entry, hidden)
    memory.invalidate("u", HIDDEN)
    empty = memory.size
    hidden = keep(memory, HIDDEN)
    before = memory.size
    memory.put_response(b"request", b"x" * 501, entry, hidden)
    assert memory.size == before + 500
    memory.put_response(b"request", b"x", entry, hidden)
    assert memory.size == before
    memory.invalidate("u", HIDDEN)
    assert memory.size == empty


def test_turned_off_it_holds_nothing(clock: ManualClock) -> None:
    memory = MemoryCache(0, clock)
    memory.reopen()
    assert memory.put(memory.ticket("u", "a"), packed(), 1) is None


def test_tickets_that_stored_nothing_leave_nothing(memory: MemoryCache) -> None:
    for _ in range(3):
        memory.discard(memory.ticket("u", "a"))
    assert memory._tickets == {}


def test_the_hidden_set_is_decoded_once(memory: MemoryCache) -> None:
    entry = memory.put(memory.ticket("u", HIDDEN), PackedList(1, 2, 0, b"a\nb"), 1)
    assert entry is not None
    assert entry.hidden == {"a", "b"}


def test_a_long_request_is_no_key(memory: MemoryCache) -> None:
    entry, hidden = keep(memory, "a"), keep(memory, HIDDEN)
    memory.put_response(b"k" * 1024, b"response", entry, hidden)
    assert memory.response(b"k" * 1024) == b"response"
    size = memory.size
    memory.put_response(b"k" * 1025, b"response", entry, hidden)
    assert memory.response(b"k" * 1025) is None
    assert memory.size == size
