"""Records and settings in Brain2-Main.

USER#u / TERMS#n       the record: i, v, s (incarnation, versions of text and state), vis, gone, rev, t (when it was
                       written, ms), rec (codec.py), lnk (aliases, path, earlier names and targets of links: codec.py)
USER#u / KW#n#k        a posting of one of its keywords: weight; GSI1 USER#u#KW#k / NODE#n
USER#u / SETTINGS#similarity
A record is written on the condition that it is as it was read (those of a burst in one transaction, without those whose
condition fails), and the postings that differ after it, each by itself: the record is the truth. A writer that has
written postings reads the record once more, and if another writer came meanwhile it makes the postings those of the
record. What a crash leaves undone, the same event makes good when it is delivered again.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from protos import table
from services.similarity_service.model.engine import codec
from services.similarity_service.model.engine.codec import Packed
from services.similarity_service.model.link_index import NO_LINKS, NoteLinks
from services.similarity_service.model.note import Note
from services.similarity_service.model.stored import Stored
from services.similarity_service.model.user_settings import SavedUserSettings, UserSettings
from shared.dynamo import (
    ABSENT,
    Condition,
    ConditionFailed,
    Item,
    Key,
    Put,
    Table,
    TransactionCancelled,
    Update,
)
from shared.dynamo.size import item_bytes
from shared.ids import Clock
from shared.resilience.slices import in_slices

_SERVICE = "similarity"
_STAMP = ("SK", "i", "v", "s", "vis", "gone", "rev")
# A purged note keeps its record for this time, which is how long queues keep messages, so that late events are ignored.
_GONE_SECONDS = 14 * 24 * 3600
# What one transaction of records holds, at most: operations, and bytes of the items.
_TOGETHER, _TOGETHER_BYTES = 100, 512 * 1024
# A record of more bytes is put by itself: in a transaction it would cost as many units more as it has kilobytes.
_ALONE_BYTES = 8 * 1024
# The record of a note with more different terms than this is compressed in a thread.
_MANY_TERMS = 2_000
# Records in one page. Parsing a page holds the event loop, for a tenth of a second at 1 MB.
_PAGE = 200


class DynamoRecords:
    """ports.Records."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    async def get(self, user_id: str, node_id: str) -> Stored:
        item = await self._table.get(table.terms_key(user_id, node_id), consistent=True)
        return Stored() if item is None else _stored(node_id, item)

    async def get_many(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Stored]:
        keys = [table.terms_key(user_id, node_id) for node_id in dict.fromkeys(node_ids)]
        items = await self._table.batch_get(keys, consistent=True)
        found = await in_slices(lambda item: _stored(table.terms_of(item["SK"]), item), items.values())
        return {table.terms_of(sk): stored for (_, sk), stored in zip(items, found, strict=True)}

    async def put(self, user_id: str, node_id: str, old: Stored, new: Stored) -> bool:
        return bool(await self.put_many(user_id, {node_id: (old, new)}))

    async def put_many(self, user_id: str, changes: Mapping[str, tuple[Stored, Stored]]) -> Collection[str]:
        def put(change: tuple[str, tuple[Stored, Stored]]) -> Put:
            node_id, (old, new) = change
            return Put(self.item(user_id, node_id, new), condition=_unchanged(old))

        # Compressing the record of a long text takes longer than a slice, but runs without the interpreter's lock: a
        # thread does it.
        long = {node_id: change for node_id, change in changes.items() if _is_long(change[1])}
        puts = [await asyncio.to_thread(put, change) for change in long.items()]
        puts += await in_slices(put, [change for change in changes.items() if change[0] not in long])
        written: list[str] = []
        for group in _groups(puts):
            written += [table.terms_of(put.item["SK"]) for put in await self._put_where_unchanged(group)]
        postings: dict[str, tuple[Mapping[str, int], Mapping[str, int]]] = {}
        for node_id in written:
            old, new = changes[node_id]
            if old.note is not None and new.note is not None and old.stamp == new.stamp:
                # Indexed anew, perhaps because postings are wrong.
                await self.repair_postings(user_id, node_id, new)
            else:
                postings[node_id] = _postings(old.note), _postings(new.note)
        posted = await self._write_postings(user_id, postings)
        await self._follow(user_id, {node_id: changes[node_id][1] for node_id in posted})
        return written

    async def _put_where_unchanged(self, puts: Sequence[Put]) -> Sequence[Put]:
        """Write the items whose condition holds. A transaction saves requests, and costs twice the units."""
        left = list(puts)
        while len(left) > 1:
            try:
                await self._table.transact(left)
            except TransactionCancelled as error:
                kept = [put for put, reason in zip(left, error.reasons, strict=True) if not reason.failed]
                if len(kept) == len(left):
                    raise
                left = kept
            else:
                return left
        try:
            for put in left:
                await self._table.put(put.item, condition=put.condition)
        except ConditionFailed:
            return []
        return left

    async def repair_postings(self, user_id: str, node_id: str, stored: Stored) -> None:
        if stored.note is None and stored.version and not stored.gone:
            return  # it has a text whose keywords are not known, in the layout of another release
        prefix = table.postings_prefix(node_id)
        there: dict[str, int] = {}
        async for page in self._table.query_pages(table.user_partition(user_id), begins_with=prefix):
            there |= {item["SK"].removeprefix(prefix): int(item["weight"]) for item in page}
        if await self._write_postings(user_id, {node_id: (there, _postings(stored.note))}):
            await self._follow(user_id, {node_id: stored})

    async def _write_postings(
        self, user_id: str, changes: Mapping[str, tuple[Mapping[str, int], Mapping[str, int]]]
    ) -> list[str]:
        """Make the postings (before, after) of notes those that are after; the notes with something to write."""
        puts: list[Item] = []
        deletes: list[Key] = []
        written = []
        for node_id, (before, after) in changes.items():
            number = len(puts) + len(deletes)
            puts += [
                _posting(user_id, node_id, term, weight) for term, weight in after.items() if before.get(term) != weight
            ]
            deletes += [table.posting_key(user_id, node_id, term) for term in before if term not in after]
            if len(puts) + len(deletes) > number:
                written.append(node_id)
        if written:
            await self._table.batch_write(puts, deletes)
        return written

    async def _follow(self, user_id: str, written: Mapping[str, Stored]) -> None:
        """After writing the postings of records: write those of the next ones, where there is one by now."""
        if not written:
            return
        keys = [table.terms_key(user_id, node_id) for node_id in written]
        if len(keys) == 1:
            item = await self._table.get(keys[0], consistent=True, attributes=_STAMP)
            items = {} if item is None else {keys[0]: item}
        else:
            items = await self._table.batch_get(keys, consistent=True, attributes=_STAMP)
        for key, (node_id, stored) in zip(keys, written.items(), strict=True):
            item = items.get(key)
            if (0 if item is None else int(item["rev"])) != stored.revision:
                await self.repair_postings(user_id, node_id, await self.get(user_id, node_id))

    async def set_visibility(
        self, user_id: str, node_id: str, version: int, *, visible: bool, incarnation: int | None
    ) -> Stored | None:
        expression = "attribute_exists(rec) AND s < :s AND gone = :no"
        condition = {":s": version, ":no": False}
        if incarnation is not None:
            expression += " AND i = :i"
            condition[":i"] = incarnation
        update = Update(
            table.terms_key(user_id, node_id),
            "SET vis = :vis, s = :s, rev = rev + :one, t = :t",
            values={":vis": visible, ":s": version, ":one": 1, ":t": self._clock.now_ms()},
            condition=Condition(expression, values=condition),
        )
        try:
            item = await self._table.update(update, returns="ALL_NEW")
        except ConditionFailed:
            return None
        return None if item is None else _stored(node_id, item)

    async def all(self, user_id: str) -> AsyncIterator[Sequence[Packed]]:
        async for items in self._pages(user_id, ("SK", "i", "v", "vis", "gone", "rec", "lnk"), _PAGE):
            found = [_packed(item) for item in items if item["vis"] and not item["gone"] and "rec" in item]
            yield [each for each in found if each is not None]

    async def stamps(self, user_id: str) -> AsyncIterator[Sequence[tuple[str, Stored]]]:
        async for items in self._pages(user_id, _STAMP):
            yield [(table.terms_of(item["SK"]), _stored("", item)) for item in items]

    async def written_since(self, user_id: str, ms: int) -> Sequence[str]:
        return [
            table.terms_of(item["SK"])
            async for items in self._pages(user_id, ("SK", "vis", "gone", "t"))
            for item in items
            # A record without a time is of an earlier release: it may have been written at any time.
            if item["vis"] and not item["gone"] and item.get("t", ms) >= ms
        ]

    async def with_keyword(
        self, user_id: str, term: str, limit: int, after: str
    ) -> tuple[Sequence[tuple[str, float]], bool]:
        page = await self._table.query(
            table.keyword_partition(user_id, term),
            index=table.KEYWORD_INDEX,
            begins_with=table.NODES,
            after=table.node_sort_key(after) if after else None,
            limit=limit,
        )
        found = [(table.node_of(item["GSI1SK"]), item.get("weight", 255) / 255) for item in page.items]
        return found, page.next_start is not None

    def _pages(
        self, user_id: str, attributes: Sequence[str], limit: int | None = None
    ) -> AsyncIterator[Sequence[Item]]:
        return self._table.query_pages(
            table.user_partition(user_id), begins_with=table.TERMS, limit=limit, attributes=attributes
        )

    def item(self, user_id: str, node_id: str, stored: Stored) -> Item:
        """A record as it is stored."""
        pk, sk = table.terms_key(user_id, node_id)
        item: Item = {
            "PK": pk,
            "SK": sk,
            "i": stored.incarnation,
            "v": stored.version,
            "s": stored.state_version,
            "vis": stored.visible,
            "gone": stored.gone,
            "rev": stored.revision,
            "t": self._clock.now_ms(),
        }
        if stored.note is not None:
            item["rec"] = codec.pack(stored.note)
            if stored.note.links != NO_LINKS:
                item["lnk"] = codec.pack_links(stored.note.links)
        if stored.gone:
            item["expires_at"] = self._clock.now_ms() // 1000 + _GONE_SECONDS
        return item


