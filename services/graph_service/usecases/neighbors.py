"""GetNeighbors and BatchGetNeighbors: pages of lists, as ready bytes."""

from collections.abc import Sequence
from dataclasses import replace

from services.graph_service.model.neighbors import Neighbor, Page, Query, next_page_token, position_of, select
from services.graph_service.model.token import Token
from services.graph_service.ports import Codec
from services.graph_service.usecases.adjacency import Adjacency, Found, Look
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.hubs import Hubs
from services.graph_service.usecases.l1 import L1, Entry
from shared.errors import Unavailable, Violations
from shared.ids import check_id, check_user_id


class Neighbors:
    """Answers about lists. Everything that needs no title comes from the adjacency alone."""

    def __init__(self, adjacency: Adjacency, hubs: Hubs, existence: Existence, l1: L1, codec: Codec) -> None:
        self._adjacency = adjacency
        self._hubs = hubs
        self._existence = existence
        self._l1 = l1
        self._codec = codec

    async def head(self, query: Query, keep_as: bytes) -> bytes | None:
        """The usual answer, made short: all of a list that memory or Redis holds, to a plain query without a token.

        keep_as: as of answer(). None: anything else, use answer().
        """
        if not self._l1.used:
            try:
                block = await self._adjacency.shared_head(query.user, query.note)
            except Unavailable:
                return None
            if block is None or block.size > query.limit:
                return None
            return self._codec.answer(block.packed, "", block.size)
        found = await self._adjacency.head(query.user, query.note)
        if found is None:
            return None
        whole, kept, nobody = found
        if whole.size > query.limit:
            return None
        answer = self._codec.answer(whole.packed, "", whole.size)
        if kept is not None and nobody is not None:
            self._l1.put_answer(keep_as, answer, kept, nobody)
        return answer

    async def answer(
        self,
        query: Query,
        token: Token | None = None,
        *,
        page_token: str = "",
        titles: bool = False,
        keep_as: bytes = b"",
    ) -> bytes:
        """A GetNeighborsResponse; the query was checked. keep_as: the request's bytes, under which the answer may be
        kept in memory.
        """
        if page_token:
            query = replace(query, after=position_of(query, page_token))
        look = await self._adjacency.look(query.user, (query.note,), token)
        if query.note in look.hidden:
            return b""
        found = look.found[query.note]
        entry, block = found.entry, found.block
        if block is not None and not look.hidden and not titles and query.plain and block.size <= query.limit:
            answer = self._codec.answer(block.packed, "", block.size)
        else:
            page, entry = await self._page(query, look, found, token)
            if titles:
                page = replace(page, neighbors=await self._with_titles(query.user, page.neighbors))
            following = ""
            if page.more:
                following = next_page_token(query, page.neighbors[-1])
            answer = self._codec.answer(self._codec.pack(page.neighbors), following, page.degree)
        if keep_as and not titles and entry is not None and look.hidden_entry is not None:
            self._l1.put_answer(keep_as, answer, entry, look.hidden_entry)
        return answer

    async def batch(
        self, user: str, notes: Sequence[str], limit: int, min_weight: float = 0.0, token: Token | None = None
    ) -> bytes:
        """A BatchGetNeighborsResponse: the first neighbours of each note, in the order asked, repeats once."""
        check_notes(user, notes, 1000)
        check_query(Query(user, notes[0], limit, min_weight=min_weight))
        notes = tuple(dict.fromkeys(notes))
        # Parts are kept like whole answers: under bytes that no request can be (they don't begin with a tag).
        shape = f"\0{user}\0{limit}\0{min_weight}\0".encode()
        parts: dict[str, bytes] = {}
        if token is None:
            for note in notes:
                ready = self._l1.answer(shape + note.encode())
                if ready is not None:
                    parts[note] = ready
        missing = [note for note in notes if note not in parts]
        if missing:
            look = await self._adjacency.look(user, missing, token)
            for note in missing:
                part, entry = await self._part(Query(user, note, limit, min_weight=min_weight), look, token)
                parts[note] = part
                if entry is not None and look.hidden_entry is not None:
                    self._l1.put_answer(shape + note.encode(), part, entry, look.hidden_entry)
        return b"".join([parts[note] for note in notes])

    async def heads(
        self, user: str, notes: Sequence[str], limit: int, min_weight: float = 0.0, token: Token | None = None
    ) -> dict[str, Page]:
        """The first neighbours of each note, decoded, for those who walk the graph. Hidden notes are absent."""
        look = await self._adjacency.look(user, notes, token)
        pages: dict[str, Page] = {}
        for note in notes:
            if note not in look.hidden:
                query = Query(user, note, limit, min_weight=min_weight)
                pages[note], _ = await self._page(query, look, look.found[note], token)
        return pages

    async def automatic(self, user: str, notes: Sequence[str]) -> dict[str, int]:
        """How many automatic edges each note has."""
        look = await self._adjacency.look(user, notes)
        counts: dict[str, int] = {}
        for note in notes:
            block = look.found[note].block
            if block is not None:
                counts[note] = block.auto
            else:
                answer = await self._hubs.page(Query(user, note, 1), frozenset(), truth=look.found[note].truth)
                # Unknown only while Redis is away: a hub may then get automatic edges over the cap.
                counts[note] = answer.auto or 0
        return counts

    async def _part(self, query: Query, look: Look, token: Token | None) -> tuple[bytes, Entry | None]:
        if query.note in look.hidden:
            return self._codec.note_answer(query.note, b"", 0), None
        found = look.found[query.note]
        block = found.block
        if block is not None and not look.hidden and query.plain and block.size <= query.limit:
            return self._codec.note_answer(query.note, block.packed, block.size), found.entry
        page, entry = await self._page(query, look, found, token)
        return self._codec.note_answer(query.note, self._codec.pack(page.neighbors), page.degree), entry

    async def _page(self, query: Query, look: Look, found: Found, token: Token | None) -> tuple[Page, Entry | None]:
        if found.block is not None:
            return select(self._codec.unpack(found.block.packed), query, look.hidden), found.entry
        answer = await self._hubs.page(query, look.hidden, truth=found.truth, token=token)
        return answer.page, answer.entry

    async def _with_titles(self, user: str, neighbors: Sequence[Neighbor]) -> list[Neighbor]:
        titles = await self._existence.titles(user, [neighbor.node for neighbor in neighbors])
        return [neighbor._replace(title=titles.get(neighbor.node, "")) for neighbor in neighbors]


def check_query(query: Query) -> None:
    """InvalidArgument unless the query is well formed; answer() takes that for granted."""
    violations = Violations()
    check_user_id("user_id", query.user, violations)
    check_id("node_id", query.note, violations)
    if not 0.0 <= query.min_weight <= 1.0:
        violations.add("min_weight", "must be between 0 and 1")
    violations.raise_if_any()


def check_notes(user: str, notes: Sequence[str], most: int) -> None:
    """InvalidArgument unless there are 1 to `most` well-formed ids."""
    violations = Violations()
    check_user_id("user_id", user, violations)
    if not 1 <= len(notes) <= most:
        violations.add("node_ids", f"must be 1 to {most}")
    else:
        for index, note in enumerate(notes):
            check_id(f"node_ids[{index}]", note, violations)
    violations.raise_if_any()
