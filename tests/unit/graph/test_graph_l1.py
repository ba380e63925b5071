"""Memory: bounded by bytes, and nothing that was read before an invalidation ever gets in."""

import pytest

from services.graph_service.ports import HIDDEN, Block
from services.graph_service.usecases.l1 import L1, Entry
from tests.support.graph_fakes import FakeClock


def block(size: int = 10, stamp: int = 1) -> Block:
    return Block(stamp, 1, 0, b"x" * size)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def l1(clock: FakeClock) -> L1:
    made = L1(10_000, clock, ttl=60)
    made.reopen()
    return made


def keep(l1: L1, note: str, size: int = 10) -> Entry:
    entry = l1.put(l1.ticket("u", note), block(size), 1)
    assert entry is not None
    return entry


def test_what_was_kept_is_found(l1: L1) -> None:
    entry = keep(l1, "a")
    assert l1.get("u", "a") is entry
    assert l1.get("u", "b") is None
    assert l1.get("v", "a") is None
    assert (l1.counters.hits, l1.counters.misses) == (1, 2)


def test_it_never_holds_more_than_its_bytes_and_drops_the_coldest(l1: L1) -> None:
    for i in range(100):
        keep(l1, f"n{i}", 1000)
        l1.get("u", "n0")
        assert l1.size <= 10_000
    assert l1.get("u", "n0") is not None, "read all the while"
    assert l1.get("u", "n50") is None
    assert l1.counters.evictions == 100 - len(l1)


def test_an_entry_larger_than_everything_is_not_kept(l1: L1) -> None:
    assert l1.put(l1.ticket("u", "a"), block(20_000), 1) is None
    assert l1.size == 0


def test_an_invalidation_kills_the_entry_and_voids_the_reads_that_run(l1: L1) -> None:
    entry = keep(l1, "a")
    running, other = l1.ticket("u", "a"), l1.ticket("u", "b")
    l1.drop("u", "a")
    assert not entry.alive
    assert l1.get("u", "a") is None
    assert l1.put(running, block(), 2) is None
    assert l1.put(other, block(), 2) is not None
    assert l1.put(l1.ticket("u", "a"), block(), 3) is not None, "a read that began afterwards"


def test_closed_it_serves_and_takes_nothing(l1: L1) -> None:
    keep(l1, "a")
    running = l1.ticket("u", "a")
    l1.close()
    assert (l1.get("u", "a"), len(l1), l1.size) == (None, 0, 0)
    assert l1.put(l1.ticket("u", "a"), block(), 1) is None
    l1.reopen()
    assert l1.put(running, block(), 1) is None, "it began before the channel was lost"
    assert l1.get("u", "a") is None


def test_entries_expire_whatever_happens(l1: L1, clock: FakeClock) -> None:
    keep(l1, "a")
    clock.advance(59)
    assert l1.get("u", "a") is not None
    clock.advance(2)
    assert l1.get("u", "a") is None


def answered(l1: L1) -> tuple[Entry, Entry]:
    entry, hidden = keep(l1, "a"), keep(l1, HIDDEN)
    l1.put_answer(b"request", b"answer", entry, hidden)
    return entry, hidden


def test_a_ready_answer_lives_as_long_as_both_lists(l1: L1, clock: FakeClock) -> None:
    answered(l1)
    assert l1.answer(b"request") == b"answer"
    assert l1.answer(b"other") is None
    l1.drop("u", "a")
    assert l1.answer(b"request") is None
    answered(l1)
    l1.drop("u", HIDDEN)
    assert l1.answer(b"request") is None
    answered(l1)
    clock.advance(61)
    assert l1.answer(b"request") is None


def test_an_answer_of_a_dead_list_is_not_kept(l1: L1) -> None:
    entry, hidden = keep(l1, "a"), keep(l1, HIDDEN)
    l1.drop("u", "a")
    l1.put_answer(b"request", b"answer", entry, hidden)
    assert l1.answer(b"request") is None


def test_answers_count_and_go_with_their_entry(l1: L1) -> None:
    entry, hidden = keep(l1, "a"), keep(l1, HIDDEN)
    before = l1.size
    l1.put_answer(b"request", b"x" * 500, entry, hidden)
    assert l1.size > before + 500
    l1.drop("u", "a")
    l1.drop("u", HIDDEN)
    assert l1.size == 0


def test_turned_off_it_holds_nothing(clock: FakeClock) -> None:
    l1 = L1(0, clock)
    l1.reopen()
    assert l1.put(l1.ticket("u", "a"), block(), 1) is None


def test_tickets_that_stored_nothing_leave_nothing(l1: L1) -> None:
    for _ in range(3):
        l1.discard(l1.ticket("u", "a"))
    assert l1._tickets == {}


def test_the_hidden_set_is_decoded_once(l1: L1) -> None:
    entry = l1.put(l1.ticket("u", HIDDEN), Block(1, 2, 0, b"a\nb"), 1)
    assert entry is not None
    assert entry.hidden == {"a", "b"}
