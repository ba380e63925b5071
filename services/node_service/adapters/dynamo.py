"""NodeStore and SettingsStore on the table: one item for each note, one transaction for each write.

The item of a live note has the keys of UserTimeIndex, that of a deleted note those of DeletionQueue, and none has both.
Reads are strongly consistent, so that what a reader puts into the cache is never older than the read.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from protos.table import (
    DELETION_QUEUE,
    INDEXES,
    NODES,
    USER_TIME_INDEX,
    deleted_partition,
    deletion_shard,
    due_sort_key,
    node_key,
    node_of,
    node_sort_key,
    node_time_sort_key,
    settings_key,
    time_bound,
    user_of,
    user_partition,
)
from services.node_service.adapters import codec
from services.node_service.model import Cascade, Node, NodeEvent, NodeEventType, Revision, Summary, UserSettings
from services.node_service.ports import NodeWrite, Outcome, Position
from shared.dynamo import ABSENT, Condition, Delete, Item, Op, Put, Reason, Table, TransactionCancelled, Update
from shared.errors import Brain2Error
from shared.events.envelope import Event
from shared.idempotent import IdempotentRequest

# Notes in one transaction. DynamoDB takes 100 operations; smaller transactions conflict less, and several run at once.
CHUNK_NOTES = 25
# Bytes of one transaction as JSON. DynamoDB takes 4 MB; a body of up to 1 MB is sent without blocking the event loop.
CHUNK_BYTES = 900_000
CHUNKS_AT_ONCE = 4

# The attribute of each field of a note: it has the same name, but the time x_ms is called x_time.
_ATTRIBUTES = {
    each.name: each.name.removesuffix("_ms") + "_time" if each.name.endswith("_ms") else each.name
    for each in fields(Node)
    if each.name != "user_id"
}
_SUMMARY_ATTRIBUTES = ("PK", "SK", *(name for name in _ATTRIBUTES.values() if name != "content"))
# The attributes of the index keys: of a live note, and of a deleted one.
_LIVE_KEY, _DELETED_KEY = INDEXES[USER_TIME_INDEX], INDEXES[DELETION_QUEUE]
# What changes when a note is deleted, fenced or restored.
_STATE_FIELDS = ("delete_ms", "purge_ms", "cascade", "fenced")
_STATE_ATTRIBUTES = (*_LIVE_KEY, *_DELETED_KEY, *(_ATTRIBUTES[name] for name in _STATE_FIELDS))


class EventLog(Protocol):
    """The part of shared.events.outbox.Outbox that is used here."""

    def put(self, event: Event) -> Put: ...
    def announce(self, *events: Event) -> None: ...


class Answers(Protocol):
    """The part of shared.idempotency.Idempotency that is used here."""

    async def find(self, request: IdempotentRequest) -> bytes | None: ...
    def record(self, request: IdempotentRequest, answer: bytes) -> Put: ...


class Envelopes(Protocol):
    """Puts an event into its envelope; the composition root gives it ids, time and trace."""

    def __call__(self, event: NodeEvent) -> Event: ...


class DynamoNodeStore:
    """NodeStore (port) without a cache: read() and titles() are as consistent as current()."""

    def __init__(self, table: Table, events: EventLog, answers: Answers, envelope: Envelopes) -> None:
        self._table = table
        self._events = events
        self._answers = answers
        self._envelope = envelope

    async def current(self, user_id: str, node_id: str) -> Node | None:
        item = await self._table.get(node_key(user_id, node_id), consistent=True)
        return None if item is None else to_node(item)

    async def current_summary(self, user_id: str, node_id: str) -> Summary | None:
        key = node_key(user_id, node_id)
        item = await self._table.get(key, consistent=True, attributes=_SUMMARY_ATTRIBUTES)
        return None if item is None else to_summary(item)

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> dict[str, Node]:
        if len(node_ids) == 1:
            node = await self.current(user_id, node_ids[0])
            return {} if node is None else {node.node_id: node}
        items = await self._table.batch_get([node_key(user_id, node_id) for node_id in node_ids], consistent=True)
        return {node.node_id: node for node in map(to_node, items.values())}

    async def titles(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, Revision]) -> Mapping[str, Node]:
        return await self.read(user_id, node_ids, seen)

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
            found += map(to_summary, page.items)
            next_start = page.next_start
            if next_start is None:
                break
        return found

    async def all_from(self, user_id: str, after: str, limit: int) -> list[Node]:
        last = node_sort_key(after) if after else None
        page = await self._table.query(
            user_partition(user_id), begins_with=NODES, after=last, limit=limit, consistent=True
        )
        return [to_node(item) for item in page.items]

    async def commit(self, write: NodeWrite) -> Outcome:
        ops, event = self._operations(write)
        try:
            await self._table.transact(ops)
        except TransactionCancelled as cancelled:
            return _outcome(write, cancelled.reasons, cancelled)
        if event is not None:
            self._events.announce(event)
        return Outcome.DONE

    async def commit_new(self, writes: Sequence[NodeWrite]) -> list[Outcome | Brain2Error]:
        outcomes: dict[int, Outcome | Brain2Error] = {}
        at_once = asyncio.Semaphore(CHUNKS_AT_ONCE)

        async def chunk(indexes: list[int]) -> None:
            async with at_once:
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
            for index, write in left.items():
                own, event = self._operations(write)
                places.append((index, len(ops), len(ops) + len(own)))
                ops += own
                if event is not None:
                    events.append(event)
            try:
                await self._table.transact(ops)
            except TransactionCancelled as cancelled:
                refused: dict[int, Outcome | Brain2Error] = {}
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

    def _operations(self, write: NodeWrite) -> tuple[list[Op], Event | None]:
        """The operations of a write (the note's is the first, the receipt's the last) and the event among them."""
        ops: list[Op] = [_note_operation(write)]
        event = None if write.event is None else self._envelope(write.event)
        if event is not None:
            ops.append(self._events.put(event))
        if write.receipt is not None:
            ops.append(self._answers.record(write.receipt.request, codec.encode(write.receipt.answer)))
        return ops, event


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


def to_item(node: Node) -> Item:
    """A whole note as its item."""
    partition, sort = node_key(node.user_id, node.node_id)
    values = {name: getattr(node, name) for name in _ATTRIBUTES if name not in _STATE_FIELDS}
    item = {_ATTRIBUTES[name]: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {"PK": partition, "SK": sort} | item | _state(node)


def to_summary(item: Mapping[str, Any]) -> Summary:
    """From a whole item, or from the attributes that UserTimeIndex has of it."""
    return Summary(**_values(item))


def to_node(item: Mapping[str, Any]) -> Node:
    return Node(**_values(item), content=item["content"])


def _values(item: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of Summary. A field whose attribute is absent has its default."""
    values = {
        name: tuple(value) if isinstance(value := item[attribute], list) else value
        for name, attribute in _ATTRIBUTES.items()
        if attribute in item and name != "content"
    }
    if "cascade" in values:
        values["cascade"] = Cascade(values["cascade"])
    return values | {"user_id": user_of(item["PK"]), "node_id": node_of(item["SK"])}


