"""What a person reads: JSON logs become lines, other output stays as it is, the gist of a line fits a sentence."""

import io
import json

import pytest

from deploy.local.console import Console, gist


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def test_a_json_line_becomes_readable(out: io.StringIO) -> None:
    line = {"ts": "2026-01-02T03:04:05.678Z", "level": "WARNING", "service": "node", "logger": "x", "msg": "slow call"}
    Console(out).log("node", json.dumps({**line, "node_id": "n1", "trace_id": "abc", "span_id": "def"}))
    assert out.getvalue() == "node       03:04:05.678 WARNING slow call node_id=n1 trace=abc\n"


def test_a_traceback_is_shown_below(out: io.StringIO) -> None:
    Console(out).log("graph", json.dumps({"level": "ERROR", "msg": "failed", "exception": "Traceback\nKeyError: 1"}))
    assert out.getvalue() == "graph      ERROR   failed\nTraceback\nKeyError: 1\n"


@pytest.mark.parametrize("line", ["plain words", "[1, 2]", '"quoted"', "{not json"])
def test_other_output_is_shown_as_it_is(out: io.StringIO, line: str) -> None:
    Console(out).log("cleanup", line)
    assert out.getvalue() == f"cleanup    {line}\n"


def test_what_others_wrote_does_not_command_the_terminal(out: io.StringIO) -> None:
    hostile = "\x1b]0;title\x07\x1b[2J \u202etxt.exe \u2066a\nnode 1\u2028\x9b"
    Console(out).log(
        "node", json.dumps({"level": "INFO", "msg": hostile, "why": hostile, "exception": "One\n" + hostile})
    )
    shown = out.getvalue()
    assert shown.replace("\n", "").isprintable()
    # A line and its traceback: the text itself begins no line that looks like another one, but within a traceback.
    assert [line[:4] for line in shown.split("\n")] == ["node", "One", "\\u00", "node", ""]


def test_colour_is_for_terminals(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert Console(out).paint("x", "red") == "x"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Console(out).paint("x", "red") == "\033[31mx\033[0m"


def test_the_gist_of_a_line() -> None:
    assert gist(" plain ") == "plain"
    assert gist(json.dumps({"msg": "stopped", "exception": "Traceback\nOSError: no"})) == "stopped: OSError: no"
