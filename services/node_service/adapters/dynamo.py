"""NodeStore, SettingsStore on the table: one item a note, one transaction a write.

Item USER#u / NODE#n. A live note has the keys of UserTimeIndex, a deleted one those of DeletionQueue, never both.
Reads are strongly consistent, so that what a reader puts into the cache is never older than the read.
"""

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.node_service.adapters import codec
from services.node_service.model import Cascade, Node, NodeEvent, NodeEventType, Summary, UserSettings
from services.node_service.ports import Change, Outcome, Position, Request
from shared.dynamo import ABSENT, Condition, Delete, Item, Key, Op, Put, Reason, Table, TransactionCancelled, Update
from shared.errors import Brain2Error
from shared.events.envelope import Event
from shared.idempotent import IdempotentRequest
from shared.ids import time_key

DELETION_SHARDS = 16
# DynamoDB takes 100 operations a transaction; smaller ones conflict and fail less, and several run at once.
CHUNK_NOTES = 25
# As JSON on the wire. DynamoDB takes 4 MB; the client writes a body of up to 1 MB without holding up the event loop.
CHUNK_BYTES = 900_000
CHUNKS_AT_ONCE = 4

_SUMMARY_ATTRIBUTES = (
    *("PK", "SK", "title", "tags", "metadata", "version", "incarnation", "create_time", "update_time"),
    *("delete_time", "purge_time", "excerpt", "content_bytes", "cascade", "fenced"),
)


class EventLog(Protocol):
    """The part of shared.events.outbox.Outbox that is used here."""

    def put(self, event: Event) -> Put: ...
    def announce(self, *events: Event) -> None: ...


class Answers(Protocol):
    """The part of shared.idempotency.Idempotency that is used here."""

    async def find(self, request: IdempotentRequest) -> bytes | None: ...
    def record(self, request: IdempotentRequest, answer: bytes) -> Put: ...


