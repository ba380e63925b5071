"""Finds lists of neighbours in three tiers: memory, Redis, DynamoDB (docs/list-cache.md).

The set of a user's hidden notes is stored as a list with the name HIDDEN and is found in the same way.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from services.graph_service.model.consistency_token import Token
from services.graph_service.ports import HIDDEN, CacheState, ListCache, PackedList
from services.graph_service.usecases.freshness import Freshness
from services.graph_service.usecases.list_filler import ListFiller, ResolvedList
from services.graph_service.usecases.memory_cache import Entry, MemoryCache
from shared.errors import Unavailable


@dataclass(slots=True)
class LookupResult:
    """The lists that a lookup found. hidden_entry: the hidden set is in memory, so responses may be stored there."""

    lists: dict[str, ResolvedList] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    hidden_entry: Entry | None = None

    def add(self, node_id: str, found: ResolvedList) -> None:
        """Add the list of a note, or the hidden set."""
        if node_id != HIDDEN:
            self.lists[node_id] = found
            return
        self.hidden_entry = found.entry
        if found.entry is not None:
            self.hidden = found.entry.hidden
        elif found.packed_list is not None:
            self.hidden = found.packed_list.ids()


@dataclass(frozen=True, slots=True)
class ListLookup:
    """The one interface to all tiers. No tier returns a list that is older than the token allows."""

    memory: MemoryCache
    cache: ListCache
    filler: ListFiller
    freshness: Freshness

    def invalidate(self, user_id: str, node_ids: Collection[str]) -> None:
        """These lists may have changed: remove them from memory, and let later readers start reads of their own."""
        for node_id in node_ids:
            self.memory.invalidate(user_id, node_id)
            self.filler.detach(user_id, node_id)

    async def hidden(self, user_id: str) -> frozenset[str]:
        """The user's hidden notes."""
        return (await self.find(user_id, ())).hidden

    async def find(self, user_id: str, node_ids: Sequence[str], token: Token | None = None) -> LookupResult:
        """The lists of these notes, and the user's hidden notes.

        Redis is asked once for all that memory lacks, DynamoDB once for each list that Redis lacks.
        """
        result = LookupResult()
        missing = self._from_memory(result, user_id, (HIDDEN, *node_ids), token)
        if missing:
            unresolved = await self._from_redis(result, user_id, missing, token)
            if unresolved:
                await self._from_dynamodb(result, user_id, unresolved, token)
        return result

    async def warm(self, user_id: str, node_ids: Sequence[str]) -> None:
        """Put the lists of these notes into the caches, those that Redis does not hold; nothing without Redis.

        Nobody has asked for them, so they count neither as hits nor as misses.
        """
        if self.cache.space:
            await self.filler.resolve_all(user_id, [(node_id, CacheState.MISSING) for node_id in node_ids], None)

    # ------------------------------------------------------------------ tier 1
    def _from_memory(
        self, result: LookupResult, user_id: str, node_ids: Sequence[str], token: Token | None
    ) -> list[str]:
        """Returns the lists that memory doesn't hold whole and fresh. A hub's entry only carries responses."""
        missing: list[str] = []
        for node_id in node_ids:
            entry = self.memory.get(user_id, node_id)
            if (
                entry is None
                or entry.packed_list is None
                # A token says nothing about the hidden set.
                or (node_id != HIDDEN and not self.freshness.satisfies(node_id, entry.stamp, token))
            ):
                missing.append(node_id)
            else:
                result.add(node_id, ResolvedList(entry.packed_list, entry))
        return missing

    # ------------------------------------------------------------------ tier 2
    async def _from_redis(
        self, result: LookupResult, user_id: str, node_ids: Sequence[str], token: Token | None
    ) -> list[tuple[str, PackedList | CacheState]]:
        """Stores in memory what Redis holds whole and fresh; returns the others with their states."""
        tickets = [self.memory.ticket(user_id, node_id) for node_id in node_ids]
        unresolved: list[tuple[str, PackedList | CacheState]] = []
        try:
            for node_id, ticket, state in zip(node_ids, tickets, await self._read(user_id, node_ids), strict=True):
                if type(state) is PackedList and self.freshness.satisfies(node_id, state.stamp, token):
                    result.add(node_id, ResolvedList(state, self.memory.put(ticket, state, state.stamp)))
                elif state is CacheState.HUB and not self.freshness.needs_dynamodb(node_id, token):
                    result.add(node_id, ResolvedList(None))
                else:
                    unresolved.append((node_id, state))
        finally:
            for ticket in tickets:
                self.memory.discard(ticket)
        return unresolved

    async def _read(self, user_id: str, node_ids: Sequence[str]) -> Sequence[PackedList | CacheState]:
        try:
            return await self.cache.read(user_id, node_ids)
        except Unavailable:
            return [CacheState.DIRTY] * len(node_ids)  # read DynamoDB and store nothing

    # ------------------------------------------------------------------ tier 3
    async def _from_dynamodb(
        self,
        result: LookupResult,
        user_id: str,
        unresolved: Sequence[tuple[str, PackedList | CacheState]],
        token: Token | None,
    ) -> None:
        resolved = await self.filler.resolve_all(user_id, unresolved, token)
        for (node_id, _), found in zip(unresolved, resolved, strict=True):
            result.add(node_id, found)
