"""The Python client of Brain2: notes, links, search and deletions.

    async with Brain2("localhost:50051", user="ada") as brain:
        tea = await brain.notes.create(title="Green tea", content="From Uji")
        async for neighbor in brain.links.neighbors(tea.node_id):
            print(neighbor.title, neighbor.weight)

Brain2Sync has the same operations without async. A client sees its own writes: it sends the consistency token of each
write along with later reads. A call that fails for a reason that may pass is repeated, as retry-policy.json has it.
Each change has a request_id, so that its repetition changes nothing twice.
"""

from .client import Brain2, Brain2Sync
from .errors import (
    Aborted,
    AlreadyExists,
    Brain2Error,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Violation,
)
from .models import (
    Change,
    Deletion,
    DeletionEvent,
    Explanation,
    GraphStats,
    Hit,
    Keyword,
    Link,
    LinkResult,
    Mention,
    Neighbor,
    NewLink,
    NewNote,
    Note,
    NoteResult,
    NoteSettings,
    Passage,
    Path,
    Reason,
    SearchSettings,
    Similar,
    Subgraph,
    SubgraphLink,
    SubgraphNote,
)

__all__ = [
    "Aborted",
    "AlreadyExists",
    "Brain2",
    "Brain2Error",
    "Brain2Sync",
    "Cancelled",
    "Change",
    "DataLoss",
    "DeadlineExceeded",
    "Deletion",
    "DeletionEvent",
    "Explanation",
    "FailedPrecondition",
    "GraphStats",
    "Hit",
    "Internal",
    "InvalidArgument",
    "Keyword",
    "Link",
    "LinkResult",
    "Mention",
    "Neighbor",
    "NewLink",
    "NewNote",
    "NotFound",
    "Note",
    "NoteResult",
    "NoteSettings",
    "OutOfRange",
    "Passage",
    "Path",
    "PermissionDenied",
    "Reason",
    "ResourceExhausted",
    "SearchSettings",
    "Similar",
    "Subgraph",
    "SubgraphLink",
    "SubgraphNote",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Violation",
]