class Envelopes(Protocol):
    """Puts an event into its envelope: ids, time and trace come from the composition root."""

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

    async def read(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, int]) -> dict[str, Node]:
        if len(node_ids) == 1:
            node = await self.current(user_id, node_ids[0])
            return {} if node is None else {node.node_id: node}
        items = await self._table.batch_get([node_key(user_id, node_id) for node_id in node_ids], consistent=True)
        return {node.node_id: node for node in map(to_node, items.values())}

    async def titles(self, user_id: str, node_ids: Sequence[str], seen: Mapping[str, int]) -> Mapping[str, Node]:
        return await self.read(user_id, node_ids, seen)

    async def page(
        self, user_id: str, *, since_ms: int, until_ms: int, after: Position | None, limit: int
    ) -> list[Summary]:
        low = f"TIMESTAMP#{time_key(since_ms)}"
        # No key ends right after its time, so this bound leaves out exactly what was created at until_ms and later.
        high = f"TIMESTAMP#{time_key(until_ms)}"
        before = None if after is None else f"TIMESTAMP#{time_key(after.create_ms)}#{after.node_id}"
        found: list[Summary] = []
        next_start: Item | None = None
        while len(found) < limit:
            page = await self._table.query(
                f"USER#{user_id}",
                index="UserTimeIndex",
                between=(low, high),
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
        last = f"NODE#{after}" if after else None
        page = await self._table.query(f"USER#{user_id}", begins_with="NODE#", after=last, limit=limit, consistent=True)
        return [to_node(item) for item in page.items]

    async def commit(self, change: Change) -> Outcome:
        ops, event = self._operations(change)
        try:
            await self._table.transact(ops)
        except TransactionCancelled as cancelled:
            return _outcome(change, cancelled.reasons, cancelled)
        if event is not None:
            self._events.announce(event)
        return Outcome.DONE

    async def commit_new(self, changes: Sequence[Change]) -> list[Outcome | Brain2Error]:
        outcomes: dict[int, Outcome | Brain2Error] = {}
        at_once = asyncio.Semaphore(CHUNKS_AT_ONCE)

        async def chunk(indexes: list[int]) -> None:
            async with at_once:
                outcomes.update(await self._commit_chunk({index: changes[index] for index in indexes}))

        async with asyncio.TaskGroup() as group:
            for indexes in _chunks(changes):
                group.create_task(chunk(indexes))
        return [outcomes[index] for index in range(len(changes))]

    async def answer(self, user_id: str, request: Request) -> Summary | None:
        kept = await self._answers.find(IdempotentRequest(user_id, request.request_id, request.fingerprint))
        if kept is None:
            return None
        node_id, _, note = kept.partition(b"\n")
        return codec.decode(user_id, node_id.decode(), note)

    async def _commit_chunk(self, changes: Mapping[int, Change]) -> dict[int, Outcome | Brain2Error]:
        """Write these together; whoever can't be written is taken out, and the others are written without it."""
        outcomes: dict[int, Outcome | Brain2Error] = {}
        left = dict(changes)
        while left:
            ops: list[Op] = []
            events: list[Event] = []
            places: list[tuple[int, int, int]] = []
            for index, change in left.items():
                own, event = self._operations(change)
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
                if not refused:  # a conflict or a throttle that outlasted the retries: it's everybody's
                    return outcomes | dict.fromkeys(left, cancelled)
                outcomes |= refused
                left = {index: change for index, change in left.items() if index not in refused}
            except Brain2Error as error:
                return outcomes | dict.fromkeys(left, error)
            else:
                self._events.announce(*events)
                return outcomes | dict.fromkeys(left, Outcome.DONE)
        return outcomes

    def _operations(self, change: Change) -> tuple[list[Op], Event | None]:
        """The operations of a change (the note's always first, the receipt's always last) and the event among them."""
        ops: list[Op] = [_write(change)]
        event = None if change.event is None else self._envelope(change.event)
        if event is not None:
            ops.append(self._events.put(event))
        if change.receipt is not None:
            request, note = change.receipt.request, change.receipt.answer
            kept = note.node_id.encode() + b"\n" + codec.encode(note)
            own = IdempotentRequest(note.user_id, request.request_id, request.fingerprint)
            ops.append(self._answers.record(own, kept))
        return ops, event


class DynamoSettings:
    """SettingsStore (port): the item USER#u / SETTINGS#node."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def load(self, user_id: str) -> UserSettings | None:
        item = await self._table.get(_settings_key(user_id), consistent=True)
        return None if item is None else UserSettings(retention_seconds=item["retention_seconds"])

    async def save(self, user_id: str, settings: UserSettings | None) -> None:
        if settings is None:
            await self._table.delete(_settings_key(user_id))
            return
        key, sort = _settings_key(user_id)
        await self._table.put({"PK": key, "SK": sort, "retention_seconds": settings.retention_seconds})


def node_key(user_id: str, node_id: str) -> Key:
    return f"USER#{user_id}", f"NODE#{node_id}"


def _settings_key(user_id: str) -> Key:
    return f"USER#{user_id}", "SETTINGS#node"


def deletion_shard(user_id: str, node_id: str) -> int:
    """Which of the DeletionQueue's partitions a note is in: the same on every machine, for ever."""
    return zlib.crc32(f"{user_id}#{node_id}".encode()) % DELETION_SHARDS


def to_item(node: Node) -> Item:
    """A whole note as its item."""
    partition, sort = node_key(node.user_id, node.node_id)
    item: Item = {
        "PK": partition,
        "SK": sort,
        "node_id": node.node_id,
        "title": node.title,
        "content": node.content,
        "tags": list(node.tags),
        "metadata": dict(node.metadata),
        "version": node.version,
        "incarnation": node.incarnation,
        "create_time": node.create_ms,
        "update_time": node.update_ms,
        "excerpt": node.excerpt,
        "content_bytes": node.content_bytes,
    }
    return item | _life(node)


def to_summary(item: Mapping[str, Any]) -> Summary:
    """From a whole item, or from what UserTimeIndex has of it."""
    return Summary(**_known(item))


def to_node(item: Mapping[str, Any]) -> Node:
    return Node(**_known(item), content=item["content"])


def _known(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "user_id": item["PK"].removeprefix("USER#"),
        "node_id": item["SK"].removeprefix("NODE#"),
        "title": item["title"],
        "version": item["version"],
        "incarnation": item["incarnation"],
        "create_ms": item["create_time"],
        "update_ms": item["update_time"],
        "delete_ms": item.get("delete_time"),
        "purge_ms": item.get("purge_time"),
        "tags": tuple(item["tags"]),
        "metadata": item["metadata"],
        "excerpt": item["excerpt"],
        "content_bytes": item["content_bytes"],
        "cascade": Cascade(item.get("cascade", Cascade.EDGES.value)),
        "fenced": item.get("fenced", False),
    }


def _life(note: Summary) -> Item:
    """The attributes that say where a note is in its life; those that aren't here are absent from the item."""
    if note.delete_ms is None or note.purge_ms is None:
        place = f"TIMESTAMP#{time_key(note.create_ms)}#{note.node_id}"
        return {"GSI3PK": f"USER#{note.user_id}", "GSI3SK": place}
    due = f"TIMESTAMP#{time_key(note.purge_ms)}#USER#{note.user_id}#NODE#{note.node_id}"
    life: Item = {
        "GSI2PK": f"DELETED#{deletion_shard(note.user_id, note.node_id)}",
        "GSI2SK": due,
        "delete_time": note.delete_ms,
        "purge_time": note.purge_ms,
        "cascade": note.cascade.value,
    }
    return life | ({"fenced": True} if note.fenced else {})


_LIFE_ATTRIBUTES = ("GSI3PK", "GSI3SK", "GSI2PK", "GSI2SK", "delete_time", "purge_time", "cascade", "fenced")


def _write(change: Change) -> Op:
    note = change.after or change.before
    if note is None:
        raise ValueError("a change is of a note that was or will be")
    key = node_key(note.user_id, note.node_id)
    condition = ABSENT if change.before is None else _unchanged(change.before)
    if change.after is None:
        return Delete(key, condition)
    if isinstance(change.after, Node) and (
        change.event is not None and change.event.event_type in (NodeEventType.CREATED, NodeEventType.UPDATED)
    ):
        return Put(to_item(change.after), condition)
    life = _life(change.after)
    life["version"] = change.after.version
    gone = [name for name in _LIFE_ATTRIBUTES if name not in life]
    sets = ", ".join(f"#{name} = :{name}" for name in life)
    return Update(
        key,
        f"SET {sets} REMOVE {', '.join(f'#{name}' for name in gone)}",
        names={f"#{name}": name for name in (*life, *gone)},
        values={f":{name}": value for name, value in life.items()},
        condition=condition,
    )


def _unchanged(before: Summary) -> Condition:
    """Fencing doesn't raise the version, and a note created anew may have the version of the old one."""
    fence = "attribute_exists(#fenced)" if before.fenced else "attribute_not_exists(#fenced)"
    return Condition(
        f"#version = :was AND #incarnation = :born AND {fence}",
        names={"#version": "version", "#incarnation": "incarnation", "#fenced": "fenced"},
        values={":was": before.version, ":born": before.incarnation},
    )


def _outcome(change: Change, reasons: Sequence[Reason], cancelled: TransactionCancelled) -> Outcome:
    # The receipt first: a repeated creation fails on both.
    if change.receipt is not None and reasons[-1].failed:
        return Outcome.REPEATED
    # Meeting other transactions again and again on a note that is there is a conflict like any other.
    if reasons[0].failed or (change.before is not None and cancelled.reason == "TRANSACTION_CONFLICT"):
        return Outcome.CONFLICT
    raise cancelled


def _wire_bytes(change: Change) -> int:
    """About what a change takes as JSON: its content is there twice, in the note and in the event."""
    content = change.after.content if isinstance(change.after, Node) else ""
    # Whatever isn't ASCII is sent as six bytes a character. The rest of a note is seldom more than 2 KB.
    return 2_000 + 2 * len(content) * (1 if content.isascii() else 6)


def _chunks(changes: Sequence[Change]) -> list[list[int]]:
    chunks: list[list[int]] = []
    size = 0
    for index, change in enumerate(changes):
        own = _wire_bytes(change)
        if not chunks or len(chunks[-1]) == CHUNK_NOTES or size + own > CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(index)
        size += own
    return chunks
