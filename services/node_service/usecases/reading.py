"""Reading notes: one, many, and a user's list by time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.node_service.model import MAX_BATCH_GET, Node, Summary, Title, View
from services.node_service.ports import NodeStore, Position
from services.node_service.usecases import rules
from shared.errors import FieldViolation, InvalidArgument, ResourceExhausted, Violations
from shared.ids import check_id
from shared.pages import decode_token, encode_token, fingerprint, page_size

DEFAULT_PAGE = 50
MAX_PAGE = 200
# Whole notes that are read in one go.
READ_AT_ONCE = 200
# The last millisecond that a sort key can hold (shared.ids.time_key).
END_OF_TIME = 9_999_999_999_999


@dataclass(frozen=True, slots=True)
class Page:
    """Some notes of a list, and the token of what follows ("" at the end)."""

    nodes: Sequence[Summary]
    next_token: str


@dataclass(frozen=True, slots=True)
class Reading:
    """get_node, get_nodes, list_nodes. `seen`: the versions, by node id, that the answer must not lag behind."""

    store: NodeStore
    max_answer_bytes: int

    async def get_node(self, user_id: str, node_id: str, show_deleted: bool, seen: Mapping[str, int]) -> Node:
        """One note. NotFound (NODE_NOT_FOUND, NODE_DELETED)."""
        rules.require_ids(user_id, node_id)
        node = (await self.store.read(user_id, [node_id], seen)).get(node_id)
        if node is None:
            raise rules.not_found(node_id)
        if node.deleted and not show_deleted:
            raise rules.hidden(node_id)
        return node

    async def get_nodes(
        self, user_id: str, node_ids: Sequence[str], view: View, show_deleted: bool, seen: Mapping[str, int]
    ) -> tuple[list[Title], list[str]]:
        """Those that exist, in the order asked for and each once, and the ids of those that don't (or are deleted)."""
        violations = Violations()
        rules.check_ids(user_id, None, None, violations)
        if not 1 <= len(node_ids) <= MAX_BATCH_GET:
            violations.add("node_ids", f"has {len(node_ids)} ids, it must have 1 to {MAX_BATCH_GET}")
        else:
            for index, node_id in enumerate(node_ids):
                check_id(f"node_ids[{index}]", node_id, violations)
        violations.raise_if_any()
        wanted = list(dict.fromkeys(node_ids))
        if view is View.TITLE:
            found = await self.store.titles(user_id, wanted, seen)
        else:
            found = await self._whole(user_id, wanted, view, seen)
        nodes: list[Title] = []
        missing: list[str] = []
        for node_id in wanted:
            node = found.get(node_id)
            if node is None or (node.deleted and not show_deleted):
                missing.append(node_id)
            else:
                nodes.append(node)
        return nodes, missing

    async def _whole(
        self, user_id: str, wanted: Sequence[str], view: View, seen: Mapping[str, int]
    ) -> Mapping[str, Title]:
        """Some at a time, so that a call never holds more than an answer and a few contents."""
        found: dict[str, Title] = {}
        size = 0
        for start in range(0, len(wanted), READ_AT_ONCE):
            for node_id, node in (await self.store.read(user_id, wanted[start : start + READ_AT_ONCE], seen)).items():
                if view is View.SUMMARY:
                    found[node_id] = node.summary()
                    continue
                found[node_id] = node
                size += node.content_bytes
                if size > self.max_answer_bytes:
                    why = f"these notes have more than {self.max_answer_bytes} bytes: ask for fewer or a smaller view"
                    raise ResourceExhausted(why, reason="RESPONSE_TOO_LARGE")
        return found

    async def list_nodes(
        self, user_id: str, *, size: int, token: str, start_ms: int | None, end_ms: int | None
    ) -> Page:
        """A user's live notes created in [start_ms, end_ms), newest first. InvalidArgument (PAGE_TOKEN_INVALID)."""
        rules.require_ids(user_id)
        limit = page_size("page_size", size, default=DEFAULT_PAGE, maximum=MAX_PAGE)
        bound = fingerprint("ListNodes", user_id, start_ms, end_ms)
        state = decode_token(bound, token)
        since, until = max(start_ms or 0, 0), END_OF_TIME if end_ms is None else min(end_ms, END_OF_TIME)
        if since >= until:
            return Page([], "")
        # One more than asked for says whether anything follows.
        found = await self.store.page(user_id, since_ms=since, until_ms=until, after=_position(state), limit=limit + 1)
        if len(found) <= limit:
            return Page(found, "")
        last = found[limit - 1]
        return Page(found[:limit], encode_token(bound, {"t": last.create_ms, "n": last.node_id}))


def _position(state: Mapping[str, object] | None) -> Position | None:
    if state is None:
        return None
    time, node_id = state.get("t"), state.get("n")
    violations = Violations()
    check_id("n", node_id if isinstance(node_id, str) else "", violations)
    if violations or type(time) is not int or not 0 <= time <= END_OF_TIME or not isinstance(node_id, str):
        why = FieldViolation("page_token", "is not one of ours")
        raise InvalidArgument("page_token is not one of ours", reason="PAGE_TOKEN_INVALID", violations=[why])
    return Position(time, node_id)