def _is_long(stored: Stored) -> bool:
    return stored.note is not None and len(stored.note.terms) > _MANY_TERMS


class DynamoUserSettings:
    """ports.UserSettingsStore."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def get(self, user_id: str) -> SavedUserSettings | None:
        item = await self._table.get(table.settings_key(_SERVICE, user_id), consistent=True)
        if item is None:
            return None
        chosen = UserSettings(
            language=item["language"],
            auto_link=item["auto_link"],
            link_threshold=float(item["link_threshold"]),
            max_links=int(item["max_links"]),
        )
        return SavedUserSettings(chosen, item["indexed_language"], int(item["updated_ms"]))

    async def put(self, user_id: str, saved: SavedUserSettings) -> None:
        chosen = saved.settings
        pk, sk = table.settings_key(_SERVICE, user_id)
        await self._table.put(
            {
                "PK": pk,
                "SK": sk,
                "language": chosen.language,
                "auto_link": chosen.auto_link,
                "link_threshold": chosen.link_threshold,
                "max_links": chosen.max_links,
                "indexed_language": saved.indexed_language,
                "updated_ms": saved.updated_ms,
            }
        )


def _groups(puts: Sequence[Put]) -> Iterator[Sequence[Put]]:
    """The puts, so many together as one transaction may hold, and large ones alone."""
    group: list[Put] = []
    size = 0
    for put in puts:
        more = item_bytes(put.item)
        if more > _ALONE_BYTES:
            yield [put]
            continue
        if group and (len(group) == _TOGETHER or size + more > _TOGETHER_BYTES):
            yield group
            group, size = [], 0
        group.append(put)
        size += more
    if group:
        yield group


def _unchanged(old: Stored) -> Condition:
    return Condition("rev = :rev", values={":rev": old.revision}) if old.revision else ABSENT


def _stored(node_id: str, item: Item) -> Stored:
    note: Note | None = None
    if "rec" in item:
        try:
            note = codec.unpack(bytes(item["rec"]), node_id=node_id, incarnation=int(item["i"]), version=int(item["v"]))
            note = replace(note, links=_links(item))
        except codec.UnknownLayout:
            note = None  # treated as unknown text, until the next write or ReindexUser
    return Stored(
        note, int(item["i"]), int(item["v"]), int(item["s"]), bool(item["vis"]), bool(item["gone"]), int(item["rev"])
    )


def _packed(item: Item) -> Packed | None:
    try:
        packed = codec.inflate(
            bytes(item["rec"]),
            node_id=table.terms_of(item["SK"]),
            incarnation=int(item["i"]),
            version=int(item["v"]),
        )
        return packed._replace(links=_links(item))
    except codec.UnknownLayout:
        return None  # treated as unknown text, like in _stored()


def _links(item: Item) -> NoteLinks:
    return codec.unpack_links(bytes(item["lnk"])) if "lnk" in item else NO_LINKS


def _postings(note: Note | None) -> dict[str, int]:
    return {} if note is None else {note.terms[number]: weight for number, weight in note.salient}


def _posting(user_id: str, node_id: str, term: str, weight: int) -> Item:
    pk, sk = table.posting_key(user_id, node_id, term)
    return {
        "PK": pk,
        "SK": sk,
        "GSI1PK": table.keyword_partition(user_id, term),
        "GSI1SK": table.node_sort_key(node_id),
        "weight": weight,
    }
