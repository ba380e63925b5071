"""NodeStore and SettingsStore on the table: one or two items for each note (items.py), one transaction for each write.

The item of a live note has the keys of UserTimeIndex, that of a deleted note those of DeletionQueue, and none has both.
Reads are strongly consistent, so that what a reader puts into the cache is never older than the read. A read of the
content that comes between the two items of another write begins anew.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from protos.table import (
    NODES,
    USER_TIME_INDEX,
    body_key,
    node_key,
    node_of,
    node_sort_key,
    node_time_sort_key,
    settings_key,
    time_bound,
    user_partition,
)
from services.node_service.adapters import codec, items
from services.node_service.model import (
    EVENT_CONTENT_BYTES,
    Node,
    NodeEvent,
    NodeEventType,
    Revision,
    Summary,
    UserSettings,
)
from services.node_service.ports import NodeWrite, Outcome, Position
from shared.dynamo import ABSENT, Condition, Delete, Item, Op, Put, Reason, Table, TransactionCancelled, Update
from shared.errors import Aborted, Amounts, Brain2Error, DataLoss, QuotaExceeded
from shared.events.envelope import Event
from shared.idempotent import IdempotentRequest
from shared.quotas import Quotas
from shared.resilience.retry import Backoff, Sleep
from shared.resilience.slices import Slices, in_slices

# Notes in one transaction. DynamoDB takes 100 operations, of which a note needs four and its user's quota one; smaller
# transactions conflict less, and several run at once.
CHUNK_NOTES = 24
# Bytes of one transaction as JSON. DynamoDB takes 4 MB; a body of up to 1 MB is sent without blocking the event loop.
CHUNK_BYTES = 900_000
# Such transactions at once in this process: they are large, and a store takes other writes only between them.
CHUNKS_AT_ONCE = 2

# Above this many bytes a content is compressed in a thread: 32 KB take about a millisecond.
_THREAD_BYTES = 32 * 1024
# A deletion moves a content above this many bytes to BODY#n, if a release before docs/adr/0015 left it in NODE#n.
MOVED_BYTES = 2048
_NOTHING: Amounts = {"notes": 0, "bytes": 0}
# Reads of a note of which another writer changed the content in between.
_READS = 8
_REREAD = Backoff(base=0.002, cap=0.1)


class EventLog(Protocol):
    """The part of shared.events.outbox.Outbox that is used here."""

    def put(self, event: Event) -> Put: ...
    def announce(self, *events: Event) -> None: ...


class Answers(Protocol):
    """The part of shared.idempotency.Idempotency that is used here."""

    async def find(self, request: IdempotentRequest) -> bytes | None: ...
    async def record_of_any_size(self, request: IdempotentRequest, answer: bytes) -> Put: ...


class Envelopes(Protocol):
    """Puts an event into its envelope; the composition root gives it ids, time and trace."""

    def __call__(self, event: NodeEvent) -> Event: ...


class DynamoNodeStore:
    """NodeStore (port) without a cache: read() and summaries() are as consistent as current().

    quotas: None = there are none.
    """

    def __init__(
        self,
        table: Table,
        events: EventLog,
        answers: Answers,
        envelope: Envelopes,
        quotas: Quotas | None = None,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._table = table
        self._quotas = quotas
        self._events = events
        self._answers = answers
        self._envelope = envelope
        self._sleep = sleep
        self._chunks = asyncio.Semaphore(CHUNKS_AT_ONCE)

    async def current(self, user_id: str, node_id: str) -> Node | None:
        seen: Summary | None = None
        for attempt in range(_READS):
            item = await self._table.get(node_key(user_id, node_id), consistent=True)
            if item is None:
                return None
            body = await self._table.get(body_key(user_id, node_id), consistent=True) if items.has_body(item) else None
            node = items.to_node(item, body)
            if node is not None:
                return node
            summary = items.to_summary(item)
            if seen is not None and _content_stamp(seen) == _content_stamp(summary) and attempt == _READS - 1:
                raise DataLoss(f"the note {node_id} has no content", reason="CONTENT_MISSING")
            seen = summary
            await self._sleep(_REREAD.delay(attempt))
        raise Aborted(f"too many writers of the note {node_id}", reason="CONTENTION", retry_after=0.2)

    async def current_summary(self, user_id: str, node_id: str) -> Summary | None:
        key = node_key(user_id, node_id)
        item = await self._table.get(key, consistent=True, attributes=items.SUMMARY_ATTRIBUTES)
        return None if item is None else items.to_summary(item)

    async def likely(self, user_id: str, node_id: str) -> Summary | None:
        return None

    async def release(self, user_id: str, node_id: str) -> None:
        pass

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> dict[str, Node]:
        if len(node_ids) == 1:
            node = await self.current(user_id, node_ids[0])
            return {} if node is None else {node.node_id: node}
        found = await self._table.batch_get([node_key(user_id, node_id) for node_id in node_ids], consistent=True)
        return await self._with_contents(user_id, list(found.values()))

    async def summaries(
        self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]
    ) -> dict[str, Summary]:
        if len(node_ids) == 1:
            item = await self._table.get(node_key(user_id, node_ids[0]), consistent=True)
            found = [] if item is None else [item]
        else:
            keys = [node_key(user_id, node_id) for node_id in node_ids]
            found = list((await self._table.batch_get(keys, consistent=True)).values())
        notes = [items.to_node(item) or items.to_summary(item) for item in found]
        return {note.node_id: note for note in notes}

    async def titles(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> dict[str, Summary]:
        return await self.summaries(user_id, node_ids, seen)

    async def _with_contents(self, user_id: str, found: Sequence[Item]) -> dict[str, Node]:
        """The notes of some NODE#n, with the contents from BODY#n. A note of which the two don't fit is read again."""
        apart = [items.to_summary(item).node_id for item in found if items.has_body(item)]
        bodies = await self._table.batch_get([body_key(user_id, node_id) for node_id in apart], consistent=True)
        notes: dict[str, Node] = {}

        def whole(item: Item) -> tuple[str, Node | None]:
            node_id = node_of(item["SK"])
            return node_id, items.to_node(item, bodies.get(body_key(user_id, node_id)))

        for node_id, node in await in_slices(whole, found):
            if node is None:
                node = await self.current(user_id, node_id)
            if node is not None:
                notes[node_id] = node
        return notes

    async def page(
        self, user_id: str, *, since_ms: int, until_ms: int, after: Position | None, limit: int
    ) -> list[Summary]:
        # Every key continues after its time, so the upper bound excludes exactly the notes of until_ms and later.
        between = time_bound(since_ms), time_bound(until_ms)
        before = None if after is None else node_time_sort_key(after.create_ms, after.node_id)
        found: list[Summary] = []
        next_start: Item | None = None
        while len(found) < limit:
            page = await self._table.query(
                user_partition(user_id),
                index=USER_TIME_INDEX,
                between=between,
                before=before,
                descending=True,
                limit=limit - len(found),
                start=next_start,
            )
            found += map(items.to_summary, page.items)
            next_start = page.next_start
            if next_start is None:
                break
        return found

    async def all_from(self, user_id: str, after: str, limit: int) -> list[Summary]:
        last = node_sort_key(after) if after else None
        page = await self._table.query(
            user_partition(user_id), begins_with=NODES, after=last, limit=limit, consistent=True
        )
        notes = {note.node_id: items.to_node(item) or note for item in page.items for note in [items.to_summary(item)]}
        small = [item for item in page.items if items.has_body(item) and item["content_bytes"] <= EVENT_CONTENT_BYTES]
        notes |= await self._with_contents(user_id, small)
        return list(notes.values())

    async def commit(self, write: NodeWrite) -> Outcome:
        ops, event = await self._operations(write)
        try:
            await self._transact(ops, [write])
        except TransactionCancelled as cancelled:
            return _outcome(write, cancelled.reasons, cancelled)
        if event is not None:
            self._events.announce(event)
        return Outcome.DONE

    async def commit_new(self, writes: Sequence[NodeWrite]) -> list[Outcome | Brain2Error]:
        outcomes: dict[int, Outcome | Brain2Error] = {}

        async def chunk(indexes: list[int]) -> None:
            async with self._chunks:
                outcomes.update(await self._commit_chunk({index: writes[index] for index in indexes}))

        async with asyncio.TaskGroup() as group:
            for indexes in _chunks(writes):
                group.create_task(chunk(indexes))
        return [outcomes[index] for index in range(len(writes))]

    async def previous_answer(self, request: IdempotentRequest) -> Summary | None:
        receipt = await self._answers.find(request)
        return None if receipt is None else codec.decode_receipt(request.user_id, receipt)

    async def _commit_chunk(self, writes: Mapping[int, NodeWrite]) -> dict[int, Outcome | Brain2Error]:
        """Write these in one transaction. A note that can't be written is taken out, and the others are tried again."""
        outcomes: dict[int, Outcome | Brain2Error] = {}
        left = dict(writes)
        while left:
            ops: list[Op] = []
            events: list[Event] = []
            places: list[tuple[int, int, int]] = []
            slices = Slices()
            for index, write in left.items():
                own, event = await self._operations(write)
                await slices.pause()
                places.append((index, len(ops), len(ops) + len(own)))
                ops += own
                if event is not None:
                    events.append(event)
            refused: dict[int, Outcome | Brain2Error] = {}
            try:
                await self._transact(ops, list(left.values()))
            except QuotaExceeded as exceeded:
                refused = _without_room(exceeded, left)
                outcomes |= refused
                left = {index: write for index, write in left.items() if index not in refused}
            except TransactionCancelled as cancelled:
                for index, first, end in places:
                    own_reasons = cancelled.reasons[first:end]
                    if any(reason.failed for reason in own_reasons):
                        refused[index] = _outcome(left[index], own_reasons, cancelled)
                if not refused:  # a conflict or a throttle that outlasted the retries concerns all of them
                    return outcomes | dict.fromkeys(left, cancelled)
                outcomes |= refused
                left = {index: write for index, write in left.items() if index not in refused}
            except Brain2Error as error:
                return outcomes | dict.fromkeys(left, error)
            else:
                self._events.announce(*events)
                return outcomes | dict.fromkeys(left, Outcome.DONE)
        return outcomes

    async def _transact(self, ops: Sequence[Op], writes: Sequence[NodeWrite]) -> None:
        """Do the operations of writes of one user, if its quotas allow them."""
        if self._quotas is None:
            await self._table.transact(ops)
        else:
            await self._quotas.transact(_user_of(writes[0]), ops, _sum(map(_added, writes)))

    async def _operations(self, write: NodeWrite) -> tuple[list[Op], Event | None]:
        """The operations of a write (the note's is the first, the receipt's the last) and the event among them."""
        ops = await self._note_operations(write)
        event = None if write.event is None else self._envelope(write.event)
        if event is not None:
            ops.append(self._events.put(event))
        if write.receipt is not None:
            answer = codec.encode_receipt(write.receipt.answer)
            ops.append(await self._answers.record_of_any_size(write.receipt.request, answer))
        return ops, event

    async def _note_operations(self, write: NodeWrite) -> list[Op]:
        """Of NODE#n, and of BODY#n if its content is changed, moved or removed.

        An update leaves attributes that it does not know, so that a replica of an older release loses none.
        """
        note = write.after or write.before
        if note is None:
            raise ValueError("a write needs a note before or after it")
        key = node_key(note.user_id, note.node_id)
        body = body_key(note.user_id, note.node_id)
        before, after = write.before, write.after
        condition = ABSENT if before is None else _unchanged(before)
        if after is None:
            ops: list[Op] = [Delete(key, condition)]
            return [*ops, Delete(body)] if note.content_version else ops
        if write.event is not None and write.event.event_type in (NodeEventType.CREATED, NodeEventType.UPDATED):
            assert isinstance(after, Node)
            if before is not None and before.content_version and _content_of(before) == after.content:
                return [_update(items.state_item(after), items.STATE_ATTRIBUTES, condition)]
            item, body_item = items.whole_items(after, await _packed(after.content))
            ops = [
                Put(item, condition)
                if before is None
                else _update(item, (*items.STATE_ATTRIBUTES, *items.CONTENT_ATTRIBUTES), condition)
            ]
            if body_item is not None:
                ops.append(Put(body_item))
            elif before is not None and before.content_version:
                ops.append(Delete(body))
            return ops
        assert before is not None
        sets = {"PK": key[0], "SK": key[1], "version": after.version, **items.state(after)}
        if moved := await self._moved(before, after):
            content, body_item = moved
            removed = (*items.STATE_ATTRIBUTES, *items.CONTENT_ATTRIBUTES)
            return [_update(sets | content, removed, condition), Put(body_item)]
        return [_update(sets, items.STATE_ATTRIBUTES, condition)]

    async def _moved(self, before: Summary, after: Summary) -> tuple[Item, Item] | None:
        """What moves a content that an earlier release left in NODE#n: the attribute that names BODY#n, and BODY#n."""
        if before.content_version or before.content_bytes <= MOVED_BYTES:
            return None
        content = _content_of(before)
        if content is None:
            node = await self.current(before.user_id, before.node_id)
            # The condition of the write refuses what another writer has changed since.
            if node is None or node.content_version or node.version != before.version:
                return None
            content = node.content
        whole = after.with_content(content)
        item, body_item = items.whole_items(whole, await _packed(content))
        return None if body_item is None else ({"content_version": item["content_version"]}, body_item)


