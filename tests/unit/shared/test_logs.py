"""The log: each line is one JSON object, belongs to its trace, and a collector that is away doesn't flood it."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from shared import logs, request_id, telemetry


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A log of its own; the root logger is put back as it was."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.getLogger("brain2").level)
    out = io.StringIO()
    logs.setup("INFO", "tests", stream=out)
    yield out
    root.handlers[:], _, level = before
    root.setLevel(before[1])
    for name in ("brain2", "services", "shared", "deploy", "__main__"):
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_what_it_needs(stream: io.StringIO) -> None:
    logging.getLogger("brain2.node").info("created %s", "it", extra={"node_id": "n1", "ms": 1.5, "who": {1, 2}})
    (line,) = lines(stream)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "INFO",
        "service": "tests",
        "logger": "brain2.node",
        "msg": "created it",
        "node_id": "n1",
        "ms": 1.5,
        "who": "{1, 2}",
    }


def test_only_the_audit_log_names_users(stream: io.StringIO) -> None:
    for name in ("brain2.node", logs.AUDIT):
        logging.getLogger(name).info("done", extra={"user_id": "ada@example.org"})
    line, audited = lines(stream)
    assert "ada" not in str(line)
    assert line["user_hash"] == logs.user_hash("ada@example.org")
    assert audited["user_id"] == "ada@example.org"


def test_the_audit_log_is_written_at_every_level(stream: io.StringIO) -> None:
    logs.setup("ERROR", "tests", stream=stream)
    logging.getLogger("brain2.node").info("not this")
    logging.getLogger(logs.AUDIT).info("audit")
    assert [line["msg"] for line in lines(stream)] == ["audit"]


def test_a_traceback_stays_on_its_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("services.node").exception("failed")
    (line,) = lines(stream)
    assert line["level"] == "ERROR"
    assert "ValueError: two\nlines" in line["exception"]


def test_the_ids_of_a_trace_that_is_not_recorded_are_logged_too(stream: io.StringIO) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with telemetry.span("event", kind="consumer", carrier={"traceparent": f"00-{trace}-{parent}-00"}):
        logging.getLogger("shared.x").warning("inside")
    logging.getLogger("shared.x").warning("outside")
    inside, outside = lines(stream)
    assert (inside["trace_id"], inside["span_id"]) == (trace, parent)
    assert "trace_id" not in outside


async def test_every_line_of_a_call_has_the_same_ids_also_without_a_callers_trace(stream: io.StringIO) -> None:
    async def child() -> None:
        logging.getLogger("shared.x").warning("in a task of the call")

    async def call() -> None:
        telemetry.unsampled.set(telemetry.Unsampled())
        request_id.current.set(request_id.RequestId([("x-request-id", "r-1")]))
        await asyncio.create_task(child())
        logging.getLogger("shared.x").warning("in the call")

    await asyncio.create_task(call())
    await asyncio.create_task(call())
    first, second, other, _ = lines(stream)
    assert len(first["trace_id"]) == 32
    assert (first["trace_id"], first["request_id"]) == (second["trace_id"], "r-1")
    assert other["trace_id"] != first["trace_id"]


def test_levels(stream: io.StringIO) -> None:
    logging.getLogger("brain2.rpc").debug("too fine")
    logging.getLogger("botocore.hooks").info("a library's business")
    logging.getLogger("botocore.hooks").warning("a library's trouble")
    assert [line["msg"] for line in lines(stream)] == ["a library's trouble"]


def test_a_library_that_repeats_itself_is_cut_short(stream: io.StringIO) -> None:
    for attempt in range(50):
        logging.getLogger("opentelemetry.exporter").warning("collector away, retry %d", attempt)
        logging.getLogger("services.node").warning("ours %d", attempt)
    messages = [line["msg"] for line in lines(stream)]
    assert sum(message.startswith("collector") for message in messages) == 1
    assert sum(message.startswith("ours") for message in messages) == 50


def test_the_same_trouble_is_told_again_after_a_while() -> None:
    unrepeated = logs.Unrepeated(quiet_seconds=60)

    def passes(at: float, line: int = 1) -> bool:
        record = logging.LogRecord("grpc", logging.WARNING, "x.py", line, "away", None, None)
        record.created = at
        return bool(unrepeated.filter(record))

    assert [passes(0), passes(1), passes(1, line=2), passes(59.9), passes(60), passes(61)] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_caller_that_was_gone_before_its_answer_is_no_error(stream: io.StringIO) -> None:
    class ExecuteBatchError(Exception):
        """As grpc._cython.cygrpc has it."""

    for error in (ExecuteBatchError("gone"), RuntimeError("a defect")):
        logging.getLogger("grpc._cython.cygrpc").error("raised in core", exc_info=error)
    (line,) = stream.getvalue().splitlines()
    assert "a defect" in line


def test_what_a_user_sent_is_cut_in_a_line() -> None:
    long = "x" * 4_000_000
    record = logging.LogRecord("brain2", logging.INFO, "x.py", 1, "refused %s", (long,), None)
    vars(record).update(why=long, nested={"paths": [long] * 1000, long: 1}, error=ValueError(long), count=3, flag=None)
    try:
        raise ValueError(long)
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    line = logs.JsonFormatter("node").format(record)
    assert len(line) < 60_000
    fields = json.loads(line)
    assert (fields["count"], fields["flag"]) == (3, None)
    assert fields["why"] == "x" * 250 + "… 3999500 characters …" + "x" * 250
    assert fields["exception"].startswith("Traceback")


def test_what_can_not_be_seen_or_encoded_is_escaped(stream: io.StringIO) -> None:
    hostile = "a\u202eb\u2066c\u2028d\x9b31me\ud800f\u200f\x7f\n"
    logging.getLogger("brain2.node").info("%s", hostile, extra={"why": hostile, hostile: 1})
    written = stream.getvalue()
    assert written.isascii()
    assert written.removesuffix("\n").isprintable()
    (line,) = lines(stream)
    assert (line["msg"], line["why"], line[hostile]) == (hostile, hostile, 1)
