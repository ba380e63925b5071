"""What NodeStore promises, on every implementation: the fake of the unit tests, DynamoDB, and DynamoDB behind Redis."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protos.table import body_key, node_key
from services.node_service.adapters import items
from services.node_service.adapters.dynamo import DynamoNodeStore
from services.node_service.adapters.envelope import Enveloper
from services.node_service.adapters.redis import CachedNodeStore
from services.node_service.model import Cascade, Node, NodeEvent, NodeEventType, Summary, text
from services.node_service.ports import NodeStore, NodeWrite, Outcome, Position, Receipt
from shared.dynamo import Put, Table
from shared.dynamo.size import item_bytes
from shared.errors import Aborted, DataLoss, InvalidArgument
from shared.events.envelope import Event
from shared.idempotency import Idempotency
from shared.idempotent import IdempotentRequest
from shared.ids import SystemClock, UlidFactory
from shared.redis import Redis
from tests.support.node_fakes import FakeStore, no_wait
from tests.support.stores import Stores

ROOT = Path(__file__).resolve().parents[3]


class Log:
    """An event log that keeps its items in the table and remembers what was announced."""

    def __init__(self) -> None:
        self.announced: list[Event] = []

    def put(self, event: Event) -> Put:
        return Put({"PK": "OUTBOX#contract#0", "SK": event.id, "detail": event.to_json()})

    def announce(self, *events: Event) -> None:
        self.announced += events


@pytest.fixture(scope="module")
async def table(stores: Stores) -> AsyncIterator[Table]:
    async with stores.client("dynamodb") as client:
        yield Table(client, stores.resources.table)


@pytest.fixture(params=["memory", "dynamo", "dynamo+redis"])
async def store(request: pytest.FixtureRequest, table: Table, stores: Stores) -> AsyncIterator[NodeStore]:
    if request.param == "memory":
        yield FakeStore()
        return
    clock = SystemClock()
    truth = DynamoNodeStore(table, Log(), Idempotency(table, "contract", clock), Enveloper(UlidFactory(clock), dict))
    if request.param == "dynamo":
        yield truth
        return
    async with Redis(RedisAt(stores.redis_url)) as redis:
        yield CachedNodeStore(truth, redis, clock, keep_seconds=60)


class RedisAt:
    """The part of the settings that Redis reads."""

    redis_cluster = False

    def __init__(self, url: str) -> None:
        self.redis_url = url


def note(user: str, node_id: str = "n", **other: Any) -> Node:
    fields: dict[str, Any] = {
        "user_id": user,
        "node_id": node_id,
        "title": "A title — with ünïcode",
        "version": 1,
        "incarnation": 1_700_000_000_000,
        "create_ms": 1_600_000_000_000,
        "update_ms": 1_700_000_000_000,
        "tags": ("b", "a"),
        "metadata": {"k": "v", "empty": ""},
        **text("line one\nline two\t\x01\U0001f9e0" * 20),
    }
    return Node(**fields | other)


def creation(node: Node, receipt: Receipt | None = None) -> NodeWrite:
    event = NodeEvent(event_type=NodeEventType.CREATED, node=node, time_ms=node.incarnation)
    return NodeWrite(before=None, after=node, event=event, receipt=receipt)


def update(before: Node, after: Node, receipt: Receipt | None = None) -> NodeWrite:
    event = NodeEvent(event_type=NodeEventType.UPDATED, node=after, time_ms=after.update_ms)
    return NodeWrite(before=before, after=after, event=event, receipt=receipt)


def deleted(node: Summary, purge_ms: int = 1_800_000_000_000) -> Summary:
    summary = node.summary() if isinstance(node, Node) else node
    return replace(
        summary,
        version=node.version + 1,
        delete_ms=1_750_000_000_000,
        purge_ms=purge_ms,
        cascade=Cascade.ORPHANS,
    )


def move(before: Summary, after: Summary | None, event_type: NodeEventType) -> NodeWrite:
    event = NodeEvent(event_type=event_type, node=after or before, time_ms=1_750_000_000_000)
    return NodeWrite(before=before, after=after, event=event)


async def stored(store: NodeStore, node: Node) -> Node:
    assert await store.commit(creation(node)) is Outcome.DONE
    return node


async def ids(store: NodeStore, user: str, **bounds: Any) -> list[str]:
    asked = {"since_ms": 0, "until_ms": 9_999_999_999_999, "after": None, "limit": 100} | bounds
    return [each.node_id for each in await store.page(user, **asked)]


async def test_what_is_stored_reads_back(store: NodeStore, user: str) -> None:
    node = await stored(store, note(user))
    assert await store.current(user, "n") == node
    assert await store.current_summary(user, "n") == node.summary()
    for _ in range(2):  # the second may come from a cache
        assert await store.read(user, ["n"], {}) == {"n": node}
        assert (await store.titles(user, ["n"], {}))["n"].title == node.title


async def test_extremes_read_back(store: NodeStore, user: str) -> None:
    largest = note(user, "big", tags=(), metadata={}, title="", **text("\x00é" * 80_000))
    await stored(store, largest)
    assert await store.read(user, ["big"], {}) == {"big": largest}
    smallest = note(user, "small", tags=(), metadata={}, title="t", create_ms=0, **text(""))
    await stored(store, smallest)
    assert await store.read(user, ["small"], {}) == {"small": smallest}
    assert await ids(store, user) == ["big", "small"]


async def test_a_summary_is_read_without_the_content(store: NodeStore, user: str) -> None:
    node = await stored(store, note(user, **text("words " * 3000)))
    for _ in range(2):  # the second may come from a cache
        for asked in (["n"], ["n", "other"]):
            found = (await store.summaries(user, asked, {}))["n"]
            assert (found.summary() if isinstance(found, Node) else found) == node.summary()
    assert await store.read(user, ["n"], {}) == {"n": node}


async def test_nobody_sees_anothers_notes(store: NodeStore, user: str) -> None:
    await stored(store, note(user))
    other = f"{user}x"
    assert await store.current(other, "n") is None
    assert await store.current_summary(other, "n") is None
    assert await store.read(other, ["n"], {}) == {}
    assert await store.titles(other, ["n"], {}) == {}
    assert await ids(store, other) == []


async def test_of_many_creations_one_wins(store: NodeStore, user: str) -> None:
    outcomes = await asyncio.gather(*(store.commit(creation(note(user, title=f"t{n}"))) for n in range(20)))
    assert sorted(outcome.value for outcome in outcomes) == ["conflict"] * 19 + ["done"]
    winner = outcomes.index(Outcome.DONE)
    assert (await store.read(user, ["n"], {}))["n"].title == f"t{winner}"


async def test_a_write_on_another_basis_is_refused(store: NodeStore, user: str) -> None:
    first = await stored(store, note(user))
    second = replace(first, version=2, title="second")
    assert await store.commit(update(first, second)) is Outcome.DONE
    assert await store.commit(update(first, replace(first, version=2, title="lost"))) is Outcome.CONFLICT
    assert await store.read(user, ["n"], {}) == {"n": second}
    reborn = replace(second, incarnation=second.incarnation + 1)
    assert await store.commit(update(reborn, replace(reborn, version=3))) is Outcome.CONFLICT
    gone = note(user, "gone")
    assert await store.commit(update(gone, replace(gone, version=2))) is Outcome.CONFLICT
    assert await store.current(user, "gone") is None


async def test_a_read_after_a_write_sees_it(store: NodeStore, user: str) -> None:
    node = await stored(store, note(user))
    for version in range(2, 12):
        await store.read(user, ["n"], {})
        after = replace(node, version=version, title=f"t{version}")
        assert await store.commit(update(node, after)) is Outcome.DONE
        node = after
        assert (await store.read(user, ["n"], {}))["n"] == node
        assert (await store.titles(user, ["n", "other"], {}))["n"].title == node.title


async def test_delete_restore_and_purge(store: NodeStore, user: str) -> None:
    node = await stored(store, note(user))
    await store.read(user, ["n"], {})
    gone = deleted(node)
    assert await store.commit(move(node.summary(), gone, NodeEventType.DELETED)) is Outcome.DONE
    [read] = (await store.read(user, ["n"], {})).values()
    assert (read.summary(), read.content) == (gone, node.content)
    assert (await store.titles(user, ["n"], {}))["n"].deleted
    assert await ids(store, user) == []
    back = replace(node, version=3)
    assert await store.commit(move(read, back, NodeEventType.RESTORED)) is Outcome.DONE
    assert await store.read(user, ["n"], {}) == {"n": back}
    assert await ids(store, user) == ["n"]

    again = deleted(back)
    assert await store.commit(move(back, again, NodeEventType.DELETED)) is Outcome.DONE
    fenced = replace(again, fenced=True)
    assert await store.commit(NodeWrite(before=again, after=fenced, event=None)) is Outcome.DONE
    assert await store.current_summary(user, "n") == fenced
    # The version is the same: it is the fence that refuses.
    assert await store.commit(move(again, replace(back, version=5), NodeEventType.RESTORED)) is Outcome.CONFLICT
    assert await store.commit(move(fenced, None, NodeEventType.PURGED)) is Outcome.DONE
    assert await store.commit(move(fenced, None, NodeEventType.PURGED)) is Outcome.CONFLICT
    assert await store.read(user, ["n"], {}) == {}
    assert await store.titles(user, ["n"], {}) == {}
    anew = await stored(store, note(user, incarnation=1_900_000_000_000, title="anew"))
    assert await store.read(user, ["n"], {}) == {"n": anew}


async def test_the_answer_to_a_request_is_kept_with_the_write(store: NodeStore, user: str) -> None:
    request = IdempotentRequest(user, "req-1", "body")
    node = note(user)
    assert await store.previous_answer(request) is None
    assert await store.commit(creation(node, Receipt(request, node))) is Outcome.DONE
    assert await store.previous_answer(request) == node
    assert await store.previous_answer(IdempotentRequest(f"{user}x", "req-1", "body")) is None
    with pytest.raises(InvalidArgument) as caught:
        await store.previous_answer(IdempotentRequest(user, "req-1", "another body"))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert await store.commit(creation(node, Receipt(request, node))) is Outcome.REPEATED
    after = replace(node, version=2)
    assert await store.commit(update(node, after, Receipt(request, after))) is Outcome.REPEATED
    assert await store.read(user, ["n"], {}) == {"n": node}


async def test_a_refused_write_keeps_no_answer(store: NodeStore, user: str) -> None:
    node = await stored(store, note(user))
    request = IdempotentRequest(user, "req-2", "body")
    assert await store.commit(creation(node, Receipt(request, node.summary()))) is Outcome.CONFLICT
    assert await store.previous_answer(request) is None


async def test_the_same_request_at_once_is_done_once(store: NodeStore, user: str) -> None:
    request = IdempotentRequest(user, "req-3", "body")
    notes = [note(user, f"n{at}") for at in range(8)]
    outcomes = await asyncio.gather(*(store.commit(creation(each, Receipt(request, each))) for each in notes))
    assert sorted(outcome.value for outcome in outcomes) == ["done"] + ["repeated"] * 7
    winner = notes[outcomes.index(Outcome.DONE)]
    assert await store.previous_answer(request) == winner
    assert await ids(store, user) == [winner.node_id]


async def test_many_creations_each_for_itself(store: NodeStore, user: str) -> None:
    notes = [note(user, f"n{at:03}") for at in range(100)]
    await stored(store, notes[3])
    await stored(store, notes[98])
    outcomes = await store.commit_new([creation(each) for each in notes])
    assert [at for at, outcome in enumerate(outcomes) if outcome is not Outcome.DONE] == [3, 98]
    assert outcomes[3] is outcomes[98] is Outcome.CONFLICT
    assert await store.read(user, [each.node_id for each in notes], {}) == {each.node_id: each for each in notes}


async def test_many_large_creations(store: NodeStore, user: str) -> None:
    notes = [note(user, f"n{at:03}", **text("x" * 150_000)) for at in range(30)]
    assert await store.commit_new([creation(each) for each in notes]) == [Outcome.DONE] * 30
    assert len(await ids(store, user)) == 30


async def test_many_receipts(store: NodeStore, user: str) -> None:
    notes = [note(user, f"n{at}") for at in range(3)]
    receipts = [Receipt(IdempotentRequest(user, f"req#{at}", "body"), each.summary()) for at, each in enumerate(notes)]
    changes = [creation(each, receipt) for each, receipt in zip(notes, receipts, strict=True)]
    assert await store.commit_new(changes) == [Outcome.DONE] * 3
    assert await store.commit_new(changes) == [Outcome.REPEATED] * 3
    assert await store.previous_answer(receipts[1].request) == notes[1].summary()


async def test_reading_many_in_any_order(store: NodeStore, user: str) -> None:
    notes = {f"n{at}": note(user, f"n{at}", title=f"t{at}") for at in range(120)}
    await store.commit_new([creation(each) for each in notes.values()])
    asked = [*notes, "missing-1", "missing-2"]
    random.Random(5).shuffle(asked)
    for _ in range(2):
        assert await store.read(user, asked, {}) == notes
        titles = await store.titles(user, asked, {})
        assert {node_id: title.title for node_id, title in titles.items()} == {
            node_id: each.title for node_id, each in notes.items()
        }


async def test_pages_by_time(store: NodeStore, user: str) -> None:
    times = {"a": 1000, "b": 2000, "c1": 3000, "c2": 3000, "d": 4000}
    await store.commit_new([creation(note(user, node_id, create_ms=ms)) for node_id, ms in times.items()])
    assert await ids(store, user) == ["d", "c2", "c1", "b", "a"]
    assert await ids(store, user, limit=2) == ["d", "c2"]
    assert await ids(store, user, limit=2, after=Position(3000, "c2")) == ["c1", "b"]
    assert await ids(store, user, after=Position(3000, "c15")) == ["c1", "b", "a"]
    assert await ids(store, user, since_ms=2000, until_ms=4000) == ["c2", "c1", "b"]
    assert await ids(store, user, since_ms=2000, until_ms=4000, after=Position(3000, "c1")) == ["b"]
    assert await ids(store, user, since_ms=2001, until_ms=3000) == []
    assert await ids(store, user, since_ms=3000, after=Position(2000, "b")) == []


async def test_a_page_has_all_but_the_content(store: NodeStore, user: str) -> None:
    node = await stored(store, note(user))
    [listed] = await store.page(user, since_ms=0, until_ms=9_999_999_999_999, after=None, limit=10)
    assert listed == node.summary()


async def test_a_page_of_large_entries_is_full(store: NodeStore, user: str) -> None:
    """More than DynamoDB gives in one answer (1 MB)."""
    fat: dict[str, Any] = {
        "title": "é" * 256,
        "tags": tuple(f"{n:064}" for n in range(64)),
        "metadata": {"k": "v" * 4000},
    }
    notes = [note(user, f"n{at:03}", **fat) for at in range(200)]
    for at in range(0, 200, 100):
        assert set(await store.commit_new([creation(each) for each in notes[at : at + 100]])) == {Outcome.DONE}
    assert len(await ids(store, user, limit=200)) == 200


async def test_all_notes_in_the_order_of_their_ids(store: NodeStore, user: str) -> None:
    for node_id in ("b", "a", "c-2", "c"):
        await stored(store, note(user, node_id))
    await store.commit(move(note(user, "b"), deleted(note(user, "b")), NodeEventType.DELETED))
    first = await store.all_from(user, "", 3)
    assert [node.node_id for node in first] == ["a", "b", "c"]
    assert [node.deleted for node in first] == [False, True, False]
    assert first[0] == note(user, "a")
    assert [node.node_id for node in await store.all_from(user, "c", 3)] == ["c-2"]
    assert await store.all_from(user, "c-2", 3) == []
    assert await store.all_from(f"{user}-other", "", 3) == []


async def test_an_update_keeps_attributes_of_a_newer_release(table: Table, user: str) -> None:
    clock = SystemClock()
    store = DynamoNodeStore(table, Log(), Idempotency(table, "contract", clock), Enveloper(UlidFactory(clock), dict))
    node = await stored(store, note(user))
    key = node_key(user, "n")
    item = await table.get(key, consistent=True)
    assert item is not None
    await table.put(item | {"color": "green"})
    after = replace(node, version=2, title="second")
    assert await store.commit(update(node, after)) is Outcome.DONE
    assert await store.current(user, "n") == after
    assert (await table.get(key, consistent=True) or {})["color"] == "green"


async def test_a_receipt_of_an_older_release_is_answered(table: Table, user: str) -> None:
    """The bytes are those of the release before protobuf (tests/unit/node/adapters/positional.json)."""
    written = json.loads((ROOT / "tests/unit/node/adapters/positional.json").read_text(encoding="utf-8"))["live node"]
    clock = SystemClock()
    idempotency = Idempotency(table, "contract", clock)
    request = IdempotentRequest(user, "req-old", "body")
    await table.put(idempotency.record(request, bytes.fromhex(written["receipt"])).item)
    store = DynamoNodeStore(table, Log(), idempotency, Enveloper(UlidFactory(clock), dict))
    answer = await store.previous_answer(request)
    assert answer is not None
    assert (answer.user_id, answer.node_id, answer.title) == (user, "n-1", written["note"]["title"])


# ---------------------------------------------------------------- the content beside the state

LARGE = " ".join(f"word{number}" for number in range(2000))


@pytest.fixture
async def truth(table: Table) -> DynamoNodeStore:
    clock = SystemClock()
    return DynamoNodeStore(table, Log(), Idempotency(table, "contract", clock), Enveloper(UlidFactory(clock), dict))


async def item_of(table: Table, user: str, key: Any = node_key) -> dict[str, Any]:
    return await table.get(key(user, "n"), consistent=True) or {}


async def test_a_small_note_is_one_item_and_a_large_one_two(table: Table, truth: DynamoNodeStore, user: str) -> None:
    await stored(truth, note(user))
    assert "content_version" not in await item_of(table, user)
    assert await item_of(table, user, body_key) == {}
    grown = replace(await current(truth, user), version=2, **text(LARGE))
    assert await truth.commit(update(await current(truth, user), grown)) is Outcome.DONE
    item, body = await item_of(table, user), await item_of(table, user, body_key)
    assert item.keys().isdisjoint({"content", "content_zip"})
    assert (item["content_version"], body["version"], body["incarnation"]) == (2, 2, grown.incarnation)
    assert item_bytes(item) <= 1024
    assert item_bytes(body) < len(LARGE) / 2
    assert await current(truth, user) == grown
    shrunk = replace(await current(truth, user), version=3, **text("short"))
    assert await truth.commit(update(await current(truth, user), shrunk)) is Outcome.DONE
    assert await item_of(table, user, body_key) == {}
    assert "content_version" not in await item_of(table, user)
    assert await current(truth, user) == shrunk


async def test_only_a_write_of_the_content_writes_it(table: Table, truth: DynamoNodeStore, user: str) -> None:
    await stored(truth, note(user, **text(LARGE)))
    before = await item_of(table, user, body_key)
    steps: list[tuple[Any, NodeEventType | None]] = [
        (lambda known: replace(known, title="another", tags=("c",)), NodeEventType.UPDATED),
        (deleted, NodeEventType.DELETED),
        (lambda known: replace(known, fenced=True), None),
    ]
    for version, (change, event_type) in enumerate(steps, 2):
        known = await current(truth, user)
        after = replace(change(known), version=version)
        event = None if event_type is None else NodeEvent(event_type=event_type, node=after, time_ms=1)
        assert await truth.commit(NodeWrite(before=known, after=after, event=event)) is Outcome.DONE
        assert await item_of(table, user, body_key) == before
        assert (await current(truth, user)).content == LARGE
    known = await current(truth, user)
    assert known.fenced
    assert await truth.commit(move(known, None, NodeEventType.PURGED)) is Outcome.DONE
    assert (await item_of(table, user), await item_of(table, user, body_key)) == ({}, {})


class Between:
    """A table on which something happens before the read of a content."""

    def __init__(self, table: Table, happens: Any) -> None:
        self._table = table
        self._happens = happens
        self.contents = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    async def get(self, key: Any, **options: Any) -> Any:
        if key[1].startswith("BODY#"):
            self.contents += 1
            await self._happens()
        return await self._table.get(key, **options)

    async def batch_get(self, keys: Any, **options: Any) -> Any:
        if any(sort.startswith("BODY#") for _, sort in keys):
            self.contents += 1
            await self._happens()
        return await self._table.batch_get(keys, **options)


def reader(table: Any) -> DynamoNodeStore:
    clock = SystemClock()
    answers = Idempotency(table, "contract", clock)
    return DynamoNodeStore(table, Log(), answers, Enveloper(UlidFactory(clock), dict), sleep=no_wait)


@pytest.mark.parametrize("asked", [["n"], ["n", "other"]])
async def test_a_read_never_mixes_two_versions(
    table: Table, truth: DynamoNodeStore, user: str, asked: list[str]
) -> None:
    """Between the reads of the state and the content another writer changes both."""
    await stored(truth, note(user, title="title 1", **text(LARGE + " 1")))
    writes = 0

    async def write() -> None:
        nonlocal writes
        if writes < 3:
            writes += 1
            known = await current(truth, user)
            number = known.version + 1
            after = replace(known, version=number, title=f"title {number}", **text(f"{LARGE} {number}"))
            assert await truth.commit(update(known, after)) is Outcome.DONE

    between = Between(table, write)
    found = (await reader(between).read(user, asked, {}))["n"]
    assert found.title.split()[-1] == found.content.split()[-1] == str(found.version) == "4"
    assert between.contents == 4


async def test_a_read_that_never_finds_a_quiet_moment_is_aborted(
    table: Table, truth: DynamoNodeStore, user: str
) -> None:
    await stored(truth, note(user, **text(LARGE)))

    async def write() -> None:
        known = await current(truth, user)
        after = replace(known, version=known.version + 1, **text(f"{LARGE} {known.version}"))
        assert await truth.commit(update(known, after)) is Outcome.DONE

    with pytest.raises(Aborted) as caught:
        await reader(Between(table, write)).current(user, "n")
    assert caught.value.reason == "CONTENTION"


async def test_a_content_that_is_gone_is_a_loss_of_data(table: Table, truth: DynamoNodeStore, user: str) -> None:
    await stored(truth, note(user, **text(LARGE)))
    await table.delete(body_key(user, "n"))
    with pytest.raises(DataLoss) as caught:
        await reader(table).current(user, "n")
    assert caught.value.reason == "CONTENT_MISSING"
    assert (await truth.summaries(user, ["n"], {}))["n"].title == note(user).title


async def test_a_note_that_is_purged_between_the_reads_is_missing(
    table: Table, truth: DynamoNodeStore, user: str
) -> None:
    await stored(truth, note(user, **text(LARGE)))

    async def purge() -> None:
        known = await truth.current(user, "n")
        if known is not None:
            assert await truth.commit(move(known, None, NodeEventType.PURGED)) is Outcome.DONE

    assert await reader(Between(table, purge)).current(user, "n") is None


async def written_by_an_earlier_release(table: Table, user: str) -> Node:
    """One item with the whole note."""
    node = note(user, **text(LARGE))
    await table.put(items.state_item(node) | {"content": node.content})
    return node


def renamed(known: Node) -> NodeWrite:
    return update(known, replace(known, version=2, title="renamed"))


def removed(known: Node) -> NodeWrite:
    return move(known.summary(), deleted(known), NodeEventType.DELETED)


def kept(known: Node) -> NodeWrite:
    return NodeWrite(before=known, after=known, event=None)


@pytest.mark.parametrize("change", [renamed, removed, kept])
async def test_a_note_of_one_item_is_read_and_becomes_two_by_the_next_write(
    table: Table, truth: DynamoNodeStore, user: str, change: Any
) -> None:
    node = await written_by_an_earlier_release(table, user)
    for asked in (["n"], ["n", "other"]):
        assert await truth.read(user, asked, {}) == {"n": node}
    assert await truth.commit(change(await current(truth, user))) is Outcome.DONE
    item, body = await item_of(table, user), await item_of(table, user, body_key)
    assert item.keys().isdisjoint({"content", "content_zip"})
    assert item["content_version"] == body["version"] == item["version"]
    assert (await current(truth, user)).content == LARGE


async def test_an_earlier_release_s_note_that_changes_meanwhile_is_not_moved(
    table: Table, truth: DynamoNodeStore, user: str
) -> None:
    node = await written_by_an_earlier_release(table, user)
    known = await truth.current_summary(user, "n")
    assert known is not None
    await table.put(items.state_item(replace(node, version=2)) | {"content": "another"})
    assert await truth.commit(move(known, deleted(known), NodeEventType.DELETED)) is Outcome.CONFLICT
    assert (await current(truth, user)).content == "another"


async def current(store: NodeStore, user: str) -> Node:
    found = await store.current(user, "n")
    assert found is not None
    return found
