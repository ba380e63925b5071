"""The look-up of known vulnerabilities, with tools of the test's own in place of pip-audit and npm."""

from pathlib import Path

import pytest

from deploy import audit

FOUND = "Found 1 known vulnerability in 1 package\npyjwt 2.0 PYSEC-1"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the only tools in PATH: both find nothing."""
    for name in ("pip-audit", "npm"):
        tool(tmp_path / name, "No known vulnerabilities found", 0)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("PIP_AUDIT", raising=False)
    return tmp_path


def tool(path: Path, output: str, code: int) -> None:
    path.with_suffix(".out").write_text(output)
    path.write_text(f'#!/bin/sh\necho "$@" >> {path}.calls\ncat {path.with_suffix(".out")}\nexit {code}\n')
    path.chmod(0o755)


def test_every_lock_is_looked_up(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main() == 0
    calls = (tools / "pip-audit.calls").read_text().splitlines()
    assert [call.rpartition(" ")[2] for call in calls] == sorted(
        path.name for path in (audit.ROOT / "requirements").glob("*.txt")
    )
    assert all("--strict" in call for call in calls), "a package that is skipped would count as clean"
    locks = {str(path.relative_to(audit.ROOT)) for path in audit.ROOT.glob("[cd]*/*/*/package-lock.json")}
    assert locks == {lock for lock in audit.commands() if lock.endswith("package-lock.json")}
    assert len((tools / "npm.calls").read_text().splitlines()) == 2
    assert capsys.readouterr().out.count("no known vulnerability") == len(audit.commands())


def test_a_vulnerability_is_shown(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool(tools / "pip-audit", FOUND, 1)
    assert audit.main() == 1
    shown = capsys.readouterr()
    assert "PYSEC-1" in shown.out
    assert not shown.err


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("Traceback (most recent call last):\n  File x\nConnectionError: no network\n", "ConnectionError: no network"),
        ("ERROR:x: Dependency not found on PyPI and could not be audited: x (1)", "not found on PyPI"),
        ("", "no reason given"),
    ],
)
def test_without_a_network_there_is_one_sentence(
    tools: Path, output: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("pip-audit", "npm"):
        tool(tools / name, output, 1)
    assert audit.main() == 1
    shown = capsys.readouterr()
    assert not shown.out
    (line,) = shown.err.splitlines()
    assert f"{len(audit.commands())} of {len(audit.commands())} locks were not looked up" in line
    assert why in line


def test_a_missing_tool_is_named(
    tools: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_AUDIT", str(tools / "none"))
    assert audit.main() == 1
    assert "none is not installed" in capsys.readouterr().err
