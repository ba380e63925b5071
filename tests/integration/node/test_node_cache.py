"""The cache protocol on a real Redis, over a store in memory that stops where a test wants it to.

Each test builds one of the races that such caches are known for, step by step.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.node_service.adapters import redis as cache
from services.node_service.adapters.redis import CachedNodeStore
from services.node_service.model import MAX_CONTENT_BYTES, Node, NodeEvent, NodeEventType, Revision, text
from services.node_service.ports import NodeWrite, Outcome
from shared.errors import Unavailable
from shared.redis import Redis
from tests.support.clock import ManualClock
from tests.support.node_fakes import FakeStore
from tests.support.stores import Stores


class Gate:
    """A place where work waits until it's let through."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


class GatedStore(FakeStore):
    """Reads and commits stop at the gates that are set: after a read has its result, before and after a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, Gate] = {}
        self.misses = 0

    def gate(self, name: str) -> Gate:
        self.gates[name] = Gate()
        return self.gates[name]

    async def _stop(self, name: str) -> None:
        if gate := self.gates.pop(name, None):
            await gate()

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> dict[str, Node]:
        self.misses += 1
        found = await super().read(user_id, node_ids, seen)
        await self._stop("after read")
        return found

    async def commit(self, change: NodeWrite) -> Outcome:
        await self._stop("before commit")
        outcome = await super().commit(change)
        await self._stop("after commit")
        return outcome


class World:
    """A cached store, the store behind it, and the Redis between; the note "n" of one user."""

    def __init__(self, redis: Redis, user: str) -> None:
        self.store = GatedStore()
        self.redis = redis
        self.clock = ManualClock()
        self.user = user
        self.key = f"b2:n:{{{user}}}:n"
        self.cached = self.replica()
        self.node = Node(
            user_id=user, node_id="n", title="v1", version=1, incarnation=1, create_ms=1, update_ms=1, **text("C")
        )
        self.store.notes[user, "n"] = self.node

    def replica(self) -> CachedNodeStore:
        """Another process over the same store and the same Redis."""
        return CachedNodeStore(self.store, self.redis, self.clock, keep_seconds=60)

    async def read(self, seen: int = 0, by: CachedNodeStore | None = None, incarnation: int = 1) -> str:
        found = await (by or self.cached).read(self.user, ["n"], {"n": (incarnation, seen)})
        return found["n"].title if found else "none"

    async def title(self, seen: int = 0, incarnation: int = 1) -> str:
        found = await self.cached.titles(self.user, ["n"], {"n": (incarnation, seen)})
        return found["n"].title if found else "none"

    async def write(self, by: CachedNodeStore | None = None, **fields: Any) -> Outcome:
        """A new version over what is stored now."""
        before = self.store.notes[self.user, "n"]
        changes: dict[str, Any] = {"version": before.version + 1, "title": f"v{before.version + 1}"}
        after = replace(before, **changes | fields)
        event = NodeEvent(event_type=NodeEventType.UPDATED, node=after, time_ms=1)
        store = by or self.cached
        outcome = await store.commit(NodeWrite(before=before, after=after, event=event))
        await store.drain()
        return outcome

    def creation(self, node_id: str = "n", **fields: Any) -> NodeWrite:
        """The write of a new note."""
        new = replace(self.node, node_id=node_id, **fields)
        return NodeWrite(before=None, after=new, event=NodeEvent(event_type=NodeEventType.CREATED, node=new, time_ms=1))

    async def create(self, by: CachedNodeStore | None = None, **fields: Any) -> Outcome:
        """The note "n", which must not be there."""
        store = by or self.cached
        outcome = await store.commit(self.creation(**fields))
        await store.drain()
        return outcome

    async def kind(self) -> bytes:
        return (await self.redis.call("GET", self.key) or b"-")[:1]


class At:
    """The settings of Redis."""

    redis_cluster = False

    def __init__(self, url: str) -> None:
        self.redis_url = url


@pytest.fixture
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    async with Redis(At(stores.redis_url)) as found:
        yield found


@pytest.fixture
def world(redis: Redis, user: str) -> World:
    return World(redis, user)


async def test_the_second_read_comes_from_redis(world: World) -> None:
    assert [await world.read() for _ in range(3)] == ["v1"] * 3
    assert await world.title() == "v1"
    assert world.store.misses == 1
    assert 50_000 < await world.redis.call("PTTL", world.key) <= 60_000


def deleted(before: Node) -> NodeWrite:
    after = replace(before, version=before.version + 1, delete_ms=5, purge_ms=9)
    return NodeWrite(
        before=before, after=after, event=NodeEvent(event_type=NodeEventType.DELETED, node=after, time_ms=5)
    )


async def test_a_deletion_gets_what_its_invalidation_replaces(world: World) -> None:
    await world.read()
    before = await world.cached.likely(world.user, "n")
    assert before == world.node
    assert await world.kind() == b"W"
    assert await world.read() == "v1"
    assert await world.kind() == b"W", "a reader fills nothing in between"
    commands = world.redis.call
    invalidations: list[tuple[Any, ...]] = []

    async def call(*args: Any) -> Any:
        invalidations.append(args)
        return await commands(*args)

    world.redis.call = call  # type: ignore[method-assign]
    assert await world.cached.commit(deleted(world.node)) is Outcome.DONE
    assert invalidations == [], "the invalidation is there already"
    await world.cached.release(world.user, "n")
    await world.cached.drain()
    assert await world.kind() == b"V"
    after = await world.cached.likely(world.user, "n")
    assert (type(after), after) == (Node, world.store.notes[world.user, "n"]), "with its content, for a restore"


async def test_a_deletion_that_writes_nothing_releases_the_key(world: World) -> None:
    await world.read()
    await world.cached.likely(world.user, "n")
    await world.cached.release(world.user, "n")
    await world.cached.drain()
    assert await world.kind() == b"-"
    assert [await world.read(), await world.kind()] == ["v1", b"V"]


async def test_an_invalidation_of_long_ago_is_put_again(world: World) -> None:
    await world.read()
    await world.cached.likely(world.user, "n")
    first = await world.redis.call("GET", world.key)
    await world.clock.advance(2)
    gate = world.store.gate("before commit")
    write = asyncio.create_task(world.cached.commit(deleted(world.node)))
    await gate.reached.wait()
    second = await world.redis.call("GET", world.key)
    assert (second[:1], second == first) == (b"W", False)
    gate.open()
    assert await write is Outcome.DONE


async def test_of_a_larger_note_nothing_is_likely(world: World) -> None:
    """Where its content is, only the table has."""
    world.store.notes[world.user, "n"] = replace(world.node, **text("x" * 3000))
    assert await world.read() == "v1"
    assert await world.cached.likely(world.user, "n") is None
    world.store.notes[world.user, "n"] = world.node
    await world.write()
    await world.cached.release(world.user, "n")
    await world.cached.drain()
    assert await world.read() == "v2"


async def test_without_redis_nothing_is_likely(world: World) -> None:
    async def away(*_: Any) -> Any:
        raise Unavailable("away")

    world.redis.call = away  # type: ignore[method-assign]
    assert await world.cached.likely(world.user, "n") is None
    await world.cached.release(world.user, "n")


async def test_titles_fill_too(world: World) -> None:
    world.store.together_bytes = 100
    assert [await world.title() for _ in range(3)] == ["v1"] * 3
    assert await world.read() == "v1"
    assert world.store.misses == 1


async def test_a_write_replaces_what_is_cached(world: World) -> None:
    await world.read()
    await world.write()
    assert (await world.read(), await world.title()) == ("v2", "v2")
    assert world.store.misses == 1


async def test_a_slow_reader_does_not_put_back_what_was_overwritten(world: World) -> None:
    gate = world.store.gate("after read")
    slow = asyncio.create_task(world.read())
    await gate.reached.wait()
    await world.write()
    gate.open()
    assert await slow == "v1"
    assert await world.read() == "v2"
    assert world.store.misses == 1


async def test_a_reader_during_a_write_fills_nothing(world: World) -> None:
    await world.read()
    gate = world.store.gate("before commit")
    writing = asyncio.create_task(world.write())
    await gate.reached.wait()
    assert await world.read() == "v1"  # the truth at this moment, and not from the cache
    assert await world.kind() == b"W"
    gate.open()
    await writing
    assert await world.read() == "v2"
    assert world.store.misses == 2


async def test_a_writer_that_dies_after_its_commit_leaves_no_old_note(world: World) -> None:
    await world.read()
    gate = world.store.gate("after commit")
    writing = asyncio.create_task(world.write())
    await gate.reached.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert await world.read(by=world.replica()) == "v2"
    assert await world.kind() == b"W"
    assert 0 < await world.redis.call("PTTL", world.key) <= cache.INVALIDATION_MS


async def test_of_two_writers_the_later_invalidation_decides(world: World) -> None:
    """The first has committed but not completed its invalidation when the second puts its own."""
    first_gate = world.store.gate("after commit")
    first = asyncio.create_task(world.write())
    await first_gate.reached.wait()
    second_gate = world.store.gate("before commit")
    second = asyncio.create_task(world.write(by=world.replica()))
    await second_gate.reached.wait()
    first_gate.open()
    await first
    assert await world.kind() == b"W"  # not v2: the second may be committed at any moment
    second_gate.open()
    await second
    assert await world.read() == "v3"


async def test_a_lost_invalidation_does_not_let_an_old_note_stay(world: World) -> None:
    """Redis was emptied between the invalidation and the end of the write, and a reader filled the key."""
    gate = world.store.gate("before commit")
    writing = asyncio.create_task(world.write())
    await gate.reached.wait()
    await world.redis.call("DEL", world.key)
    assert await world.read() == "v1"
    assert await world.kind() == b"V"
    gate.open()
    await writing
    assert await world.read() == "v2"


async def test_a_lost_invalidation_does_not_let_a_slow_reader_fill(world: World) -> None:
    """The reader still holds its lease when the write ends."""
    commit = world.store.gate("before commit")
    writing = asyncio.create_task(world.write())
    await commit.reached.wait()
    await world.redis.call("DEL", world.key)
    read = world.store.gate("after read")
    slow = asyncio.create_task(world.read())
    await read.reached.wait()
    commit.open()
    await writing
    read.open()
    assert await slow == "v1"
    assert await world.read() == "v2"


async def test_a_refused_write_leaves_the_invalidation_to_expire(world: World) -> None:
    await world.read()
    stale = world.node
    await world.write()
    event = NodeEvent(event_type=NodeEventType.UPDATED, node=stale, time_ms=1)
    assert await world.cached.commit(NodeWrite(before=stale, after=stale, event=event)) is Outcome.CONFLICT
    assert await world.read() == "v2"


async def test_a_write_with_an_unknown_end_leaves_the_invalidation(world: World) -> None:
    await world.read()
    world.store.failing = {"n": Unavailable("no answer")}
    with pytest.raises(Unavailable):
        await world.write()
    assert await world.kind() == b"W"


async def test_a_reader_that_has_seen_a_newer_version_gets_it(world: World) -> None:
    await world.read()
    world.store.notes[world.user, "n"] = replace(world.node, version=2, title="v2")  # without a change in Redis
    assert await world.read() == "v1"
    assert await world.read(seen=2) == "v2"
    assert await world.read() == "v2"  # and no reader of this process gets the old one any more
    assert await world.cached.remove_pending() == 0
    assert await world.title(seen=2) == "v2"


async def test_a_reader_that_has_seen_the_next_incarnation_gets_it(world: World) -> None:
    world.store.notes[world.user, "n"] = replace(world.node, version=7, title="old")
    await world.read()
    world.store.notes[world.user, "n"] = replace(world.node, incarnation=2, title="anew")  # without a change in Redis
    assert await world.read() == "old"
    assert await world.title(seen=1, incarnation=2) == "anew"
    assert await world.read(seen=1, incarnation=2) == "anew"


async def test_a_token_from_the_future_is_answered_with_the_truth(world: World) -> None:
    await world.read()
    assert await world.read(seen=99) == "v1"
    assert await world.title(seen=99) == "v1"


async def test_a_purge_is_seen_and_what_comes_after(world: World) -> None:
    await world.read()
    event = NodeEvent(event_type=NodeEventType.PURGED, node=world.node, time_ms=1)
    gate = world.store.gate("after read")
    await world.redis.call("DEL", world.key)
    slow = asyncio.create_task(world.read())
    await gate.reached.wait()
    assert await world.cached.commit(NodeWrite(before=world.node, after=None, event=event)) is Outcome.DONE
    gate.open()
    await slow
    assert await world.read() == "none"
    assert await world.title() == "none"
    world.store.notes[world.user, "n"] = replace(world.node, incarnation=2, title="anew")
    # The lease of the read that found nothing may still be there; whoever fills, fills the new note.
    assert await world.read() == "anew"


async def test_a_created_note_is_in_the_cache_before_anybody_reads_it(world: World) -> None:
    world.store.notes.clear()
    assert await world.create() is Outcome.DONE
    assert (await world.read(by=world.replica()), await world.title()) == ("v1", "v1")
    assert world.store.misses == 0
    assert 50_000 < await world.redis.call("PTTL", world.key) <= 60_000


async def test_notes_that_are_created_together_are_in_the_cache_without_their_contents(world: World) -> None:
    world.store.notes.clear()
    world.store.failing = {"m2": Unavailable("no answer")}
    outcomes = await world.cached.commit_new([world.creation(f"m{at}", title=f"t{at}") for at in range(3)])
    assert outcomes[:2] == [Outcome.DONE] * 2
    assert isinstance(outcomes[2], Unavailable)
    await world.cached.drain()
    ids = ["m0", "m1"]
    assert {each.title for each in (await world.cached.titles(world.user, ids, {})).values()} == {"t0", "t1"}
    assert (await world.cached.summaries(world.user, ids, {})).keys() == set(ids)
    assert world.store.misses == 0
    for _ in range(2):
        found = await world.cached.read(world.user, ids, {})
        assert {each.content for each in found.values()} == {world.node.content}
    assert world.store.misses == 1
    assert await world.redis.call("GET", world.key + "2") is None


@pytest.mark.parametrize("change", ["updated", "deleted"])
async def test_a_creation_does_not_put_back_what_was_overwritten_since(world: World, change: str) -> None:
    """Its transaction is done, its answer late; another process has changed the note and finished."""
    world.store.notes.clear()
    gate = world.store.gate("after commit")
    creating = asyncio.create_task(world.create())
    await gate.reached.wait()
    other = world.replica()
    if change == "updated":
        await world.write(by=other)
    else:
        before = world.store.notes[world.user, "n"]
        after = replace(before.summary(), version=2, delete_ms=2)
        event = NodeEvent(event_type=NodeEventType.DELETED, node=after, time_ms=2)
        assert await other.commit(NodeWrite(before=before, after=after, event=event)) is Outcome.DONE
        await other.drain()
    gate.open()
    assert await creating is Outcome.DONE
    found = (await world.cached.read(world.user, ["n"], {}))["n"]
    assert (found.version, found.deleted) == (2, change == "deleted")


async def test_a_creation_fills_nothing_while_another_writer_is_at_work(world: World) -> None:
    """Its transaction is done, its answer late, and another process has begun to change the note."""
    world.store.notes.clear()
    created = world.store.gate("after commit")
    creating = asyncio.create_task(world.create())
    await created.reached.wait()
    gate = world.store.gate("before commit")
    writing = asyncio.create_task(world.write(by=world.replica()))
    await gate.reached.wait()
    created.open()
    await creating
    assert await world.kind() == b"W"
    gate.open()
    await writing
    assert await world.read() == "v2"


async def test_a_creation_that_is_refused_leaves_the_cache_as_it_was(world: World) -> None:
    await world.redis.call("DEL", world.key)
    assert await world.create(title="another") is Outcome.CONFLICT
    assert await world.kind() == b"-", "its lease would keep readers from filling the key"
    await world.read()
    assert await world.create(title="another") is Outcome.CONFLICT
    assert (await world.read(), world.store.misses) == ("v1", 1)


async def test_a_creation_needs_no_redis(world: World) -> None:
    world.store.notes.clear()
    away = CachedNodeStore(world.store, Away(), world.clock, keep_seconds=60)
    assert await world.create(by=away) is Outcome.DONE
    assert await away.commit_new([world.creation("m")]) == [Outcome.DONE]
    assert await away.remove_pending() == 0, "no key can hold an older note"
    assert await world.read() == "v1"


async def test_a_missing_note_is_not_cached(world: World) -> None:
    del world.store.notes[world.user, "n"]
    assert await world.read() == "none"
    world.store.notes[world.user, "n"] = world.node
    assert await world.read() == "v1"


async def test_the_largest_note_is_cached(world: World) -> None:
    await world.write(**text("x" * MAX_CONTENT_BYTES))
    assert [await world.read() for _ in range(2)] == ["v2"] * 2
    assert world.store.misses == 0


async def test_a_large_content_stays_in_redis_when_it_is_not_asked_for(world: World) -> None:
    """A list of summaries, a title, or a deletion does not pay for the content."""
    large = replace(world.node, tags=("t" * 60,) * 3, metadata={"k": "é" * 300}, **text("é" * (MAX_CONTENT_BYTES // 2)))
    world.store.notes |= {(world.user, f"m{at}"): replace(large, node_id=f"m{at}") for at in range(3)}
    ids = ["n", "m0", "m1", "m2", "missing"]
    await world.cached.read(world.user, ids, {})
    misses = world.store.misses
    sizes: list[int] = []
    for name in ("_summaries", "_heads", "_begin"):
        script = getattr(world.cached, name)

        async def measured(_script: Any = script, **asked: Any) -> Any:
            found = await _script(**asked)
            sizes.extend(map(len, found if isinstance(found, list) else [found]))
            return found

        setattr(world.cached, name, measured)
    found = await world.cached.summaries(world.user, ids, {})
    assert dict(found) == {each: world.store.notes[world.user, each].summary() for each in ids[:-1]}
    assert (await world.cached.summaries(world.user, ["m1"], {}))["m1"] == replace(large, node_id="m1").summary()
    assert (await world.cached.titles(world.user, ["m2"], {}))["m2"].title == "v1"
    assert await world.cached.likely(world.user, "m0") is None
    assert len(sizes) == 5 + 1 + 1 + 1
    assert max(sizes) < 3_000
    assert world.store.misses == misses + 1, "the missing one"


async def test_a_summary_that_is_not_cached_is_read_once_and_kept(world: World) -> None:
    for _ in range(2):
        assert (await world.cached.summaries(world.user, ["n", "missing"], {})).keys() == {"n"}
    assert await world.kind() == b"V"
    assert world.store.misses == 1 + 1, "a missing note is not cached"


async def test_an_entry_without_the_content_gets_it_when_it_is_read(world: World) -> None:
    assert (await world.cached.summaries(world.user, ["n"], {}))["n"].title == "v1"
    assert await world.kind() == b"V"
    assert (await world.cached.titles(world.user, ["n"], {}))["n"].title == "v1"
    assert world.store.misses == 1
    for _ in range(2):
        assert (await world.cached.read(world.user, ["n"], {}))["n"].content == world.node.content
    assert world.store.misses == 2


async def test_a_read_of_the_content_fills_no_entry_that_a_writer_has_replaced(world: World) -> None:
    await world.cached.summaries(world.user, ["n"], {})
    gate = world.store.gate("after read")
    reading = asyncio.create_task(world.read())
    await gate.reached.wait()
    await world.write()
    gate.open()
    assert await reading == "v1"
    assert await world.read() == "v2"


@pytest.mark.parametrize("value", [b"V", b"Vgarbage", b"V%016d\x09" % 7, b"?", b"W", b"L"])
async def test_what_can_not_be_read_is_a_miss(world: World, value: bytes) -> None:
    await world.redis.call("SET", world.key, value)
    assert (await world.read(), await world.title()) == ("v1", "v1")


async def test_many_at_once_some_cached(world: World) -> None:
    for at in range(5):
        world.store.notes[world.user, f"m{at}"] = replace(world.node, node_id=f"m{at}", title=f"t{at}")
    ids = [f"m{at}" for at in range(5)]
    await world.cached.read(world.user, ids[:2], {})
    await world.cached.titles(world.user, ids[1:3], {})
    assert world.store.misses == 2
    found = await world.cached.read(world.user, [*ids, "missing"], {})
    assert [found[node_id].title for node_id in ids] == ["t0", "t1", "t2", "t3", "t4"]
    titles = await world.cached.titles(world.user, [*ids, "missing"], {})
    assert {node_id: titles[node_id].version for node_id in ids} == dict.fromkeys(ids, 1)
    assert "missing" not in found
    assert "missing" not in titles


async def test_a_pending_invalidation_bypasses_the_key_then_removes_it(world: World) -> None:
    """The invalidation could not be put: Redis was away, and came back with the old note."""
    await world.read()
    away = CachedNodeStore(world.store, Away(), world.clock, keep_seconds=60)
    await world.write(by=away)
    assert await away.remove_pending() == 1
    away._redis = world.redis  # it is back
    away._heads, away._fill = (world.redis.script(source) for source in (cache._HEADS, cache._FILL))
    assert await world.kind() == b"V"  # the old one
    assert await world.read(by=away) == "v2"
    assert await away.remove_pending() == 0
    assert await world.kind() == b"-"
    assert await world.read() == "v2"


async def test_pending_invalidations_expire_and_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_PENDING", 2)
    away = CachedNodeStore(world.store, Away(), world.clock, keep_seconds=60)
    for node_id in ("a", "b", "c"):
        away._add_pending(f"b2:n:{{{world.user}}}:{node_id}")
    assert len(away._pending) == 2
    await world.read()
    assert away._bypassed(world.key)  # too many to know which: all keys are bypassed
    world.clock.seconds += 61
    assert not away._bypassed(world.key)
    assert await away.remove_pending() == 0


class Away:
    """A Redis that can't be reached."""

    async def call(self, *args: Any) -> Any:
        raise Unavailable("away")

    async def pipeline(self, commands: Any) -> list[Any]:
        raise Unavailable("away")

    def script(self, source: str) -> Any:
        async def run(keys: Any, args: Any) -> Any:
            raise Unavailable("away")

        return run
