"""The order of a write: mark, commit, tell; and what is left behind wherever it stops."""

import asyncio
from dataclasses import dataclass

import pytest

from services.graph_service.convert import WireCodec
from services.graph_service.ports import CacheState, Invalidation, JournalEntry, Rejection, Write, WriteRejected
from services.graph_service.usecases.cache_recovery import CacheRecovery
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.freshness import Freshness
from services.graph_service.usecases.list_filler import ListFiller
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.memory_cache import MemoryCache
from shared.errors import Brain2Error, DeadlineExceeded, InvalidArgument, Unavailable
from tests.support.graph_fakes import FakeClock, FakeIds, FakeLists, FakeStore

TOUCHED = Invalidation("u", (("a", "b#related"), ("b", "a#related")), (b"entry",))


@dataclass
class Components:
    store: FakeStore
    cache: FakeLists
    committer: Committer
    recovery: CacheRecovery

    async def commit(self, journal: JournalEntry | None) -> str:
        await self.store.commit(Write("u", journal=journal))
        return "done"

    async def states(self) -> list[object]:
        return list(await self.cache.read("u", ["a", "b"]))


@pytest.fixture
def components() -> Components:
    store, cache, clock = FakeStore(), FakeLists(), FakeClock()
    memory, freshness, codec = MemoryCache(0, clock), Freshness(cache, clock), WireCodec()
    lookup = ListLookup(memory, cache, ListFiller(store, cache, memory, codec, freshness, clock), freshness)
    committer = Committer(store, cache, lookup, codec, FakeIds(), clock, commit_seconds=0.2)
    return Components(store, cache, committer, CacheRecovery(store, cache, lookup))


async def test_marked_before_and_told_after(components: Components) -> None:
    seen: list[object] = []

    async def commit(journal: JournalEntry | None) -> None:
        seen.extend(await components.states())

    _, token = await components.committer.run(TOUCHED, commit)
    assert seen == [CacheState.DIRTY, CacheState.DIRTY]
    assert await components.states() == [CacheState.MISSING, CacheState.MISSING]
    assert components.cache.feed == [b"entry"]
    assert (token.space, token.stamp) == ("space", components.cache.now - 1)
    assert token.concerns("a")


async def test_a_refused_write_takes_its_mark_away_and_tells_no_change(components: Components) -> None:
    for trouble in (WriteRejected([Rejection("edge")]), InvalidArgument("no")):
        components.store.trouble = trouble
        with pytest.raises(type(trouble)):
            await components.committer.run(TOUCHED, components.commit)
        assert await components.states() == [CacheState.MISSING, CacheState.MISSING]
    assert components.cache.feed == []


@pytest.mark.parametrize("trouble", [Unavailable("?"), DeadlineExceeded("?")])
async def test_a_write_of_unknown_outcome_leaves_its_mark(components: Components, trouble: Brain2Error) -> None:
    components.store.trouble = trouble
    with pytest.raises(type(trouble)):
        await components.committer.run(TOUCHED, components.commit)
    assert await components.states() == [CacheState.DIRTY, CacheState.DIRTY]


async def test_a_commit_that_takes_too_long_is_of_unknown_outcome(components: Components) -> None:
    async def never(journal: JournalEntry | None) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded):
        await components.committer.run(TOUCHED, never)
    assert await components.states() == [CacheState.DIRTY, CacheState.DIRTY]


async def test_without_redis_the_transaction_carries_the_journal(components: Components) -> None:
    components.cache.away = True
    _, token = await components.committer.run(TOUCHED, components.commit)
    assert token.stamp == 0, "nobody can verify it: reads with it ask DynamoDB"
    (entry,) = components.store.journals.values()
    assert entry.invalidation == TOUCHED
    assert components.store.writes[0].journal == entry, "in the same transaction"


async def test_redis_that_goes_away_in_between_is_journaled_afterwards(components: Components) -> None:
    async def commit(journal: JournalEntry | None) -> None:
        assert journal is None
        components.cache.away = True

    await components.committer.run(TOUCHED, commit)
    assert len(components.store.journals) == 1


async def test_redis_that_comes_back_in_between_is_told_and_the_journal_emptied(components: Components) -> None:
    components.cache.away = True

    async def commit(journal: JournalEntry | None) -> None:
        await components.commit(journal)
        components.cache.away = False

    _, token = await components.committer.run(TOUCHED, commit)
    await components.committer.drain()
    assert token.stamp > 0
    assert components.store.journals == {}


async def test_a_caller_that_goes_away_leaves_a_whole_write(components: Components) -> None:
    committing, go = asyncio.Event(), asyncio.Event()

    async def commit(journal: JournalEntry | None) -> None:
        committing.set()
        await go.wait()

    call = asyncio.create_task(components.committer.run(TOUCHED, commit))
    await committing.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go.set()
    await components.committer.drain()
    assert await components.states() == [CacheState.MISSING, CacheState.MISSING]


# ---------------------------------------------------------------------------------------------- the guard
async def test_the_journal_is_replayed_before_redis_is_trusted(components: Components) -> None:
    components.cache.disable()
    components.store.journals["j"] = JournalEntry("j", TOUCHED)
    components.cache.away = True
    await components.recovery.step()
    assert components.cache.space == ""
    assert components.store.journals
    components.cache.away = False
    components.cache.calls.clear()
    await components.recovery.step()
    assert components.cache.space == "space"
    assert components.store.journals == {}
    assert components.cache.calls == ["check_instance", "identify_instance", "finish"]
    assert components.cache.feed == [b"entry"]


async def test_others_entries_are_replayed_while_redis_is_trusted(components: Components) -> None:
    """A process that is cut off by itself writes them; those that aren't do the telling."""
    components.store.journals["j"] = JournalEntry("j", TOUCHED)
    await components.recovery.step()
    assert components.store.journals == {}
    assert set(components.cache.published) == {"a", "b"}
