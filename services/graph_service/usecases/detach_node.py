"""DetachNode: deletes all edges of a note, in bounded steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.graph_service.model.edge import Edge
from services.graph_service.ports import ChangeType, EdgeChange, EdgeStore, Fence, NodeDirectory, Write, WriteRejected
from services.graph_service.usecases.committer import Committer
from services.graph_service.usecases.validation import check_node
from shared.errors import Aborted
from shared.pages import page_size

# Each edge takes two of the 100 operations of a transaction, beside the fence, an event and a journal entry.
_GROUP = 48
# The answer names the deleted edges, and an answer has a limit: a call ends when their bytes are above this.
_MOST_BYTES = 2 * 1024 * 1024
# About what an edge has besides its metadata: three ids of 64 to 128 bytes, times, and the tags of the fields.
_EDGE_BYTES = 500


@dataclass(frozen=True, slots=True)
class DetachNode:
    """Each transaction checks the fence, so no edge of a restored note is deleted."""

    store: EdgeStore
    committer: Committer
    directory: NodeDirectory

    async def detach_checked(
        self, user_id: str, node_id: str, max_edges: int, version: int
    ) -> tuple[Sequence[Edge], bool]:
        """The same for a call, whose caller may be wrong.

        Where a fence is given and it is not stored that the note is hidden at this version, the node service is asked.
        Aborted VERSION_MISMATCH: the note is live. Unavailable: the node service does not answer.
        """
        check_node(user_id, node_id)
        if version:
            record = await self.store.visibility(user_id, node_id)
            if record is None or not record.hidden or record.version != version:
                incarnation = 0 if record is None else record.incarnation
                owners = await self.directory.visibility(user_id, node_id, (incarnation, version))
                if owners is not None and not owners.hidden:
                    raise _version_mismatch(node_id)
        return await self.detach_node(user_id, node_id, max_edges, version)

    async def detach_node(
        self, user_id: str, node_id: str, max_edges: int, version: int
    ) -> tuple[Sequence[Edge], bool]:
        """The edges that this call deleted, suppressed ones too, and whether none is left.

        max_edges: the most edges to delete; 0: 1,000. Of edges with much metadata fewer are deleted.
        version: the fence; 0: none. Aborted VERSION_MISMATCH: the note's visibility has a newer version.
        """
        check_node(user_id, node_id)
        limit = page_size("max_edges", max_edges, default=1000, maximum=1000)
        removed: list[Edge] = []
        size = 0
        while len(removed) < limit and size < _MOST_BYTES:
            group, after = await self.store.edges_at(
                user_id, node_id, after=None, limit=min(_GROUP, limit - len(removed)), with_suppressed=True
            )
            if not group:
                if after is None:
                    await self._check_fence(user_id, node_id, version)
                    return removed, True
                continue
            gone = await self._remove(user_id, node_id, group, version)
            removed += gone
            size += sum(edge.metadata.bytes() + _EDGE_BYTES for edge in gone)
            if gone and after is None and len(removed) < limit:
                return removed, True
        left, _ = await self.store.edges_at(user_id, node_id, after=None, limit=1, with_suppressed=True)
        return removed, not left

    async def _remove(self, user_id: str, node_id: str, group: Sequence[Edge], version: int) -> Sequence[Edge]:
        write = Write(
            user_id,
            changes=tuple(EdgeChange(ChangeType.DELETED, edge, edge, "detach") for edge in group),
            fence=Fence(node_id, version) if version else None,
        )
        try:
            await self.committer.commit_edges(write)
        except WriteRejected as error:
            if any(rejection.condition == "fence" for rejection in error.rejections):
                raise _version_mismatch(node_id) from None
            return ()  # another writer changed one of them: they are read again
        return group

    async def _check_fence(self, user_id: str, node_id: str, version: int) -> None:
        record = await self.store.visibility(user_id, node_id) if version else None
        if record is not None and record.version > version:
            raise _version_mismatch(node_id)


def _version_mismatch(node_id: str) -> Aborted:
    return Aborted(f"{node_id} was restored or changed meanwhile", reason="VERSION_MISMATCH")
