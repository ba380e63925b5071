"""Hide, show and forget notes, and remove all edges of one."""

from collections.abc import Sequence
from dataclasses import replace

from services.graph_service.model.edge import Edge, Metadata
from services.graph_service.ports import (
    HIDDEN,
    Change,
    Codec,
    EdgeStore,
    Fence,
    Journal,
    Kind,
    ListCache,
    Marker,
    Refused,
    Touched,
    Write,
)
from services.graph_service.usecases.adjacency import Adjacency
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.links import touched_by
from shared.errors import Aborted, Unavailable, Violations
from shared.ids import check_id, check_user_id
from shared.pages import page_size

# Two items, an event each, and the fence: within the 100 of a transaction.
_GROUP = 24


class Visibility:
    """Orders what it hears of a note by (incarnation, version); what isn't newer changes nothing."""

    def __init__(
        self,
        store: EdgeStore,
        cache: ListCache,
        adjacency: Adjacency,
        committer: Committer,
        existence: Existence,
        codec: Codec,
    ) -> None:
        self._store = store
        self._cache = cache
        self._adjacency = adjacency
        self._committer = committer
        self._existence = existence
        self._codec = codec

    async def set(self, user: str, note: str, version: int, *, visible: bool, incarnation: int = 0) -> bool:
        """Whether it was news. The hidden set of the user is renewed everywhere, the lists stay as they are."""
        _check(user, note)
        marker = Marker(note, version, not visible, incarnation)
        kind = Kind.NODE_SHOWN if visible else Kind.NODE_HIDDEN
        entry = Edge(user, note, "", "", False, 0.0, Metadata(), version, 0, 0)
        touched = Touched(user, ((HIDDEN, note),), (self._codec.feed(kind, entry),))

        async def commit(journal: Journal | None) -> bool:
            return await self._store.mark(user, marker, journal)

        applied, _ = await self._committer.run(touched, commit)
        await self._forget(user, note)
        return applied

    async def created(self, user: str, note: str, title: str, incarnation: int) -> None:
        """A note exists: its edges may be made without asking. Under the id of a purged one it is a new life."""
        if note in await self._adjacency.hidden(user):
            await self.set(user, note, 1, visible=True, incarnation=incarnation)
        self._existence.remember(user, note, title)

    async def updated(self, user: str, note: str, version: int, incarnation: int) -> None:
        """Its title may have changed. Who is updated lives: a mark that hides it and is older is void (a replay of the
        events says so when the restore was never heard of)."""
        if note in await self._adjacency.hidden(user):
            await self.set(user, note, version, visible=True, incarnation=incarnation)
            return
        await self._forget(user, note)

    async def purged(self, user: str, note: str, version: int) -> None:
        """It is gone for good: edges that came late go too, then what we know of it.

        Events come more than once, and a purged id may be created again: a note that lives is left alone.
        """
        await self._forget(user, note)
        if not await self._existence.missing(user, (note,)):
            return
        done = False
        while not done:
            try:
                _, done = await self.detach(user, note, 0, version)
            except Aborted:
                return  # the id lives again
        marker = await self._store.marker(user, note)
        if marker is None or marker.version > version:
            return

        async def commit(journal: Journal | None) -> None:
            await self._store.unmark(user, marker, journal)

        await self._committer.run(Touched(user, ((HIDDEN, note),)), commit)

    async def detach(self, user: str, note: str, max_edges: int, version: int) -> tuple[Sequence[Edge], bool]:
        """The edges removed by this call, and whether none is left. See DetachNode. version 0: no fence."""
        _check(user, note)
        limit = page_size("max_edges", max_edges, default=1000, maximum=1000)
        removed: list[Edge] = []
        while len(removed) < limit:
            group, following = await self._store.edges_at(
                user, note, after=None, limit=min(_GROUP, limit - len(removed))
            )
            if not group:
                if following is None:
                    await self._check_fence(user, note, version)
                    return removed, True
                continue
            removed += await self._remove(user, note, group, version)
            if following is None and len(removed) < limit:
                return removed, True
        left, _ = await self._store.edges_at(user, note, after=None, limit=1)
        return removed, not left

    async def _remove(self, user: str, note: str, group: Sequence[Edge], version: int) -> Sequence[Edge]:
        write = Write(
            user,
            changes=tuple(Change(Kind.DELETED, edge, edge, "detach") for edge in group),
            fence=Fence(note, version) if version else None,
        )
        feed = tuple(self._codec.feed(Kind.DELETED, edge) for edge in group)

        async def commit(journal: Journal | None) -> None:
            await self._store.commit(replace(write, journal=journal))

        try:
            await self._committer.run(touched_by(user, group, feed), commit)
        except Refused as refused:
            if any(refusal.what == "fence" for refusal in refused.refusals):
                raise _restored(note) from None
            return ()  # one of them was changed or removed meanwhile: read them again
        return group

    async def _check_fence(self, user: str, note: str, version: int) -> None:
        marker = await self._store.marker(user, note) if version else None
        if marker is not None and marker.version > version:
            raise _restored(note)

    async def _forget(self, user: str, note: str) -> None:
        self._existence.forget(user, (note,))
        try:
            await self._cache.announce_gone(user, (note,))
        except Unavailable:
            pass  # what others remember of it expires in seconds, and the hidden set is asked besides


def _check(user: str, note: str) -> None:
    violations = Violations()
    check_user_id("user_id", user, violations)
    check_id("node_id", note, violations)
    violations.raise_if_any()


def _restored(note: str) -> Aborted:
    return Aborted(f"{note} was restored or changed meanwhile", reason="VERSION_MISMATCH")