class StoredNotes:
    """Counts the live notes of a user and their bytes, for the quotas."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def __call__(self, user_id: str) -> Amounts:
        used: Amounts = _NOTHING
        pages = self._table.query_pages(user_partition(user_id), begins_with=NODES, attributes=items.SUMMARY_ATTRIBUTES)
        async for page in pages:
            used = _sum([used, *(_used(items.to_summary(item)) for item in page)])
        return used


class DynamoSettings:
    """SettingsStore (port): one item for each user."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def load(self, user_id: str) -> UserSettings | None:
        item = await self._table.get(settings_key("node", user_id), consistent=True)
        return None if item is None else UserSettings(retention_seconds=item["retention_seconds"])

    async def save(self, user_id: str, settings: UserSettings | None) -> None:
        if settings is None:
            await self._table.delete(settings_key("node", user_id))
            return
        key, sort = settings_key("node", user_id)
        await self._table.put({"PK": key, "SK": sort, "retention_seconds": settings.retention_seconds})


def _content_of(note: Summary) -> str | None:
    return note.content if isinstance(note, Node) else None


def _content_stamp(note: Summary) -> tuple[int, int]:
    return note.incarnation, note.content_version


async def _packed(content: str) -> Item:
    """items.pack(), in a thread when it takes long."""
    return items.pack(content) if len(content) <= _THREAD_BYTES else await asyncio.to_thread(items.pack, content)


