"""ports.export_user.UserDataReader: reads a user's data through the APIs of the other services."""

from collections.abc import AsyncIterator, Iterable, Sequence

from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from services.cleanup_service import convert
from services.cleanup_service.adapters.peers import Peers
from services.cleanup_service.ports import Record

_TIMEOUT = 10.0
_PAGE = 200
# Bytes of content that one BatchGetNodes is asked for: far below the largest message of a service.
_BATCH_BYTES = 1024 * 1024


class GrpcUserDataReader:
    """Reads a page at a time, so that memory doesn't grow with the user."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def settings(self, user_id: str) -> list[Record]:
        node = await self._peers.node.GetUserSettings(
            node_pb2.GetUserSettingsRequest(user_id=user_id), timeout=_TIMEOUT
        )
        index = await self._peers.similarity.GetUserSettings(
            similarity_pb2.GetUserSettingsRequest(user_id=user_id), timeout=_TIMEOUT
        )
        return [
            convert.settings_record("node", node.settings),
            convert.settings_record("similarity", index.settings),
        ]

    async def notes(self, user_id: str) -> AsyncIterator[list[Record]]:
        token = ""
        while True:
            request = node_pb2.ListNodesRequest(user_id=user_id, page_size=_PAGE, page_token=token)
            page = await self._peers.node.ListNodes(request, timeout=_TIMEOUT)
            for ids in _batches(page.nodes):
                yield await self._read(user_id, ids, deleted=False)
            token = page.next_page_token
            if not token:
                return

    async def deleted_notes(self, user_id: str, node_ids: Sequence[str]) -> list[Record]:
        request = node_pb2.BatchGetNodesRequest(
            user_id=user_id, node_ids=node_ids, view=node_pb2.NODE_VIEW_SUMMARY, show_deleted=True
        )
        listed = await self._peers.node.BatchGetNodes(request, timeout=_TIMEOUT)
        deleted = [node for node in listed.nodes if node.HasField("delete_time")]
        return [record for ids in _batches(deleted) for record in await self._read(user_id, ids, deleted=True)]

    async def all_edges(self, user_id: str, *, hidden: bool) -> AsyncIterator[list[Record]]:
        async for answer in self._peers.graph.ListEdges(
            graph_pb2.ListEdgesRequest(user_id=user_id, show_hidden=hidden, show_suppressed=True)
        ):
            yield [convert.edge_record(edge) for edge in answer.edges]

    async def _read(self, user_id: str, node_ids: Sequence[str], *, deleted: bool) -> list[Record]:
        request = node_pb2.BatchGetNodesRequest(
            user_id=user_id, node_ids=node_ids, view=node_pb2.NODE_VIEW_FULL, show_deleted=deleted
        )
        answer = await self._peers.node.BatchGetNodes(request, timeout=_TIMEOUT)
        return [convert.note_record(node) for node in answer.nodes]


def _batches(nodes: Iterable[node_pb2.Node]) -> Iterable[list[str]]:
    ids: list[str] = []
    size = 0
    for node in nodes:
        # A note may have grown since it was listed, so each is counted with some bytes more.
        cost = node.content_bytes + 8192
        if ids and size + cost > _BATCH_BYTES:
            yield ids
            ids, size = [], 0
        ids.append(node.node_id)
        size += cost
    if ids:
        yield ids