def _state(note: Summary) -> Item:
    """The attributes of _STATE_ATTRIBUTES that the item of the note has; the others are absent."""
    if note.delete_ms is None or note.purge_ms is None:
        live = user_partition(note.user_id), node_time_sort_key(note.create_ms, note.node_id)
        return dict(zip(_LIVE_KEY, live, strict=True))
    deleted = (
        deleted_partition(deletion_shard(note.user_id, note.node_id)),
        due_sort_key(note.purge_ms, note.user_id, note.node_id),
    )
    state: Item = {
        **dict(zip(_DELETED_KEY, deleted, strict=True)),
        "delete_time": note.delete_ms,
        "purge_time": note.purge_ms,
        "cascade": note.cascade.value,
    }
    return state | ({"fenced": True} if note.fenced else {})


def _note_operation(write: NodeWrite) -> Op:
    """An update leaves attributes that it does not know, so that a replica of an older release loses none."""
    note = write.after or write.before
    if note is None:
        raise ValueError("a write needs a note before or after it")
    key = node_key(note.user_id, note.node_id)
    condition = ABSENT if write.before is None else _unchanged(write.before)
    if write.after is None:
        return Delete(key, condition)
    if write.event is not None and write.event.event_type in (NodeEventType.CREATED, NodeEventType.UPDATED):
        assert isinstance(write.after, Node)
        item = to_item(write.after)
        if write.before is None:
            return Put(item, condition)
        sets = {name: value for name, value in item.items() if name not in ("PK", "SK")}
    else:
        sets = _state(write.after) | {"version": write.after.version}
    removes = [name for name in _STATE_ATTRIBUTES if name not in sets]
    return Update(
        key,
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