def _update(item: Item, may_remove: Sequence[str], condition: Condition) -> Update:
    """Set the attributes of an item, and remove those of may_remove that it doesn't have."""
    sets = {name: value for name, value in item.items() if name not in ("PK", "SK")}
    removes = [name for name in may_remove if name not in sets]
    return Update(
        (item["PK"], item["SK"]),
        f"SET {', '.join(f'#{name} = :{name}' for name in sets)} REMOVE {', '.join(f'#{name}' for name in removes)}",
        names={f"#{name}": name for name in (*sets, *removes)},
        values={f":{name}": value for name, value in sets.items()},
        condition=condition,
    )


def _unchanged(before: Summary) -> Condition:
    """The condition names the fence, which doesn't raise the version, and the incarnation, because a note that was
    created again after a purge may have the version of the old one."""
    fence = "attribute_exists(#fenced)" if before.fenced else "attribute_not_exists(#fenced)"
    return Condition(
        f"#version = :was AND #incarnation = :born AND {fence}",
        names={"#version": "version", "#incarnation": "incarnation", "#fenced": "fenced"},
        values={":was": before.version, ":born": before.incarnation},
    )


def _user_of(write: NodeWrite) -> str:
    note = write.after or write.before
    assert note is not None
    return note.user_id


def _used(note: Summary | None) -> Amounts:
    """What a note takes of the quotas: nothing while it is deleted."""
    return _NOTHING if note is None or note.deleted else {"notes": 1, "bytes": note.bytes}


