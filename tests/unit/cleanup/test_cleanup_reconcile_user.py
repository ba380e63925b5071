"""ReconcileUser: every type of inconsistency is found, repaired, and reported as repaired only if it is gone."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager

import pytest

from services.cleanup_service.model.findings import (
    EdgeSide,
    Finding,
    FindingType,
    IndexEntry,
    ReconcileReport,
    StoredNote,
)
from services.cleanup_service.ports.reconcile_user import Edges
from services.cleanup_service.usecases.node_events import on_node_deleted
from services.cleanup_service.usecases.reconcile_user import UserReconciler
from shared.errors import FailedPrecondition, Unavailable
from shared.tracer import NoTracer
from tests.support.cleanup_world import World

SIDE = EdgeSide("a", "b", "related", 0.5)


class FakeUser:
    """The items of one user: ports.ReconcileStore, and ports.PeerRepairs on them.

    works: False for repairs that are accepted and have no effect. down: repairs raise Unavailable. unreadable: so do
    reads of the notes.
    """

    def __init__(self) -> None:
        self.stored_notes = {node_id: StoredNote(node_id, 1, True) for node_id in "abc"}
        self.sides = {SIDE, SIDE.mirror}
        self.entries = {node_id: IndexEntry(node_id, 1, True) for node_id in "abc"}
        self.hides: set[str] = set()
        self.keywords = set("abc")
        self.outbox: dict[str, str] = {}
        self.cached = {SIDE, SIDE.mirror}
        self.works = True
        self.down = False
        self.unreadable = False

    def repair(self) -> bool:
        if self.down:
            raise Unavailable("no answer")
        return self.works

    async def notes(self, user_id: str) -> AsyncIterator[list[StoredNote]]:
        if self.unreadable:
            raise Unavailable("no answer")
        yield list(self.stored_notes.values())

    async def edges(self, user_id: str, node_id: str = "") -> AsyncIterator[list[EdgeSide]]:
        for side in sorted(self.sides, key=lambda one: (one.node_id, one.other)):
            if node_id in ("", side.node_id):
                yield [side]

    async def stored(self, user_id: str, sides: Sequence[EdgeSide]) -> list[EdgeSide]:
        return [side for side in sides if side in self.sides]

    async def missing_mirrors(self, user_id: str, sides: Sequence[EdgeSide]) -> list[EdgeSide]:
        return [side for side in sides if side in self.sides and side.mirror not in self.sides]

    async def complete(self, user_id: str, side: EdgeSide) -> bool:
        if self.repair():
            self.sides.add(side.mirror)
        return self.works

    async def index_entries(self, user_id: str) -> AsyncIterator[list[IndexEntry]]:
        yield list(self.entries.values())

    async def hidden(self, user_id: str) -> AsyncIterator[list[str]]:
        yield sorted(self.hides)

    async def projections(
        self, user_id: str, node_ids: Sequence[str]
    ) -> tuple[Mapping[str, StoredNote], Mapping[str, IndexEntry], Set[str]]:
        return self.stored_notes, self.entries, self.hides

    async def posting_notes(self, user_id: str, node_id: str = "") -> AsyncIterator[list[str]]:
        yield sorted(self.keywords & {node_id} if node_id else self.keywords)

    async def remove_postings(self, user_id: str, node_id: str) -> None:
        if self.repair():
            self.keywords.discard(node_id)

    async def unpublished(self, user_id: str, before_ms: int) -> list[tuple[str, str]]:
        return sorted(self.outbox.items())

    async def publish(self, user_id: str, event_ids: Sequence[str]) -> None:
        if self.repair():
            self.outbox.clear()

    async def existing(self, user_id: str, node_ids: Sequence[str]) -> set[str]:
        return self.stored_notes.keys() & set(node_ids)

    async def live(self, user_id: str, node_ids: Sequence[str]) -> set[str]:
        return {node_id for node_id in await self.existing(user_id, node_ids) if self.stored_notes[node_id].live}

    async def neighbors(self, user_id: str, node_ids: Sequence[str]) -> Mapping[str, Edges]:
        return {
            node_id: {(side.other, side.type): side.weight for side in self.cached if side.node_id == node_id}
            for node_id in node_ids
        }

    async def detach_missing(self, user_id: str, node_id: str) -> None:
        if self.repair():
            at_node = {side for side in self.sides if side.node_id == node_id}
            self.sides -= at_node | {side.mirror for side in at_node}

    async def refresh_edge(self, user_id: str, side: EdgeSide, *, exists: bool) -> None:
        if self.repair():
            change = self.cached.update if exists else self.cached.difference_update
            change({side, side.mirror})

    async def remove_from_index(self, user_id: str, node_id: str, version: int) -> None:
        if self.repair():
            del self.entries[node_id]

    async def set_visibility(self, user_id: str, node_id: str, version: int, *, visible: bool) -> None:
        # Like the owners: an older version than the known one changes nothing.
        if self.repair() and self.entries[node_id].version <= version:
            self.entries[node_id] = IndexEntry(node_id, version, visible)
            self.hides.discard(node_id) if visible else self.hides.add(node_id)

    async def reindex(self, user_id: str) -> None:
        if self.repair():
            self.entries |= {note.node_id: IndexEntry(note.node_id, note.version, True) for note in _live(self)}


def _live(user: FakeUser) -> list[StoredNote]:
    return [note for note in user.stored_notes.values() if note.live]


class Names(NoTracer):
    """A Tracer that notes down the names of its spans."""

    def __init__(self) -> None:
        self.spans: list[str] = []

    def span(self, name: str, **_: object) -> AbstractContextManager[object]:
        self.spans.append(name)
        return contextlib.nullcontext()


class Case:
    """A user with a world for the deletions; a sleep of the reconciler lets the offered sagas run."""

    def __init__(self) -> None:
        self.user = FakeUser()
        self.world = World()
        self.tracer = Names()

    async def sleep(self, seconds: float) -> None:
        while self.world.offered:
            key = self.world.offered.pop()
            if self.user.works:
                await self.world.runner().run_deletion(*key)

    def reconciler(self) -> UserReconciler:
        return UserReconciler(
            store=self.user,
            peers=self.user,
            deletions=self.world.deletions(),
            sleep=self.sleep,
            tracer=self.tracer,
        )

    async def unrepaired(self, *, dry_run: bool = False) -> dict[str, int]:
        """What a reconciliation that goes to its end counts as not repaired."""
        reconciler = self.reconciler()
        with contextlib.suppress(Unavailable):
            async for _ in reconciler.reconcile_user("u", dry_run=dry_run, max_rate=100_000):
                pass
        return dict(reconciler.unrepaired)

    async def reconcile(self, *, dry_run: bool = False) -> tuple[list[Finding], ReconcileReport]:
        findings: list[Finding] = []
        async for part in self.reconciler().reconcile_user("u", dry_run=dry_run, max_rate=100_000):
            if isinstance(part, ReconcileReport):
                return findings, part
            findings += part
        raise AssertionError("no report")

    async def damage(self, type: FindingType) -> None:
        user = self.user
        match type:
            case FindingType.EDGE_TO_MISSING_NODE:
                lost = EdgeSide("a", "gone", "related", 0.5)
                user.sides |= {lost, lost.mirror}
            case FindingType.ONE_SIDED_EDGE:
                user.sides.discard(SIDE.mirror)
            case FindingType.POSTING_WITHOUT_NODE:
                user.keywords.add("gone")
            case FindingType.VECTOR_WITHOUT_NODE:
                user.entries["gone"] = IndexEntry("gone", 1, True)
            case FindingType.NODE_NOT_INDEXED:
                del user.entries["a"]
            case FindingType.OUTBOX_LEFTOVER:
                user.outbox["e1"] = "node.created"
            case FindingType.CACHE_DISAGREES:
                user.cached.clear()
            case FindingType.SAGA_WITHOUT_NODE:
                self.world.add_note("gone")
                await on_node_deleted(self.world.deletions(), self.world.delete("gone", retention=1000))
                del self.world.notes["u", "gone"]
            case FindingType.VISIBILITY_DISAGREES:
                user.entries["a"] = IndexEntry("a", 1, False)


@pytest.fixture
def case() -> Case:
    return Case()


async def test_a_consistent_user_has_no_findings(case: Case) -> None:
    findings, report = await case.reconcile()
    assert findings == []
    assert (report.notes, report.edges, report.index_entries) == (3, 1, 3)


async def test_each_check_has_a_span(case: Case) -> None:
    await case.reconcile()
    checks = ("events", "deletions", "edges", "records", "postings", "caches")
    assert case.tracer.spans == [f"reconcile {check}" for check in checks]


@pytest.mark.parametrize("type", FindingType)
async def test_each_inconsistency_is_found_and_repaired_once(case: Case, type: FindingType) -> None:
    await case.damage(type)
    found, report = await case.reconcile(dry_run=True)
    assert {one.type for one in found} >= {type}
    assert not any(one.repaired for one in found)
    assert report.repaired.total() == 0
    repaired, report = await case.reconcile()
    assert all(one.repaired for one in repaired)
    assert report.repaired == report.found
    assert (await case.reconcile())[0] == []


@pytest.mark.parametrize("type", FindingType)
async def test_a_repair_without_effect_is_not_reported_as_repaired(case: Case, type: FindingType) -> None:
    await case.damage(type)
    case.user.works = False
    for _ in range(3):
        findings, report = await case.reconcile()
        assert {one.type for one in findings} >= {type}
        assert not any(one.repaired for one in findings)
        assert all("not repaired: " in one.detail for one in findings)
        assert report.repaired.total() == 0


async def test_a_version_that_hides_a_note_for_ever_is_reported_as_not_repaired(case: Case) -> None:
    case.user.entries["a"] = IndexEntry("a", 2**63 - 1, False)
    findings, _ = await case.reconcile()
    assert [(one.type, one.repaired) for one in findings] == [(FindingType.VISIBILITY_DISAGREES, False)]


async def test_a_repair_that_fails_does_not_end_the_reconciliation(case: Case) -> None:
    await case.damage(FindingType.EDGE_TO_MISSING_NODE)
    await case.damage(FindingType.POSTING_WITHOUT_NODE)
    case.user.down = True
    findings, report = await case.reconcile()
    assert {one.type for one in findings} >= {FindingType.EDGE_TO_MISSING_NODE, FindingType.POSTING_WITHOUT_NODE}
    assert all(one.detail.endswith("not repaired: no answer") for one in findings)
    assert report.end_ms


async def test_edges_to_a_missing_note_are_removed_though_they_are_stored_at_one_end_only(case: Case) -> None:
    """DetachNode of the missing note finds only what is stored there."""
    left = {EdgeSide("a", "gone", "related", 0.5), EdgeSide("c", "gone", "related", 0.5)}
    case.user.sides |= left
    findings, _ = await case.reconcile()
    assert {(one.type, one.node_id, one.repaired) for one in findings} == {
        (FindingType.EDGE_TO_MISSING_NODE, "gone", True)
    }
    assert case.user.sides == {SIDE, SIDE.mirror}


async def test_a_user_who_is_being_erased_is_refused(case: Case) -> None:
    case.world.erasing.add("u")
    with pytest.raises(FailedPrecondition) as refused:
        await case.reconcile()
    assert refused.value.reason == "ERASING"


async def test_what_could_not_be_repaired_is_counted_for_an_alarm(case: Case) -> None:
    await case.damage(FindingType.EDGE_TO_MISSING_NODE)
    case.user.works = False
    assert await case.unrepaired(dry_run=True) == {}
    # Its two items.
    assert await case.unrepaired() == {"EDGE_TO_MISSING_NODE": 2}
    case.user.works = True
    assert await case.unrepaired() == {}
    case.user.unreadable = True
    assert await case.unrepaired() == {"INTERRUPTED": 1}
