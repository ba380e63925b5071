"""Compares notes with what similarity and graph keep of them beside edges: index records, keywords, visibility."""

from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial

from services.cleanup_service.model.findings import Finding, FindingType, IndexEntry, StoredNote
from services.cleanup_service.usecases.reconcile_user.context import BATCH, ReconcileContext

# A change of a note reaches the index within about one second.
_INDEX_SECONDS = 3.0


async def records(ctx: ReconcileContext) -> AsyncIterator[list[Finding]]:
    """Finds records without a note, notes without a record, and notes that one service shows and another hides."""
    entries: dict[str, IndexEntry] = {}
    async for batch in ctx.store.index_entries(ctx.user_id):
        await ctx.pace.spend(len(batch))
        entries.update({entry.node_id: entry for entry in batch})
    ctx.report.index_entries = sum(not entry.gone for entry in entries.values())
    hidden: set[str] = set()
    async for some in ctx.store.hidden(ctx.user_id):
        await ctx.pace.spend(len(some))
        hidden.update(some)
    suspects = [
        node_id
        for node_id in sorted(ctx.notes.keys() | entries.keys())
        if _inconsistencies(ctx.notes.get(node_id), entries.get(node_id), node_id in hidden)
    ]
    unindexed: dict[str, Finding] = {}
    for start in range(0, len(suspects), BATCH):
        # Changes that were on their way arrive meanwhile, and are then no findings.
        await ctx.sleep(_INDEX_SECONDS)
        yield await _check_again(ctx, suspects[start : start + BATCH], unindexed)
    if unindexed:
        # One repair for all of them: the whole index is made again from the notes.
        yield await ctx.repair(
            unindexed,
            partial(ctx.peers.reindex, ctx.user_id),
            partial(_wrong_notes, ctx, list(unindexed), FindingType.NODE_NOT_INDEXED),
        )


async def _check_again(ctx: ReconcileContext, suspects: Sequence[str], unindexed: dict[str, Finding]) -> list[Finding]:
    notes, entries, hidden = await ctx.store.projections(ctx.user_id, suspects)
    findings: list[Finding] = []
    for node_id in suspects:
        note, entry = notes.get(node_id), entries.get(node_id)
        for type, detail in _inconsistencies(note, entry, node_id in hidden):
            found = Finding(type, node_id, detail)
            if type is FindingType.NODE_NOT_INDEXED:
                unindexed[node_id] = found
                continue
            if note is not None:
                repair = partial(ctx.peers.set_visibility, ctx.user_id, node_id, note.version, visible=note.live)
            else:
                assert entry is not None
                repair = partial(ctx.peers.remove_from_index, ctx.user_id, node_id, entry.version)
            findings += await ctx.repair({node_id: found}, repair, partial(_wrong_notes, ctx, [node_id], type))
    return findings


async def postings(ctx: ReconcileContext) -> AsyncIterator[list[Finding]]:
    """Finds keywords that lead to notes that don't exist."""
    async for batch in ctx.store.posting_notes(ctx.user_id):
        await ctx.pace.spend(len(batch))
        findings: list[Finding] = []
        for node_id in sorted(await ctx.missing(set(batch))):
            found = Finding(FindingType.POSTING_WITHOUT_NODE, node_id, "keywords lead to a note that doesn't exist")
            repair = partial(ctx.store.remove_postings, ctx.user_id, node_id)
            findings += await ctx.repair({node_id: found}, repair, partial(_notes_with_postings, ctx, node_id))
        yield findings


async def _notes_with_postings(ctx: ReconcileContext, node_id: str) -> Collection[str]:
    return {node_id async for batch in ctx.store.posting_notes(ctx.user_id, node_id) for _ in batch}


async def _wrong_notes(ctx: ReconcileContext, node_ids: Sequence[str], type: FindingType) -> Collection[str]:
    """Those of the notes that are inconsistent in this way now."""
    wrong: set[str] = set()
    for start in range(0, len(node_ids), BATCH):
        batch = node_ids[start : start + BATCH]
        notes, entries, hidden = await ctx.store.projections(ctx.user_id, batch)
        for node_id in batch:
            found = _inconsistencies(notes.get(node_id), entries.get(node_id), node_id in hidden)
            if any(one is type for one, _ in found):
                wrong.add(node_id)
    return wrong


def _inconsistencies(note: StoredNote | None, entry: IndexEntry | None, hidden: bool) -> list[tuple[FindingType, str]]:
    """What disagrees between a note, its index record and the graph's marker that hides it; with a detail each."""
    indexed = entry is not None and not entry.gone
    if note is None:
        # A marker that is left behind by a purged note hides nothing: the graph removes it at the purge.
        return [(FindingType.VECTOR_WITHOUT_NODE, "indexed, but the note doesn't exist")] if indexed else []
    found = []
    if note.live and (entry is None or not indexed or entry.version < note.version):
        found.append((FindingType.NODE_NOT_INDEXED, "the index lacks the note, or has an older version of it"))
    elif entry is not None and indexed and entry.visible != note.live:
        found.append((FindingType.VISIBILITY_DISAGREES, f"the index {'shows' if entry.visible else 'hides'} it"))
    if hidden == note.live:
        found.append((FindingType.VISIBILITY_DISAGREES, f"the graph {'hides' if hidden else 'shows'} it"))
    return found
