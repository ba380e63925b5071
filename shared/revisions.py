"""Revisions of notes: what callers claim of them, and the consistency token that asks a read for them.

The token of a write names the revisions that a later read must see. The node service makes it; its own reads and those
of the similarity service accept it, or several of them, joined by commas.
Services that are given the same token must have the same BRAIN2_TOKEN_SECRET.
"""

from collections.abc import Mapping, Sequence

from shared.errors import FailedPrecondition
from shared.tokens import CONSISTENCY, NODE_ID, Integer, ListOf, TokenCodec

MOST_NOTES = 20
# Of joined tokens. A request waits for all of their notes, and looks for those that are missing again and again.
MOST_JOINED_NOTES = 100
# (incarnation, version) of a note: of two, the larger one is newer.
Revision = tuple[int, int]

# A note may have more versions than one for each second since it was created; few have.
_MOST_AT_ONCE = 10


def is_likely(revision: Revision, now_ms: int) -> bool:
    """Whether a note may well have this revision now. If not, its owner has to be asked before it is believed.

    A caller that gives an unlikely one is mistaken, or lies, or the note is written very often.
    """
    incarnation, version = revision
    return incarnation > 0 and version <= _MOST_AT_ONCE + (now_ms - incarnation) // 1000


def is_current(node_id: str, claimed: Revision, visible: bool, owners: Revision, owners_visible: bool) -> bool:
    """Whether a note has the revision that a caller claims, by what its owner knows; False: it has a newer one.

    claimed: incarnation 0 means that of the owner. visible: whether the caller claims that the note is visible then.
    FailedPrecondition (VERSION_UNKNOWN): the note never had this revision and visibility.
    """
    claimed = (claimed[0] or owners[0], claimed[1])
    if claimed > owners or (claimed == owners and visible != owners_visible):
        raise version_unknown(node_id)
    return claimed == owners


def version_unknown(node_id: str) -> FailedPrecondition:
    """The error for a revision that a note never had."""
    return FailedPrecondition(f"the note {node_id} never had this version and visibility", reason="VERSION_UNKNOWN")


def _revisions(node_ids: Sequence[str], incarnations: Sequence[int], versions: Sequence[int]) -> Mapping[str, Revision]:
    return dict(zip(node_ids, zip(incarnations, versions, strict=True), strict=True))


_BOUND = "node"
_NUMBERS = ListOf(Integer(0, 2**63 - 1), MOST_NOTES)
_TOKENS = TokenCodec(CONSISTENCY, _revisions, {"n": ListOf(NODE_ID, MOST_NOTES), "i": _NUMBERS, "v": _NUMBERS})


def encode(notes: Mapping[str, Revision]) -> str:
    """The token of a write that gave at most MOST_NOTES notes these revisions, by node id."""
    pairs = list(notes.values())
    return _TOKENS.encode(_BOUND, list(notes), [pair[0] for pair in pairs], [pair[1] for pair in pairs])


def decode(token: str) -> Mapping[str, Revision]:
    """The newest revisions of the tokens, which commas join, by node id; none for "".

    InvalidArgument (CONSISTENCY_TOKEN_INVALID) for other texts, and for more than MOST_JOINED_NOTES notes.
    """
    revisions: dict[str, Revision] = {}
    for each in token.split(","):
        for node_id, revision in (_TOKENS.decode(_BOUND, each) or {}).items():
            revisions[node_id] = max(revision, revisions.get(node_id, revision))
    if len(revisions) > MOST_JOINED_NOTES:
        raise CONSISTENCY.refused(f"names {len(revisions)} notes, at most {MOST_JOINED_NOTES} are allowed")
    return revisions