def _added(write: NodeWrite) -> Amounts:
    """What a write adds to that."""
    before, after = _used(write.before), _used(write.after)
    return {kind: after[kind] - before[kind] for kind in _NOTHING}


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    total = dict(_NOTHING)
    for each in amounts:
        for kind, amount in each.items():
            total[kind] += amount
    return total


def _without_room(exceeded: QuotaExceeded, writes: Mapping[int, NodeWrite]) -> dict[int, Outcome | Brain2Error]:
    """An error for each of these new notes that is too much, if they are written in their order."""
    refused: dict[int, Outcome | Brain2Error] = {}
    used = exceeded.used
    for index, write in writes.items():
        added = _added(write)
        error = QuotaExceeded(used, exceeded.limits, added)
        if error.has_room(added):
            used = _sum((used, added))
        else:
            refused[index] = error
    return refused


def _outcome(write: NodeWrite, reasons: Sequence[Reason], cancelled: TransactionCancelled) -> Outcome:
    # The receipt is looked at first, because a repeated creation fails on both.
    if write.receipt is not None and reasons[-1].failed:
        return Outcome.REPEATED
    # Conflicts with other transactions that outlast the retries are conflicts, too, if the note was there.
    if reasons[0].failed or (write.before is not None and cancelled.reason == "TRANSACTION_CONFLICT"):
        return Outcome.CONFLICT
    raise cancelled


def _wire_bytes(write: NodeWrite) -> int:
    """About the size of a write as JSON. It has the content twice, in the note and in the event."""
    content = write.after.content if isinstance(write.after, Node) else ""
    # A character that isn't ASCII is sent as six bytes. The other fields seldom have more than 2 KB.
    return 2_000 + 2 * len(content) * (1 if content.isascii() else 6)


def _chunks(writes: Sequence[NodeWrite]) -> list[list[int]]:
    chunks: list[list[int]] = []
    size = 0
    for index, write in enumerate(writes):
        own = _wire_bytes(write)
        if not chunks or len(chunks[-1]) == CHUNK_NOTES or size + own > CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(index)
        size += own
    return chunks
