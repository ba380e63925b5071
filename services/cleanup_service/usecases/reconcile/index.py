"""What similarity and graph keep of each note beside its edges: records, keywords, whether it is hidden."""

from collections.abc import AsyncIterator, Awaitable, Sequence

from services.cleanup_service.model.findings import Finding, IndexEntry, Kind, StoredNote
from services.cleanup_service.usecases.reconcile.look import BATCH, Look, finding

# What was written a moment ago reaches the index within about a second.
_SETTLE = 3.0


async def records(look: Look) -> AsyncIterator[list[Finding]]:
    """Records without a note, notes without a record, and notes that one service shows and another hides."""
    entries: dict[str, IndexEntry] = {}
    async for batch in look.ledger.index_entries(look.user_id):
        await look.pace.spend(len(batch))
        entries.update({entry.node_id: entry for entry in batch})
    look.report.index_entries = sum(not entry.gone for entry in entries.values())
    hidden: set[str] = set()
    async for some in look.ledger.hidden(look.user_id):
        await look.pace.spend(len(some))
        hidden.update(some)
    suspects = [
        node_id
        for node_id in sorted(look.notes.keys() | entries.keys())
        if _wrongs(look.notes.get(node_id), entries.get(node_id), node_id in hidden)
    ]
    unindexed: list[str] = []
    for start in range(0, len(suspects), BATCH):
        # What was on its way has had time to arrive.
        await look.sleep(_SETTLE)
        yield await _again(look, suspects[start : start + BATCH], unindexed)
    if not unindexed:
        return
    # Once, for all of them: the index is made again from the notes, which also mends what nobody thought of.
    repair = None if look.dry_run else look.owners.reindex(look.user_id)
    done = await finding(Kind.NODE_NOT_INDEXED, "", "the index lacks the note, or has an older version of it", repair)
    yield [Finding(done.kind, node_id, done.detail, done.repaired) for node_id in unindexed]


async def _again(look: Look, suspects: Sequence[str], unindexed: list[str]) -> list[Finding]:
    notes, entries, hidden = await look.ledger.projections(look.user_id, suspects)
    findings = []
    for node_id in suspects:
        note, entry = notes.get(node_id), entries.get(node_id)
        for kind, detail in _wrongs(note, entry, node_id in hidden):
            repair: Awaitable[None] | None = None
            if kind is Kind.NODE_NOT_INDEXED:
                unindexed.append(node_id)
                continue
            if look.dry_run:
                pass
            elif note is not None:
                repair = look.owners.set_visibility(look.user_id, node_id, note.version, note.live)
            elif entry is not None:
                repair = look.owners.unindex(look.user_id, node_id, entry.version)
            findings.append(await finding(kind, node_id, detail, repair))
    return findings


async def postings(look: Look) -> AsyncIterator[list[Finding]]:
    """Keywords that lead to notes that don't exist."""
    async for batch in look.ledger.posting_notes(look.user_id):
        await look.pace.spend(len(batch))
        findings = []
        for node_id in sorted(await look.missing(set(batch))):
            repair = None if look.dry_run else look.ledger.remove_postings(look.user_id, node_id)
            detail = "keywords lead to a note that doesn't exist"
            findings.append(await finding(Kind.POSTING_WITHOUT_NODE, node_id, detail, repair))
        yield findings


def _wrongs(note: StoredNote | None, entry: IndexEntry | None, hidden: bool) -> list[tuple[Kind, str]]:
    """What doesn't fit between a note, its record in the index and the graph's mark that it is hidden."""
    known = entry is not None and not entry.gone
    if note is None:
        # A mark that outlives its note hides nothing: the graph drops it at the purge.
        return [(Kind.VECTOR_WITHOUT_NODE, "indexed, but the note doesn't exist")] if known else []
    wrongs = []
    if note.live and (entry is None or not known or entry.version < note.version):
        wrongs.append((Kind.NODE_NOT_INDEXED, ""))
    elif entry is not None and known and entry.visible != note.live:
        wrongs.append((Kind.VISIBILITY_DISAGREES, f"the index {'shows' if entry.visible else 'hides'} it"))
    if hidden == note.live:
        wrongs.append((Kind.VISIBILITY_DISAGREES, f"the graph {'hides' if hidden else 'shows'} it"))
    return wrongs
