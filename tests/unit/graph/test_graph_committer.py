"""The order of a write: mark, commit, tell; and what is left behind wherever it stops."""

import asyncio
from dataclasses import dataclass

import pytest

from services.graph_service.convert import WireCodec
from services.graph_service.ports import Journal, Refusal, Refused, Told, Touched, Write
from services.graph_service.usecases.adjacency import Adjacency
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.guard import Guard
from services.graph_service.usecases.l1 import L1
from shared.errors import Brain2Error, DeadlineExceeded, InvalidArgument, Unavailable
from tests.support.graph_fakes import FakeClock, FakeIds, FakeLists, FakeStore

TOUCHED = Touched("u", (("a", "b#related"), ("b", "a#related")), (b"entry",))


@dataclass
class Parts:
    store: FakeStore
    cache: FakeLists
    committer: Committer
    guard: Guard

    async def commit(self, journal: Journal | None) -> str:
        await self.store.commit(Write("u", journal=journal))
        return "done"

    async def states(self) -> list[object]:
        return list(await self.cache.read("u", ["a", "b"]))


@pytest.fixture
def parts() -> Parts:
    store, cache, clock = FakeStore(), FakeLists(), FakeClock()
    adjacency = Adjacency(store, cache, L1(0, clock), WireCodec(), clock)
    committer = Committer(store, cache, adjacency, FakeIds(), clock, seconds=0.2)
    return Parts(store, cache, committer, Guard(store, cache, adjacency))


async def test_marked_before_and_told_after(parts: Parts) -> None:
    seen: list[object] = []

    async def commit(journal: Journal | None) -> None:
        seen.extend(await parts.states())

    _, token = await parts.committer.run(TOUCHED, commit)
    assert seen == [Told.DIRTY, Told.DIRTY]
    assert await parts.states() == [Told.UNKNOWN, Told.UNKNOWN]
    assert parts.cache.feed == [b"entry"]
    assert (token.space, token.stamp) == ("space", parts.cache.now - 1)
    assert token.concerns("a")


async def test_a_refused_write_takes_its_mark_away_and_tells_no_change(parts: Parts) -> None:
    for trouble in (Refused([Refusal("edge")]), InvalidArgument("no")):
        parts.store.trouble = trouble
        with pytest.raises(type(trouble)):
            await parts.committer.run(TOUCHED, parts.commit)
        assert await parts.states() == [Told.UNKNOWN, Told.UNKNOWN]
    assert parts.cache.feed == []


@pytest.mark.parametrize("trouble", [Unavailable("?"), DeadlineExceeded("?")])
async def test_a_write_of_unknown_outcome_leaves_its_mark(parts: Parts, trouble: Brain2Error) -> None:
    parts.store.trouble = trouble
    with pytest.raises(type(trouble)):
        await parts.committer.run(TOUCHED, parts.commit)
    assert await parts.states() == [Told.DIRTY, Told.DIRTY]


async def test_a_commit_that_takes_too_long_is_of_unknown_outcome(parts: Parts) -> None:
    async def never(journal: Journal | None) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded):
        await parts.committer.run(TOUCHED, never)
    assert await parts.states() == [Told.DIRTY, Told.DIRTY]


async def test_without_redis_the_transaction_carries_the_journal(parts: Parts) -> None:
    parts.cache.away = True
    _, token = await parts.committer.run(TOUCHED, parts.commit)
    assert token.stamp == 0, "nobody can verify it: reads with it ask DynamoDB"
    (entry,) = parts.store.journals.values()
    assert entry.touched == TOUCHED
    assert parts.store.writes[0].journal == entry, "in the same transaction"


async def test_redis_that_goes_away_in_between_is_journaled_afterwards(parts: Parts) -> None:
    async def commit(journal: Journal | None) -> None:
        assert journal is None
        parts.cache.away = True

    await parts.committer.run(TOUCHED, commit)
    assert len(parts.store.journals) == 1


async def test_redis_that_comes_back_in_between_is_told_and_the_journal_emptied(parts: Parts) -> None:
    parts.cache.away = True

    async def commit(journal: Journal | None) -> None:
        await parts.commit(journal)
        parts.cache.away = False

    _, token = await parts.committer.run(TOUCHED, commit)
    await parts.committer.drain()
    assert token.stamp > 0
    assert parts.store.journals == {}


async def test_a_caller_that_goes_away_leaves_a_whole_write(parts: Parts) -> None:
    committing, go = asyncio.Event(), asyncio.Event()

    async def commit(journal: Journal | None) -> None:
        committing.set()
        await go.wait()

    call = asyncio.create_task(parts.committer.run(TOUCHED, commit))
    await committing.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go.set()
    await parts.committer.drain()
    assert await parts.states() == [Told.UNKNOWN, Told.UNKNOWN]


# ---------------------------------------------------------------------------------------------- the guard
async def test_the_journal_is_replayed_before_redis_is_trusted(parts: Parts) -> None:
    parts.cache.distrust()
    parts.store.journals["j"] = Journal("j", TOUCHED)
    parts.cache.away = True
    await parts.guard.step()
    assert parts.cache.space == ""
    assert parts.store.journals
    parts.cache.away = False
    parts.cache.calls.clear()
    await parts.guard.step()
    assert parts.cache.space == "space"
    assert parts.store.journals == {}
    assert parts.cache.calls == ["verify", "probe", "finish"]
    assert parts.cache.feed == [b"entry"]


async def test_others_entries_are_replayed_while_redis_is_trusted(parts: Parts) -> None:
    """A process that is cut off by itself writes them; those that aren't do the telling."""
    parts.store.journals["j"] = Journal("j", TOUCHED)
    await parts.guard.step()
    assert parts.store.journals == {}
    assert set(parts.cache.told) == {"a", "b"}
