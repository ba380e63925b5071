"""The cache of existing notes and their titles."""

from services.graph_service.usecases.existence import Existence
from tests.support.clock import ManualClock
from tests.support.graph_fakes import FakeDirectory


async def test_existing_notes_are_cached_for_a_while_missing_ones_are_not() -> None:
    clock, directory = ManualClock(), FakeDirectory({"a": "A"})
    existence = Existence(directory, clock, ttl=30)
    assert await existence.missing("u", ["a", "b", "a"]) == ["b"]
    directory.titles["b"] = "B"
    assert await existence.missing("u", ["a", "b"]) == []
    assert directory.asked == [["a", "b"], ["b"]]
    clock.move(31)
    assert await existence.titles("u", ["a"]) == {"a": "A"}
    assert directory.asked[-1] == ["a"]
    existence.invalidate("u", ["a"])
    del directory.titles["a"]
    assert await existence.missing("u", ["a"]) == ["a"]


async def test_the_cache_is_bounded() -> None:
    existence = Existence(FakeDirectory(), ManualClock(), max_entries=10)
    for i in range(100):
        existence.put("u", f"n{i}", "T")
    assert await existence.missing("u", ["n99", "n0"]) == ["n0"]
    assert len(existence._entries) == 10
