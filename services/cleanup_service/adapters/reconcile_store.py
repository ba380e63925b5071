"""ports.reconcile_user.ReconcileStore: reads items of all contexts in the table (docs/adr/0045).

Of other contexts it reads notes (node), edges and hidden markers (graph), index records and keywords (similarity), and
all outboxes. It writes only what no service can be asked for: the missing side of an edge, as a copy of the other one
(graph); it removes keywords of notes that don't exist (similarity), and outbox items that it has published.
"""

from collections.abc import AsyncIterator, Mapping, Sequence, Set

from protos import table
from services.cleanup_service.model.findings import EdgeSide, IndexEntry, StoredNote
from shared.dynamo import ABSENT, Check, Condition, Item, Key, Put, Table, TransactionCancelled
from shared.errors import Unavailable
from shared.events.bus import Bus, Refused, calls
from shared.events.envelope import Event
from shared.events.stored import readable_event

_PAGE = 500
_NOTE = ("SK", "version", "delete_time")
_ENTRY = ("SK", "v", "s", "vis", "gone")


class DynamoReconcileStore:
    """Strongly consistent reads of keys and few attributes. outbox_shards: the partitions of each outbox."""

    def __init__(self, items: Table, bus: Bus, outbox_shards: int = table.OUTBOX_SHARDS) -> None:
        self._table = items
        self._bus = bus
        self._outbox_shards = outbox_shards

    async def notes(self, user_id: str) -> AsyncIterator[list[StoredNote]]:
        async for items in self._pages(user_id, table.NODES, _NOTE):
            yield [_note(item) for item in items]

    async def edges(self, user_id: str, node_id: str = "") -> AsyncIterator[list[EdgeSide]]:
        begins = table.edges_prefix(node_id) if node_id else table.EDGES
        async for items in self._pages(user_id, begins, ("SK", "w", "rej")):
            yield [_side(item) for item in items]

    async def stored(self, user_id: str, sides: Sequence[EdgeSide]) -> list[EdgeSide]:
        by_key = {_key(user_id, side): side for side in sides}
        found = await self._table.batch_get(by_key, consistent=True, attributes=("PK",))
        return [side for key, side in by_key.items() if key in found]

    async def missing_mirrors(self, user_id: str, sides: Sequence[EdgeSide]) -> list[EdgeSide]:
        mirrors = set(await self.stored(user_id, [side.mirror for side in sides]))
        # The side itself may have been removed since it was listed.
        return await self.stored(user_id, [side for side in sides if side.mirror not in mirrors])

    async def complete(self, user_id: str, side: EdgeSide) -> bool:
        key = _key(user_id, side)
        item = await self._table.get(key, consistent=True)
        if item is None:
            return False
        unchanged = Condition("ver = :v", values={":v": item["ver"]})
        pk, sk = _key(user_id, side.mirror)
        try:
            await self._table.transact([Check(key, unchanged), Put({**item, "PK": pk, "SK": sk}, ABSENT)])
        except TransactionCancelled as error:
            if any(reason.failed for reason in error.reasons):
                return False
            raise
        return True

    async def index_entries(self, user_id: str) -> AsyncIterator[list[IndexEntry]]:
        async for items in self._pages(user_id, table.TERMS, _ENTRY):
            yield [_entry(item) for item in items]

    async def hidden(self, user_id: str) -> AsyncIterator[list[str]]:
        async for items in self._pages(user_id, table.HIDDEN, ("SK", "hid")):
            yield [table.hidden_of(item["SK"]) for item in items if item.get("hid")]

    async def projections(
        self, user_id: str, node_ids: Sequence[str]
    ) -> tuple[Mapping[str, StoredNote], Mapping[str, IndexEntry], Set[str]]:
        keys = [
            key(user_id, node_id) for node_id in node_ids for key in (table.node_key, table.terms_key, table.hidden_key)
        ]
        attributes = tuple(dict.fromkeys((*_NOTE, *_ENTRY, "hid")))
        items = (await self._table.batch_get(keys, consistent=True, attributes=attributes)).values()
        notes = [_note(item) for item in items if item["SK"].startswith(table.NODES)]
        entries = [_entry(item) for item in items if item["SK"].startswith(table.TERMS)]
        hidden = {table.hidden_of(item["SK"]) for item in items if item.get("hid")}
        return {note.node_id: note for note in notes}, {entry.node_id: entry for entry in entries}, hidden

    async def posting_notes(self, user_id: str, node_id: str = "") -> AsyncIterator[list[str]]:
        last = ""
        async for items in self._pages(user_id, table.postings_prefix(node_id) if node_id else table.POSTINGS, ("SK",)):
            found = list(dict.fromkeys(table.posting_node(item["SK"]) for item in items))
            yield [node_id for node_id in found if node_id != last]
            last = found[-1] if found else last

    async def remove_postings(self, user_id: str, node_id: str) -> None:
        async for items in self._pages(user_id, table.postings_prefix(node_id), ("PK", "SK")):
            await self._table.batch_write(deletes=[(item["PK"], item["SK"]) for item in items])

    async def unpublished(self, user_id: str, before_ms: int) -> list[tuple[str, str]]:
        return [(event.id, event.type) for _, event in await self._outbox_events(user_id) if event.time_ms < before_ms]

    async def publish(self, user_id: str, event_ids: Sequence[str]) -> None:
        wanted = set(event_ids)
        keys: dict[str, Key] = {}
        events: list[Event] = []
        for key, event in await self._outbox_events(user_id):
            if event.id in wanted:
                keys[event.id] = key
                events.append(event)
        waiting: list[Refused] = []
        for batch in calls(events):
            taken, refused = await self._bus.publish(batch)
            await self._table.batch_write(deletes=[keys[event.id] for event in taken])
            waiting += refused
        if waiting:
            raise Unavailable(f"the bus refused events: {waiting[0].code}", reason="BUS_UNAVAILABLE")

    async def _outbox_events(self, user_id: str) -> list[tuple[Key, Event]]:
        found = []
        for service in table.SERVICES:
            for shard in range(self._outbox_shards):
                async for item in self._table.query_all(table.outbox_partition(service, shard), consistent=True):
                    event = readable_event(item)
                    if event is not None and event.user_id == user_id:
                        found.append(((item["PK"], item["SK"]), event))
        return found

    def _pages(self, user_id: str, begins: str, attributes: Sequence[str]) -> AsyncIterator[Sequence[Item]]:
        return self._table.query_pages(
            table.user_partition(user_id), begins_with=begins, limit=_PAGE, attributes=attributes
        )


def _note(item: Item) -> StoredNote:
    return StoredNote(table.node_of(item["SK"]), item["version"], item.get("delete_time") is None)


def _side(item: Item) -> EdgeSide:
    return EdgeSide(*table.edge_of(item["SK"]), float(item.get("w", 0)), bool(item.get("rej", False)))


def _entry(item: Item) -> IndexEntry:
    node_id = table.terms_of(item["SK"])
    return IndexEntry(node_id, max(item["v"], item["s"]), bool(item["vis"]), bool(item["gone"]))


def _key(user_id: str, side: EdgeSide) -> Key:
    return table.edge_key(user_id, side.node_id, side.other, side.type)
