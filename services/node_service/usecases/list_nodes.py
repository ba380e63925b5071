"""ListNodes: a user's live notes by time, in pages."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.node_service.model import Summary
from services.node_service.ports import Position
from services.node_service.usecases.notes import Notes
from services.node_service.usecases.validation import check_ids
from shared.pages import page_size
from shared.tokens import NODE_ID, PAGE, Integer, TokenCodec, fingerprint

DEFAULT_PAGE = 50
MAX_PAGE = 200
# The last millisecond that a sort key can hold.
END_OF_TIME_MS = 9_999_999_999_999
_TOKENS = TokenCodec(PAGE, Position, {"t": Integer(0, END_OF_TIME_MS), "n": NODE_ID})


@dataclass(frozen=True, slots=True)
class NodePage:
    """Some notes of a list, and the token of the next page ("" at the end)."""

    nodes: Sequence[Summary]
    next_token: str


async def list_nodes(
    notes: Notes, user_id: str, *, size: int, token: str, start_ms: int | None, end_ms: int | None
) -> NodePage:
    """A user's live notes created in [start_ms, end_ms), newest first.

    size: notes a page; 0 = DEFAULT_PAGE, at most MAX_PAGE.
    Raises InvalidArgument (PAGE_TOKEN_INVALID).
    """
    check_ids(user_id)
    limit = page_size("page_size", size, default=DEFAULT_PAGE, maximum=MAX_PAGE)
    bound = fingerprint("ListNodes", user_id, start_ms, end_ms)
    after = _TOKENS.decode(bound, token)
    since, until = max(start_ms or 0, 0), END_OF_TIME_MS if end_ms is None else min(end_ms, END_OF_TIME_MS)
    if since >= until:
        return NodePage([], "")
    # One note more than asked for is read: it shows whether there is a next page.
    found = await notes.store.page(user_id, since_ms=since, until_ms=until, after=after, limit=limit + 1)
    if len(found) <= limit:
        return NodePage(found, "")
    last = found[limit - 1]
    return NodePage(found[:limit], _TOKENS.encode(bound, last.create_ms, last.node_id))
