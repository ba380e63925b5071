"""The cache of existing notes and their titles."""

from collections.abc import Collection, Mapping

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


async def test_an_answer_that_an_invalidation_overtakes_is_not_cached() -> None:
    """The note was renamed, or purged, after the node service had read it."""

    class Overtaken(FakeDirectory):
        async def live_titles(self, user_id: str, node_ids: Collection[str]) -> Mapping[str, str]:
            found = await super().live_titles(user_id, node_ids)
            existence.invalidate("u", ["a"])
            existence.invalidate("v", ["b"])
            return found

    directory = Overtaken({"a": "A", "b": "B"})
    existence = Existence(directory, ManualClock())
    assert await existence.titles("u", ["a", "b"]) == {"a": "A", "b": "B"}
    del directory.titles["a"]
    assert await existence.titles("u", ["a", "b"]) == {"b": "B"}
    assert directory.asked == [["a", "b"], ["a"]], "the other note is cached"
