"""The log: one JSON object a line on stderr, with the ids of the trace that the line belongs to.

`log.info("note hidden", extra={"node_id": ...})`: the message is constant, so that it can be searched for; what varies
goes into extra. A text of a user may be megabytes long: each value is cut to LONGEST_VALUE characters, a traceback to
LONGEST_TRACEBACK. Lines of libraries have the same format, and repeated ones are dropped. structlog and python-json-
logger were considered: both would still need these two classes, since lines of libraries come through `logging`.
"""

import hashlib
import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any, TextIO

from shared import request_id, telemetry

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# These libraries log each failed attempt: while a collector or a peer is away that is one line many times.
_REPEATERS = ("opentelemetry", "grpc", "aiobotocore", "botocore", "asyncio")
_QUIET_SECONDS = 60.0
AUDIT = "brain2.audit"
"""The logger of shared/audit.py."""
LONGEST_VALUE = 500
LONGEST_TRACEBACK = 8000
# Items of a list or a mapping that a line shows.
_MOST_ITEMS = 50


class JsonFormatter(logging.Formatter):
    """Writes ts (UTC, ms), level, service, logger, msg, the fields of extra=, and the traceback. In place of user_id it
    writes user_hash, except in the audit log.

    In a line of a call also its trace_id, span_id (those of the caller, if the trace isn't recorded) and request_id.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "ts": f"{second}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "msg": cut(record.getMessage(), LONGEST_VALUE),
        }
        trace_id, span_id = telemetry.current_ids()
        if trace_id:
            line["trace_id"], line["span_id"] = trace_id, span_id
        if (call := request_id.current.get()) is not None:
            line["request_id"] = str(call)
        line |= {key: _short(value) for key, value in vars(record).items() if key not in _STANDARD}
        if "user_id" in line and record.name != AUDIT:
            line["user_hash"] = user_hash(str(line.pop("user_id")))
        if record.exc_info:
            line["exception"] = cut(self.formatException(record.exc_info), LONGEST_TRACEBACK)
        if record.stack_info:
            line["stack"] = cut(record.stack_info, LONGEST_TRACEBACK)
        return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(line, ensure_ascii=False))


# What makes a line look like another one on a screen, or can't be encoded: C1 control characters, separators of lines,
# marks of direction, and halves of surrogate pairs. JSON itself escapes the C0 ones.
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def user_hash(user_id: str) -> str:
    """12 hex digits by which the lines of one user are found. A user_id is often an e-mail address."""
    return hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def cut(text: str, longest: int) -> str:
    """The text, or its beginning and end with a mark between them that tells how many characters are left out."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}… {len(text) - 2 * half} characters …{text[-half:]}"


def _short(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return cut(value, LONGEST_VALUE)
    if isinstance(value, Mapping):
        return {cut(str(key), LONGEST_VALUE): _short(each) for key, each in islice(value.items(), _MOST_ITEMS)}
    if isinstance(value, list | tuple):
        return [_short(each) for each in islice(value, _MOST_ITEMS)]
    return cut(str(value), LONGEST_VALUE)


class Unrepeated(logging.Filter):
    """Lets the same message of a library through once in quiet_seconds, and none about a caller that was gone when gRPC
    sent its answer: that is no fault, and the traceback would hide those that are."""

    def __init__(self, quiet_seconds: float = _QUIET_SECONDS) -> None:
        super().__init__()
        self._quiet = quiet_seconds
        self._last: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _REPEATERS:
            return True
        if record.exc_info and type(record.exc_info[1]).__name__ == "ExecuteBatchError":
            return False
        # The place in the code identifies a message, because its text may hold numbers that vary.
        key = (record.name, record.lineno)
        last = self._last.get(key)
        if last is not None and record.created - last < self._quiet:
            return False
        self._last[key] = record.created
        return True


def setup(level: str, service: str, *, stream: TextIO | None = None) -> None:
    """Write the log of this process to stderr or the stream: from `level` on, of libraries from WARNING on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    handler.addFilter(Unrepeated())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("brain2", "services", "shared", "deploy", "__main__"):
        logging.getLogger(name).setLevel(level)
    # The audit log has no level: what it records must not depend on how much an operator wants to read.
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    logging.captureWarnings(True)
