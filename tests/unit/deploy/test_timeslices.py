"""The time slice of a process, where the system has one."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from deploy.local import timeslices


@pytest.fixture
def child() -> Iterator[int]:
    argv = [sys.executable, "-c", "import os; os.nice(3); print(); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


@pytest.mark.skipif(timeslices.slice_of(0) is None, reason="the system does not show slices")
def test_a_slice_is_set_and_the_niceness_stays(child: int) -> None:
    assert timeslices.set_slice(child, 7.5)
    assert timeslices.slice_of(child) == 7.5
    assert os.getpriority(os.PRIO_PROCESS, child) == os.getpriority(os.PRIO_PROCESS, 0) + 3


def test_a_process_that_has_ended_has_none() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not timeslices.set_slice(gone.pid, 1.0)
    assert timeslices.slice_of(gone.pid) is None


def test_nothing_happens_on_other_systems(child: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "abacus")
    assert not timeslices.set_slice(child, 9.0)
    assert timeslices.slice_of(child) is None
    monkeypatch.undo()
    assert timeslices.slice_of(child) != 9.0
