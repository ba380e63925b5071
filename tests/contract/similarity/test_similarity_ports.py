"""What records and the change log promise, on the fakes that the unit tests use and on the real stores."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from protos.table import posting_key, postings_prefix, terms_key, user_partition
from services.similarity_service.adapters.dynamo import DynamoRecords, DynamoUserSettings
from services.similarity_service.adapters.pending_relinks import DynamoPendingRelinks
from services.similarity_service.adapters.redis import RedisChangeLog
from services.similarity_service.model.engine import codec
from services.similarity_service.model.stored import Stored
from services.similarity_service.model.user_settings import SavedUserSettings, UserSettings
from services.similarity_service.ports import Announcement, LogEntry, LogGap, PendingRelink
from shared.dynamo import Table
from shared.errors import Unavailable
from shared.ids import SystemClock
from shared.redis import Redis
from tests.support.clock import ManualClock
from tests.support.similarity_fakes import FakeLog, FakePendingRelinks, FakeRecords, FakeUserSettings, note
from tests.support.similarity_service import redis_of, table_of
from tests.support.stores import Stores


@pytest.fixture(scope="module")
async def table(stores: Stores) -> AsyncIterator[Table]:
    async with table_of(stores) as found:
        yield found


@pytest.fixture(scope="module")
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    async with redis_of(stores) as found:
        yield found


@pytest.fixture(params=["fake", "dynamo"])
def records(request: pytest.FixtureRequest) -> Any:
    if request.param == "fake":
        return FakeRecords()
    return DynamoRecords(request.getfixturevalue("table"), SystemClock())


@pytest.fixture(params=["fake", "redis"])
def log(request: pytest.FixtureRequest) -> Any:
    return FakeLog() if request.param == "fake" else RedisChangeLog(request.getfixturevalue("redis"))


@pytest.fixture(params=["fake", "dynamo"])
def choices(request: pytest.FixtureRequest) -> Any:
    return FakeUserSettings() if request.param == "fake" else DynamoUserSettings(request.getfixturevalue("table"))


@pytest.fixture(params=["fake", "dynamo"])
def pending_relinks(request: pytest.FixtureRequest) -> Any:
    return FakePendingRelinks() if request.param == "fake" else DynamoPendingRelinks(request.getfixturevalue("table"))


def stored(node_id: str, text: str, *, version: int = 1, revision: int = 1) -> Stored:
    """A record whose keywords are all of its words."""
    found = note(node_id, "", text, version=version, incarnation=3, tags=["t"])
    listed = tuple((number, 255 - number) for number in range(len(found.terms)))
    return Stored(replace(found, salient=listed), 3, version, version, revision=revision)


async def pages(found: AsyncIterator[Sequence[tuple[str, Stored]]]) -> dict[str, Stored]:
    return {node_id: each async for page in found for node_id, each in page}


async def test_what_was_put_is_there(records: Any, user: str) -> None:
    assert await records.get(user, "a") == Stored()
    one = stored("a", "sea stone")
    assert await records.put(user, "a", Stored(), one)
    assert await records.get(user, "a") == one
    assert await records.get_many(user, ["a", "b", "a"]) == {"a": one}
    assert await records.get("somebody-else", "a") == Stored()


async def test_a_write_over_what_somebody_else_wrote_fails(records: Any, user: str) -> None:
    one = stored("a", "sea")
    assert await records.put(user, "a", Stored(), one)
    assert not await records.put(user, "a", Stored(), stored("a", "stone"))
    two = stored("a", "stone", version=2, revision=2)
    assert await records.put(user, "a", one, two)
    assert not await records.put(user, "a", one, stored("a", "tree", version=3, revision=2))
    assert await records.get(user, "a") == two


async def test_one_of_many_writers_wins(records: Any, user: str) -> None:
    done = await asyncio.gather(*(records.put(user, "a", Stored(), stored("a", f"word{n} sea")) for n in range(10)))
    assert done.count(True) == 1


class Broken:
    """A table whose process dies, or another writer comes, before postings are written."""

    def __init__(self, table: Table, before_postings: Any) -> None:
        self._table = table
        self._before = before_postings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    async def batch_write(self, puts: Any = (), deletes: Any = ()) -> None:
        await self._before()
        await self._table.batch_write(puts, deletes)


async def postings(table: Table, user: str, node_id: str) -> set[str]:
    prefix = postings_prefix(node_id)
    found = table.query_all(user_partition(user), begins_with=prefix, consistent=True)
    return {item["SK"].removeprefix(prefix) async for item in found}


async def test_postings_that_a_crash_left_out_are_repaired(table: Table, user: str) -> None:
    async def die() -> None:
        raise Unavailable("killed")

    one = stored("a", "sea stone")
    broken: Any = Broken(table, die)
    with pytest.raises(Unavailable):
        await DynamoRecords(broken, SystemClock()).put(user, "a", Stored(), one)
    records = DynamoRecords(table, SystemClock())
    assert await records.get(user, "a") == one
    assert await postings(table, user, "a") == set()
    await records.repair_postings(user, "a", one)
    assert await postings(table, user, "a") == set(one.note.terms if one.note else ())


async def test_postings_are_those_of_the_last_record_whatever_the_order(table: Table, user: str) -> None:
    """Two writers: the postings of the first are written after those of the second."""
    records = DynamoRecords(table, SystemClock())
    one, two = stored("a", "sea stone"), stored("a", "sea tree", version=2, revision=2)
    three = stored("a", "stone river", version=3, revision=3)
    await records.put(user, "a", Stored(), one)
    came = False

    async def another() -> None:
        nonlocal came
        if not came:
            came = True
            assert await records.put(user, "a", two, three)

    late: Any = Broken(table, another)
    assert await DynamoRecords(late, SystemClock()).put(user, "a", one, two)
    assert three.note is not None
    assert await postings(table, user, "a") == set(three.note.terms)


async def test_late_postings_of_a_purged_note_do_not_stay_at_the_next_note_with_its_id(table: Table, user: str) -> None:
    """The next note is deleted before its text is known."""
    records = DynamoRecords(table, SystemClock())
    one, two = stored("a", "sea stone"), stored("a", "sea tree", version=2, revision=2)
    await records.put(user, "a", Stored(), one)
    came = False

    async def another() -> None:
        nonlocal came
        if not came:
            came = True
            gone = two.removed(2)
            assert gone is not None
            gone = replace(gone, revision=3)
            assert await records.put(user, "a", two, gone)
            new = gone.with_visibility(2, visible=False, incarnation=9)
            assert new is not None
            assert await records.put(user, "a", gone, replace(new, revision=4))

    late: Any = Broken(table, another)
    assert await DynamoRecords(late, SystemClock()).put(user, "a", one, two)
    assert await postings(table, user, "a") == set()


async def test_indexing_anew_repairs_the_postings(table: Table, user: str) -> None:
    records = DynamoRecords(table, SystemClock())
    one = stored("a", "sea stone")
    assert one.note is not None
    await records.put(user, "a", Stored(), one)
    term = one.note.terms[0]
    await table.delete(posting_key(user, "a", term))
    await records.put(user, "a", one, replace(one, revision=2))
    assert term in await postings(table, user, "a")


async def test_postings_follow_the_keywords(records: Any, user: str) -> None:
    one, two = stored("a", "sea stone"), stored("a", "sea tree", version=2, revision=2)
    await records.put(user, "a", Stored(), one)
    await records.put(user, "b", Stored(), stored("b", "stone"))
    assert await records.with_keyword(user, "stone", 10, "") == ([("a", 254 / 255), ("b", 1.0)], False)
    await records.put(user, "a", one, two)
    assert await records.with_keyword(user, "stone", 10, "") == ([("b", 1.0)], False)
    assert [node_id for node_id, _ in (await records.with_keyword(user, "tree", 10, ""))[0]] == ["a"]
    assert await records.with_keyword("somebody-else", "tree", 10, "") == ([], False)
    gone = two.removed(2)
    assert gone is not None
    await records.put(user, "a", two, replace(gone, revision=3))
    assert await records.with_keyword(user, "tree", 10, "") == ([], False)
    assert (await records.get(user, "a")).gone


async def test_keywords_in_pages(records: Any, user: str) -> None:
    for n in range(7):
        await records.put(user, f"n{n}", Stored(), stored(f"n{n}", "sea"))
    seen: list[str] = []
    after, more = "", True
    while more:
        found, more = await records.with_keyword(user, "sea", 3, after)
        seen += [node_id for node_id, _ in found]
        after = seen[-1]
        assert len(found) <= 3
        if len(seen) >= 7:
            break
    assert seen == [f"n{n}" for n in range(7)]


async def test_everything_and_stamps(records: Any, user: str) -> None:
    wanted = {f"n{n}": stored(f"n{n}", f"sea w{n}") for n in range(5)}
    for node_id, each in wanted.items():
        await records.put(user, node_id, Stored(), each)
    hidden = replace(stored("hidden", "sea"), visible=False)
    gone = Stored(None, 3, 1, 1, visible=False, gone=True, revision=1)
    for node_id, each in (("hidden", hidden), ("gone", gone)):
        await records.put(user, node_id, Stored(), each)
        wanted[node_id] = each
    found = [note async for page in records.all(user) for note in page]
    assert [each.node_id for each in found] == [f"n{n}" for n in range(5)]
    for each in found:
        note = wanted[each.node_id].note
        assert note is not None
        assert (each.incarnation, each.version) == (3, 1)
        assert each.data == codec.packed(note).data
    assert await pages(records.stamps(user)) == {node_id: replace(each, note=None) for node_id, each in wanted.items()}
    assert [page async for page in records.all("somebody-else") if page] == []


async def test_turning(records: Any, user: str) -> None:
    assert await records.set_visibility(user, "a", 2, visible=False, incarnation=None) is None
    await records.put(user, "a", Stored(), stored("a", "sea"))
    assert await records.set_visibility(user, "a", 1, visible=False, incarnation=None) is None  # not newer
    assert await records.set_visibility(user, "a", 2, visible=False, incarnation=9) is None  # of another incarnation
    hidden = await records.set_visibility(user, "a", 2, visible=False, incarnation=3)
    assert hidden is not None
    assert not hidden.visible
    assert hidden.shown is None
    assert (hidden.version, hidden.state_version, hidden.revision) == (1, 2, 2)
    assert await records.get(user, "a") == hidden
    assert await records.set_visibility(user, "a", 2, visible=True, incarnation=None) is None
    shown = await records.set_visibility(user, "a", 3, visible=True, incarnation=None)
    assert shown is not None
    assert shown.shown == hidden.note


async def test_the_log_tells_in_order(log: Any, user: str) -> None:
    start = await log.tail(user)
    assert await log.since(user, start) == []
    await log.append(user, [LogEntry("a", 1, 2, True), LogEntry("b", 3, 4, False)])
    await log.append(user, [LogEntry("a", 1, 3, True)])
    await log.append("somebody-else", [LogEntry("x", 1, 1, True)])
    news = await log.since(user, start)
    assert [(each.node_id, each.incarnation, each.version, each.visible) for each in news] == [
        ("a", 1, 2, True),
        ("b", 3, 4, False),
        ("a", 1, 3, True),
    ]
    assert await log.since(user, news[1].position) == [news[2]]
    assert await log.tail(user) == news[2].position


async def test_announcements_are_found_from_the_end_of_the_log(log: Any, user: str) -> None:
    start = await log.tail(user)
    hidden = LogEntry("a", 7, 0, False, announcement=Announcement("x:1", 2))
    taken_back = LogEntry("a", 0, 0, True, announcement=Announcement("x:1", 2, withdrawn=True))
    await log.append(user, [LogEntry("a", 7, 1, True), hidden, LogEntry("b", 8, 1, True), taken_back])
    entries = await log.since(user, start)
    assert [(each.node_id, each.announcement) for each in entries] == [
        ("a", None),
        ("a", Announcement("x:1", 2)),
        ("b", None),
        ("a", Announcement("x:1", 2, withdrawn=True)),
    ]
    assert await log.announcements(user, await log.tail(user), 30.0) == [entries[1], entries[3]]
    assert await log.announcements(user, entries[2].position, 30.0) == [entries[1]], "up to the position"
    await log.append(user, [LogEntry("c", 9, 1, True)])
    assert await log.announcements(user, await log.tail(user), 30.0) == [entries[1], entries[3]]


async def test_announcements_have_an_age_and_old_ones_are_not_looked_for(redis: Redis, user: str) -> None:
    """By the clock of Redis, and not by the last entry, which may be as old."""
    log, key = RedisChangeLog(redis), f"sim:{{{user}}}:log"
    start = await log.tail(user)
    now = int((await redis.call("TIME"))[0]) * 1000
    await redis.call("DEL", key)
    await redis.call("XADD", key, "1-0", "n", "-", "s", "0:0:0:f")
    for age in (3_000_000, 1_000_000):
        await redis.call("XADD", key, f"{now - age}-0", "n", "a", "s", "7:0:0:f", "a", "2:0:x")
    with pytest.raises(LogGap):
        await log.since(user, start)
    ages = [each.age for each in await log.since(user, "1-0/f")]
    assert ages == [pytest.approx(3_000, abs=120), pytest.approx(1_000, abs=120)]
    end = await log.tail(user)
    assert await log.announcements(user, end, 500.0) == []
    (young,) = await log.announcements(user, end, 2_000.0)
    assert young.age == pytest.approx(1_000, abs=120)
    assert len(await log.announcements(user, end, 4_000.0)) == 2


async def test_an_announcement_of_a_server_whose_clock_was_ahead_is_new(redis: Redis, user: str) -> None:
    """Another server has been promoted since: its entries go on from the latest one."""
    log, key = RedisChangeLog(redis), f"sim:{{{user}}}:log"
    await redis.call("XADD", key, "1-0", "n", "-", "s", "0:0:0:f")
    ahead = (int((await redis.call("TIME"))[0]) + 3_000) * 1000
    await redis.call("XADD", key, f"{ahead}-0", "n", "a", "s", "7:0:0:f", "a", "2:0:x")
    assert [each.age for each in await log.since(user, "1-0/f")] == [0.0]
    assert len(await log.announcements(user, await log.tail(user), 15.0)) == 1


async def test_a_process_of_an_earlier_release_reads_an_announcement_as_a_change(redis: Redis, user: str) -> None:
    """It looks at the fields n and s alone, s in four parts, and then reads the record."""
    log = RedisChangeLog(redis)
    await log.append(user, [LogEntry("a", 7, 0, False, announcement=Announcement("x", 2))])
    ((_, fields),) = await redis.call("XRANGE", f"sim:{{{user}}}:log", "-", "+")
    assert fields[:3] == [b"n", b"a", b"s"]
    assert fields[3].split(b":")[:3] == [b"7", b"0", b"0"]


async def test_a_lost_log_is_a_gap(log: Any, redis: Redis, user: str) -> None:
    start = await log.tail(user)
    if isinstance(log, FakeLog):
        log.lose(user)
    else:
        await redis.call("DEL", f"sim:{{{user}}}:log")
    with pytest.raises(LogGap):
        await log.since(user, start)
    again = await log.tail(user)
    await log.append(user, [LogEntry("a", 1, 1, True)])
    with pytest.raises(LogGap):
        await log.since(user, start)
    assert [each.node_id for each in await log.since(user, again)] == ["a"]


async def test_a_trimmed_log_is_a_gap(redis: Redis, user: str) -> None:
    log = RedisChangeLog(redis, keep=50)
    start = await log.tail(user)
    await log.append(user, [LogEntry(f"n{n}", 1, 1, True) for n in range(1000)])
    with pytest.raises(LogGap):
        await log.since(user, start)


async def test_idle_logs_expire(redis: Redis, user: str) -> None:
    await RedisChangeLog(redis, seconds=100).append(user, [LogEntry("a", 1, 1, True)])
    assert 0 < await redis.call("TTL", f"sim:{{{user}}}:log") <= 100


async def test_purged_notes_expire(table: Table, user: str) -> None:
    records = DynamoRecords(table, SystemClock())
    gone = Stored(None, 1, 2, 2, visible=False, gone=True, revision=1)
    await records.put(user, "a", Stored(), gone)
    item = await table.get(terms_key(user, "a"))
    assert item is not None
    assert item["expires_at"] > SystemClock().now_ms() // 1000 + 13 * 86_400
    assert "rec" not in item


async def test_settings(choices: Any, user: str) -> None:
    assert await choices.get(user) is None
    chosen = SavedUserSettings(UserSettings("german", False, 0.4, 7), "english", 123)
    await choices.put(user, chosen)
    assert await choices.get(user) == chosen
    assert await choices.get("somebody-else") is None


@pytest.mark.parametrize("kind", ["fake", "dynamo"])
async def test_what_was_written_since(kind: str, request: pytest.FixtureRequest, user: str) -> None:
    clock = ManualClock()
    fake = kind == "fake"
    records = FakeRecords(clock=clock) if fake else DynamoRecords(request.getfixturevalue("table"), clock)
    for node_id in ("a", "b", "hidden", "gone"):
        await records.put(user, node_id, Stored(), stored(node_id, "sea"))
    await clock.advance(1)
    later = clock.now_ms()
    await records.put(user, "c", Stored(), stored("c", "sea"))
    await records.set_visibility(user, "a", 2, visible=True, incarnation=None)
    await records.set_visibility(user, "hidden", 2, visible=False, incarnation=None)
    gone = stored("gone", "sea").removed(2)
    assert gone is not None
    await records.put(user, "gone", stored("gone", "sea"), replace(gone, revision=2))
    assert sorted(await records.written_since(user, later)) == ["a", "c"]
    assert sorted(await records.written_since(user, later - 1000)) == ["a", "b", "c"]
    assert await records.written_since(user, later + 1) == []
    assert await records.written_since("somebody-else", 0) == []


async def of_user(pending_relinks: Any, user: str, now_ms: int) -> list[PendingRelink]:
    return [each for each in await pending_relinks.expired(now_ms) if each.user_id == user]


async def test_pending_relinks_are_found_when_they_expire(pending_relinks: Any, user: str) -> None:
    one = PendingRelink(user, "one", 100, 2_000)
    await pending_relinks.put(one)
    await pending_relinks.put(PendingRelink(user, "two", 150, 9_000))
    assert await of_user(pending_relinks, user, 2_000) == []
    assert await of_user(pending_relinks, user, 2_001) == [one]
    renewed = replace(one, since_ms=120, until_ms=3_000)
    assert await pending_relinks.renew(renewed)
    assert await of_user(pending_relinks, user, 2_001) == []
    assert await of_user(pending_relinks, user, 3_001) == [renewed]
    await pending_relinks.remove(user, "one")
    assert await of_user(pending_relinks, user, 3_001) == []
    assert not await pending_relinks.renew(renewed)
    assert await of_user(pending_relinks, user, 3_001) == []
    await pending_relinks.remove(user, "one")


async def test_an_entry_is_taken_once_and_only_as_it_was_read(pending_relinks: Any, user: str) -> None:
    theirs = PendingRelink(user, "dead", 100, 2_000)
    await pending_relinks.put(theirs)
    heirs = [PendingRelink(user, f"heir{n}", 100, 5_000) for n in range(4)]
    taken = await asyncio.gather(*(pending_relinks.take(theirs, heir) for heir in heirs))
    assert taken.count(True) == 1
    assert await of_user(pending_relinks, user, 5_001) == [heirs[taken.index(True)]]
    slow = PendingRelink(user, "slow", 100, 2_000)
    await pending_relinks.put(slow)
    await pending_relinks.renew(replace(slow, until_ms=4_000))
    assert not await pending_relinks.take(slow, heirs[0])
    assert [each.owner for each in await of_user(pending_relinks, user, 4_001)] == ["slow"]


async def test_notes_are_added_to_an_open_entry_that_has_not_expired(pending_relinks: Any, user: str) -> None:
    one = PendingRelink(user, "one", 100, 2_000)
    assert not await pending_relinks.add(one, 50, ["a"], 1_000)
    assert await pending_relinks.put(one)
    await pending_relinks.put(PendingRelink(user + "-2", "one", 100, 2_000))
    assert not await pending_relinks.add(one, 50, ["a"], 2_000)
    assert await pending_relinks.add(one, 150, ["a", "b"], 1_000)
    (read,) = await pending_relinks.of_user(user)
    assert read == replace(one, added=frozenset("ab"))
    assert await pending_relinks.add(read, 50, ["c"], 1_000)
    assert await pending_relinks.of_user(user) == [replace(one, since_ms=50, added=frozenset("abc"))]
    assert not await pending_relinks.add(one, 40, ["d"], 1_000), "it was read before its time changed"


async def test_an_owner_collects_what_was_added_before_it_writes_its_entry(pending_relinks: Any, user: str) -> None:
    one = PendingRelink(user, "one", 100, 2_000)
    await pending_relinks.put(one)
    await pending_relinks.add(one, 50, ["a", "b"], 1_000)
    assert not await pending_relinks.put(one)
    assert not await pending_relinks.renew(one)
    assert not await pending_relinks.remove(user, "one")
    dead = PendingRelink(user, "dead", 100, 900)
    await pending_relinks.put(dead)
    assert not await pending_relinks.take(dead, one)
    read = await pending_relinks.get(user, "one")
    assert read == replace(one, since_ms=50, added=frozenset("ab"))
    assert await pending_relinks.add(read, 50, ["c"], 1_000)
    assert not await pending_relinks.remove_added(read), "another note came"
    read = await pending_relinks.get(user, "one")
    assert read == replace(one, since_ms=50, added=frozenset("abc"))
    assert await pending_relinks.add(read, 40, ["c"], 1_000)
    assert not await pending_relinks.remove_added(read), "the note is older than it was"
    read = await pending_relinks.get(user, "one")
    assert read == replace(one, since_ms=40, added=frozenset("abc"))
    assert await pending_relinks.remove_added(read)
    assert await pending_relinks.get(user, "one") == replace(one, since_ms=40)
    assert not await pending_relinks.remove_added(read)
    assert await pending_relinks.take(dead, one)
    assert await pending_relinks.renew(one)
    assert await pending_relinks.of_user(user) == [one]
    assert await pending_relinks.remove(user, "one")
    assert await pending_relinks.remove(user, "one")
    assert await pending_relinks.get(user, "one") is None
    assert not await pending_relinks.remove_added(read)
    assert await pending_relinks.get(user, "one") is None


async def test_an_entry_is_not_taken_after_it_has_changed(pending_relinks: Any, user: str) -> None:
    theirs = PendingRelink(user, "dead", 100, 2_000)
    await pending_relinks.put(theirs)
    await pending_relinks.add(theirs, 50, ["a"], 1_000)
    assert not await pending_relinks.take(theirs, PendingRelink(user, "heir", 100, 5_000))
    assert not await pending_relinks.take(replace(theirs, since_ms=50), PendingRelink(user, "heir", 50, 5_000))
    (read,) = await pending_relinks.of_user(user)
    await pending_relinks.add(read, 50, ["b"], 1_000)
    assert not await pending_relinks.take(read, PendingRelink(user, "heir", 50, 5_000)), "a note was added"
    (read,) = await pending_relinks.of_user(user)
    assert await pending_relinks.take(read, PendingRelink(user, "heir", 50, 5_000))


async def test_an_entry_is_handed_over_as_a_whole(pending_relinks: Any, user: str) -> None:
    one, two = PendingRelink(user, "one", 100, 2_000), PendingRelink(user, "two", 70, 2_000)
    for each in (one, two):
        await pending_relinks.put(each)
    given = replace(one, added=frozenset("ab"))
    assert not await pending_relinks.hand_over(given, two, 2_000)
    await pending_relinks.add(one, 100, ["c"], 1_000)
    assert not await pending_relinks.hand_over(given, two, 1_000)
    assert await pending_relinks.remove_added(replace(one, added=frozenset("c")))
    assert await pending_relinks.hand_over(given, two, 1_000)
    assert await pending_relinks.of_user(user) == [replace(two, added=frozenset("ab"))]


async def test_an_entry_of_an_earlier_release_is_not_open(table: Table, user: str) -> None:
    pending_relinks = DynamoPendingRelinks(table)
    one = PendingRelink(user, "one", 100, 2_000)
    await pending_relinks.put(one)
    (item,) = [item async for item in table.query_all(f"USER#{user}")]
    await table.put({name: value for name, value in item.items() if name != "open"})
    assert await pending_relinks.of_user(user) == [replace(one, open=False)]
    assert not await pending_relinks.add(one, 50, ["a"], 1_000)


async def test_an_index_that_lags_takes_nobody_for_dead(table: Table, user: str, monkeypatch: Any) -> None:
    pending_relinks = DynamoPendingRelinks(table)
    await pending_relinks.put(PendingRelink(user, "one", 100, 9_000))
    query = table.query
    monkeypatch.setattr(table, "query", lambda pk, before, **asked: query(pk, **asked))
    assert await of_user(pending_relinks, user, 2_000) == []


async def test_of_many_records_those_that_another_writer_changed_are_left_out(records: Any, user: str) -> None:
    theirs = stored("n7", "theirs")
    assert await records.put(user, "n7", Stored(), theirs)
    mine = {f"n{n}": (Stored(), stored(f"n{n}", f"sea word{n}")) for n in range(130)}
    written = await records.put_many(user, mine)
    assert set(written) == mine.keys() - {"n7"}
    found = await records.get_many(user, list(mine))
    assert found == {node_id: new for node_id, (_, new) in mine.items()} | {"n7": theirs}


async def test_large_records_of_a_burst_cost_no_transaction(table: Table, user: str, monkeypatch: Any) -> None:
    records = DynamoRecords(table, SystemClock())
    text = " ".join(f"word{number}" for number in range(4_000))
    large = {f"l{n}": (Stored(), Stored(note(f"l{n}", "", text, incarnation=3), 3, 1, 1, revision=1)) for n in range(3)}
    small = {f"s{n}": (Stored(), stored(f"s{n}", f"sea word{n}")) for n in range(3)}
    assert await records.put(user, "l1", Stored(), stored("l1", "theirs"))
    together: list[str] = []
    transact = table.transact

    async def recorded(ops: Sequence[Any]) -> None:
        together.extend(op.item["SK"] for op in ops)
        await transact(ops)

    monkeypatch.setattr(table, "transact", recorded)
    assert set(await records.put_many(user, large | small)) == {"l0", "l2", *small}
    assert together == [terms_key(user, node_id)[1] for node_id in small]
    found = await records.get_many(user, ["l0", "l2", *small])
    assert found == {node_id: new for node_id, (_, new) in (large | small).items() if node_id != "l1"}


async def test_postings_of_many_records_are_those_of_the_last_ones(table: Table, user: str) -> None:
    """Another writer comes between the records and the postings of a burst."""
    records = DynamoRecords(table, SystemClock())
    one, two, three = stored("a", "sea stone"), stored("b", "wind"), stored("a", "tree", version=2, revision=2)
    came = False

    async def another() -> None:
        nonlocal came
        if not came:
            came = True
            assert await records.put(user, "a", one, three)

    late: Any = Broken(table, another)
    changes = {"a": (Stored(), one), "b": (Stored(), two)}
    assert set(await DynamoRecords(late, SystemClock()).put_many(user, changes)) == {"a", "b"}
    assert two.note is not None
    assert three.note is not None
    assert await postings(table, user, "a") == set(three.note.terms)
    assert await postings(table, user, "b") == set(two.note.terms)
