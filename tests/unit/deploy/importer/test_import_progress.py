"""Progress without a terminal: a line now and then; and the summary."""

import io

from deploy.local.console import Console
from deploy.local.importer.progress import ProgressBar
from deploy.local.importer.report import Report


def test_without_a_terminal_a_line_every_few_seconds() -> None:
    out, now = io.StringIO(), [0.0]
    with ProgressBar("notes.jsonl", out, monotonic=lambda: now[0]) as bar:
        for second in range(12):
            now[0] = float(second)
            bar.show(second, 12, f"{second} notes")
    assert out.getvalue() == "notes.jsonl:  41 %, 5 notes\nnotes.jsonl:  83 %, 10 notes\n"


def test_without_a_total_there_is_no_share() -> None:
    out, now = io.StringIO(), [0.0]
    with ProgressBar("linking", out, monotonic=lambda: now[0]) as bar:
        now[0] = 6.0
        bar.show(0, 0, "12 links")
    assert out.getvalue() == "linking: 12 links\n"


def test_the_summary_counts_everything() -> None:
    report = Report(read_notes=10, created=4, present=2, read_links=3, linked=2, linked_before=1)
    report.fail_note("line 3", "too long")
    report.fail("line 4", "not JSON")
    out = io.StringIO()
    report.show(Console(out), 2.0)
    shown = out.getvalue()
    assert "line 3: too long" in shown
    assert "4 created, 2 already there (2.0 s, 5 a second)" in shown
    assert "2 created, 1 already there" in shown
    assert "3 more were read, but are not stored for certain" in shown
    assert "2 failed" in shown


def test_a_thousand_failures_do_not_flood_the_terminal() -> None:
    report = Report()
    for number in range(1000):
        report.fail(f"line {number}", "bad")
    out = io.StringIO()
    report.show(Console(out), 0.0)
    assert len(out.getvalue().splitlines()) < 30
    assert "... and 980 more" in out.getvalue()


def test_the_terminal_is_not_at_the_mercy_of_a_file() -> None:
    report = Report(remarks=[("a\x1b]0;x\x07.md:1", "[[\x1b[2J]] leads to no note"), ("b.md", "no time")])
    out = io.StringIO()
    report.show(Console(out), 0.0)
    assert "\x1b" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    # What could not be read comes before the pages that nobody has written yet.
    assert out.getvalue().index("b.md") < out.getvalue().index("leads to no note")
    assert list(report.lines()) == [
        "mentioned\ta\\u001b]0;x\\u0007.md:1\t[[\\u001b[2J]] leads to no note", "mentioned\tb.md\tno time"
    ]  # fmt: skip
