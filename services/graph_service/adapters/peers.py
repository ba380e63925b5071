"""NodeDirectory: the node service through its stub."""

from collections.abc import Collection, Mapping
from typing import Any

from protos.node.v1 import node_pb2
from services.graph_service.ports import VisibilityRecord
from shared import revisions
from shared.errors import NotFound, Unavailable
from shared.revisions import Revision

_BATCH = 1000
_LIST_PAGE = 200


class NodePeer:
    """stub: None if no node service is configured; every call then raises Unavailable. timeout: seconds for a call."""

    def __init__(self, stub: Any | None, *, timeout: float = 2.0) -> None:
        self._stub = stub
        self._timeout = timeout

    async def live_titles(self, user_id: str, node_ids: Collection[str]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        ids = list(node_ids)
        for start in range(0, len(ids), _BATCH):
            request = node_pb2.BatchGetNodesRequest(
                user_id=user_id, node_ids=ids[start : start + _BATCH], view=node_pb2.NODE_VIEW_TITLE
            )
            response = await self._node.BatchGetNodes(request, timeout=self._timeout)
            found.update((node.node_id, node.title) for node in response.nodes)
        return found

    async def visibility(self, user_id: str, node_id: str, seen: Revision) -> VisibilityRecord | None:
        request = node_pb2.GetNodeRequest(
            user_id=user_id,
            node_id=node_id,
            view=node_pb2.NODE_VIEW_TITLE,
            show_deleted=True,
            consistency_token=revisions.encode({node_id: seen}),
        )
        try:
            node = (await self._node.GetNode(request, timeout=self._timeout)).node
        except NotFound:
            return None
        return VisibilityRecord(node_id, node.version, node.HasField("delete_time"), node.incarnation)

    async def count(self, user_id: str, maximum: int) -> tuple[int, bool]:
        total, token = 0, ""
        while total < maximum:
            request = node_pb2.ListNodesRequest(user_id=user_id, page_size=_LIST_PAGE, page_token=token)
            response = await self._node.ListNodes(request, timeout=self._timeout)
            total += len(response.nodes)
            token = response.next_page_token
            if not token:
                return total, True
        return total, False

    @property
    def _node(self) -> Any:
        if self._stub is None:
            raise Unavailable("no node service is configured (BRAIN2_NODE_TARGET)", reason="PEER_NOT_CONFIGURED")
        return self._stub
