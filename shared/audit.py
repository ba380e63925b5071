"""The audit log: who did what to whom, and the outcome, for writes, exports, erasures and denials.

A stream of its own, the logger brain2.audit, in the JSON form of the log. It names users and notes and holds nothing of
their content. It is written when callers are authenticated (BRAIN2_AUTH is not none), whatever BRAIN2_LOG_LEVEL is.
"""

import logging
from types import TracebackType
from typing import Any

from shared.auth.principal import Principal
from shared.errors import Brain2Error
from shared.grpc.middleware import MethodInfo
from shared.logs import AUDIT

log = logging.getLogger(AUDIT)

# Reads that leave with all the data of a user.
_EXPORTS = frozenset(("ExportUser",))
# The fields of a request that name what it is about.
_TARGETS = ("node_id", "source_id", "target_id", "type", "version", "erasure_id")
# Its lists of such things; only their length is logged.
_LISTS = ("nodes", "edges", "node_ids")
_LONGEST = 128


def is_audited(info: MethodInfo) -> bool:
    """Whether calls of the RPC are logged also when they are allowed."""
    return not info.traits.reads or info.name in _EXPORTS


def denied(info: MethodInfo, principal: Principal | None, user_id: str, error: Brain2Error) -> None:
    """Log a call that was refused. principal: None when the caller is not authenticated."""
    _write("denied", info, principal, user_id, {}, error.kind, error.reason)


class outcome:
    """`with outcome(...) as event`: logs the call with what comes of it."""

    def __init__(self, info: MethodInfo, principal: Principal, request: Any) -> None:
        self._info = info
        self._principal = principal
        self._user_id = getattr(request, "user_id", "")
        self._targets = _targets(request)

    def answered(self, response: Any) -> Any:
        """Add the id that the service has made for a new note. Returns the response."""
        if not self._targets.get("node_id"):
            node_id = getattr(getattr(response, "node", None), "node_id", "")
            if node_id:
                self._targets["node_id"] = node_id
        return response

    def __enter__(self) -> "outcome":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code, reason = "OK", ""
        if isinstance(error, Brain2Error):
            code, reason = error.kind, error.reason
        elif error is not None:
            # A cancelled call, an expired deadline or a defect: whether the work was done is not known.
            code = "UNKNOWN"
        _write("call", self._info, self._principal, self._user_id, self._targets, code, reason)


def _write(
    event: str,
    info: MethodInfo,
    principal: Principal | None,
    user_id: str,
    targets: dict[str, Any],
    code: str,
    reason: str,
) -> None:
    extra = {
        "event": event,
        "rpc": info.path,
        "caller": principal.name if principal else "",
        "user_id": user_id[:_LONGEST],
        **targets,
        "code": code,
        "reason": reason,
    }
    log.info("audit", extra=extra)


def _targets(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _TARGETS:
        value = getattr(request, name, None)
        if value:
            found[name] = value[:_LONGEST] if type(value) is str else value
    for name in ("node", "edge"):
        part = getattr(request, name, None)
        for field in ("node_id", "source_id", "target_id"):
            if value := getattr(part, field, ""):
                found.setdefault(field, value[:_LONGEST])
    for name in _LISTS:
        if (value := getattr(request, name, None)) is not None:
            found[f"{name}_count"] = len(value)
    return found
