"""The order of a write: begin, commit, finish; and what remains wherever it stops."""

import asyncio
import gc
from dataclasses import dataclass

import pytest

from services.graph_service.convert import WireCodec
from services.graph_service.model.edge import NewEdge, first_version
from services.graph_service.ports import (
    CacheState,
    ChangeType,
    EdgeChange,
    Invalidation,
    JournalEntry,
    Rejection,
    Write,
    WriteRejected,
)
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.freshness import Freshness
from services.graph_service.usecases.list_filler import ListFiller
from services.graph_service.usecases.list_lookup import ListLookup
from services.graph_service.usecases.memory_cache import MemoryCache
from shared.errors import Brain2Error, DeadlineExceeded, InvalidArgument, Unavailable
from tests.support.clock import ManualClock
from tests.support.graph_fakes import FakeIds, FakeLists, FakeStore
from tests.support.turns import turns_during

STALE = Invalidation("u", (("a", "b#related"), ("b", "a#related")), (b"entry",))


@dataclass
class Components:
    store: FakeStore
    cache: FakeLists
    committer: Committer

    async def commit(self, journal: JournalEntry | None) -> str:
        await self.store.commit(Write("u", journal=journal))
        return "done"

    async def states(self) -> list[object]:
        return list(await self.cache.read("u", ["a", "b"]))


@pytest.fixture
def components() -> Components:
    store, cache, clock = FakeStore(), FakeLists(), ManualClock()
    memory, freshness, codec = MemoryCache(0, clock), Freshness(cache, clock), WireCodec()
    lookup = ListLookup(memory, cache, ListFiller(store, cache, memory, codec, freshness, clock), freshness)
    committer = Committer(store, cache, lookup, codec, FakeIds(), clock, commit_seconds=0.2)
    return Components(store, cache, committer)


async def lose_the_caller(components: Components, trouble: Exception | None = None) -> None:
    """Cancel the caller of a write while it is committed, and wait for its end. trouble: what the commit raises."""
    committing, go = asyncio.Event(), asyncio.Event()

    async def commit(journal: JournalEntry | None) -> None:
        committing.set()
        await go.wait()
        if trouble is not None:
            raise trouble

    call = asyncio.create_task(components.committer.run(STALE, commit))
    await committing.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go.set()
    await components.committer.drain()


async def test_begin_before_and_finish_after_the_commit(components: Components) -> None:
    seen: list[object] = []

    async def commit(journal: JournalEntry | None) -> None:
        seen.extend(await components.states())

    _, token = await components.committer.run(STALE, commit)
    assert seen == [CacheState.DIRTY, CacheState.DIRTY]
    assert await components.states() == [CacheState.MISSING, CacheState.MISSING]
    assert components.cache.feed == [b"entry"]
    assert (token.space, token.stamp) == ("space", components.cache.now - 1)
    assert token.concerns("a")


async def test_a_rejected_write_is_no_longer_pending_and_not_in_the_feed(components: Components) -> None:
    for trouble in (WriteRejected([Rejection("edge")]), InvalidArgument("no")):
        components.store.trouble = trouble
        with pytest.raises(type(trouble)):
            await components.committer.run(STALE, components.commit)
        assert await components.states() == [CacheState.MISSING, CacheState.MISSING]
    assert components.cache.feed == []


@pytest.mark.parametrize("trouble", [Unavailable("?"), DeadlineExceeded("?")])
async def test_a_write_of_unknown_outcome_stays_pending(components: Components, trouble: Brain2Error) -> None:
    components.store.trouble = trouble
    with pytest.raises(type(trouble)):
        await components.committer.run(STALE, components.commit)
    assert await components.states() == [CacheState.DIRTY, CacheState.DIRTY]


async def test_a_commit_that_takes_too_long_is_of_unknown_outcome(components: Components) -> None:
    async def never(journal: JournalEntry | None) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded):
        await components.committer.run(STALE, never)
    assert await components.states() == [CacheState.DIRTY, CacheState.DIRTY]


async def test_without_redis_the_transaction_carries_the_journal(components: Components) -> None:
    components.cache.away = True
    _, token = await components.committer.run(STALE, components.commit)
    assert token.stamp == 0, "a token that cannot be verified"
    (entry,) = components.store.journals.values()
    assert entry.invalidation == STALE
    assert components.store.writes[0].journal == entry, "in the same transaction"


async def test_a_write_before_redis_is_in_use_again_gives_a_token_that_can_not_be_verified(
    components: Components,
) -> None:
    """A process that has no space would take the stamp for one of its own clock, as it has none either."""
    components.cache.disable()  # the fake answers: its instance is identified, and the journal is replayed
    _, token = await components.committer.run(STALE, components.commit)
    assert token.stamp == 0


async def test_redis_that_goes_away_in_between_is_journaled_afterwards(components: Components) -> None:
    async def commit(journal: JournalEntry | None) -> None:
        assert journal is None
        components.cache.away = True

    await components.committer.run(STALE, commit)
    assert len(components.store.journals) == 1


async def test_redis_that_comes_back_in_between_receives_the_invalidation_and_the_journal_is_emptied(
    components: Components,
) -> None:
    components.cache.away = True

    async def commit(journal: JournalEntry | None) -> None:
        await components.commit(journal)
        components.cache.away = False

    _, token = await components.committer.run(STALE, commit)
    await components.committer.drain()
    assert token.stamp > 0
    assert components.store.journals == {}


async def test_a_caller_that_goes_away_leaves_a_whole_write(components: Components) -> None:
    await lose_the_caller(components)
    assert await components.states() == [CacheState.MISSING, CacheState.MISSING]


@pytest.mark.parametrize("trouble", [Unavailable("?"), WriteRejected([Rejection("edge")]), ValueError("?")])
async def test_a_write_that_fails_after_its_caller_has_gone_is_logged_once(
    components: Components, trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    unread: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unread.append(context))
    gc.collect()  # what earlier tests left behind
    unread.clear()
    await lose_the_caller(components, trouble)
    gc.collect()  # asyncio reports an exception that was never read when its task is collected
    assert unread == []
    assert [record.message for record in caplog.records] == ["a write failed after its caller had gone"]


async def test_a_large_write_is_described_in_slices(components: Components, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.resilience.slices._SECONDS", 0.0)
    edges = [first_version("u", NewEdge("hub", f"n{number}"), 1_000) for number in range(40)]
    changes = tuple(EdgeChange(ChangeType.CREATED, edge, edge) for edge in edges)
    assert await turns_during(components.committer.commit_edges(Write("u", changes=changes))) >= 40
