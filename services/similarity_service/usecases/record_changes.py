"""Changes of a note's record: read, decide, write if nobody has written in between, and publish to the change log.

A change may come twice, late or in any order; model/stored.py decides what it means.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from services.similarity_service.model.stored import Stored
from services.similarity_service.ports import Records
from services.similarity_service.usecases.index_cache import IndexCache
from shared.errors import Aborted
from shared.resilience.retry import Backoff, retry

_ATTEMPTS = 8
_BACKOFF = Backoff(base=0.002, cap=0.05)


class _Contended(Aborted):
    """Another writer changed the record after it was read."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one record. apply: the new record, or None when a newer state is known.

    guess: what is probably stored; the first attempt then does not read.
    """

    apply: Callable[[Stored], Stored | None]
    guess: Stored | None = None


@dataclass(frozen=True, slots=True)
class RecordChanges:
    """Writes the records, with optimistic concurrency."""

    records: Records
    cache: IndexCache

    async def change_many(self, user_id: str, changes: Mapping[str, Change]) -> set[str]:
        """change() for the texts of several notes, by node id: the notes whose record was replaced.

        Their records are read, written and published together; one that meets another writer is changed by itself.
        """
        stored = {node_id: change.guess for node_id, change in changes.items() if change.guess is not None}
        if unknown := [node_id for node_id in changes if node_id not in stored]:
            found = await self.records.get_many(user_id, unknown)
            stored |= {node_id: found.get(node_id, Stored()) for node_id in unknown}
        wanted: dict[str, tuple[Stored, Stored]] = {}
        for node_id, change in changes.items():
            old = stored[node_id]
            if (new := change.apply(old)) is not None:
                wanted[node_id] = old, replace(new, revision=old.revision + 1)
        replaced = set(await self.records.put_many(user_id, wanted)) if wanted else set()
        if replaced:
            # After the records and before anything is linked: whoever reads the log then finds the records.
            await self.cache.publish(
                user_id, [(node_id, new) for node_id, (_, new) in wanted.items() if node_id in replaced]
            )
        for node_id, change in changes.items():
            if node_id not in replaced and await self.change(user_id, node_id, change.apply):
                replaced.add(node_id)
        return replaced

    async def change(
        self,
        user_id: str,
        node_id: str,
        change: Callable[[Stored], Stored | None],
        guess: Stored | None = None,
        *,
        of_text: bool = True,
    ) -> bool:
        """Replace a record by change(record). False when change() gives None: a newer state is known.

        guess: what is probably stored; the first attempt then does not read.
        of_text: whether the change concerns the note's text, and with it the postings.

        Aborted (RECORD_CONTENDED) when other writers came first at each attempt, and whatever change() raises.
        """
        guesses = [] if guess is None else [guess]

        async def attempt() -> bool:
            old = guesses.pop() if guesses else await self.records.get(user_id, node_id)
            new = change(old)
            if new is None:
                # The process that wrote the newer state may have died before it wrote the postings or published it.
                if of_text:
                    await self.records.repair_postings(user_id, node_id, old)
                await self.cache.republish(user_id, node_id, old)
                return False
            new = replace(new, revision=old.revision + 1)
            if not await self.records.put(user_id, node_id, old, new):
                raise _Contended("other writers of the note's record always came first", reason="RECORD_CONTENDED")
            # After the record and before anything is linked: whoever reads the log then finds the record.
            await self.cache.publish(user_id, [(node_id, new)])
            return True

        return await retry(attempt, attempts=_ATTEMPTS, on=(_Contended,), backoff=_BACKOFF)
