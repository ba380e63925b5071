"""The id of one call, in each line that the call logs: the caller's header x-request-id, or one that is drawn here.

It tells the calls of one trace from each other. It goes along to peers, so their lines have it as well.
"""

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar

HEADER = "x-request-id"
# What a caller may choose: 1 to 128 visible characters of ASCII.
_VALID = re.compile("[!-~]{1,128}")


class RequestId:
    """metadata: that of the call; it is looked at, and an id drawn, only when somebody asks."""

    __slots__ = ("_id", "_metadata")

    def __init__(self, metadata: Iterable[tuple[str, str | bytes]] = ()) -> None:
        self._metadata = metadata
        self._id = ""

    def __str__(self) -> str:
        if not self._id:
            given = next((str(value) for key, value in self._metadata if key == HEADER), "")
            self._id = given if _VALID.fullmatch(given) else secrets.token_hex(8)
        return self._id


# That of the call which is being served; all tasks of the call share it.
current: ContextVar[RequestId | None] = ContextVar("brain2_request_id", default=None)


def inject() -> dict[str, str]:
    """The header for a call to a peer; {} outside of calls."""
    found = current.get()
    return {} if found is None else {HEADER: str(found)}
