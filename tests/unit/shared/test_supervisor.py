"""What a supervisor does about workers that are killed, no longer answer, or do not end; and how it holds a port."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from deploy.local import processes
from shared.metrics.model import Snapshot
from shared.workers.link import VARIABLE
from shared.workers.supervisor import Supervisor, held
from tests.support.waiting import until, within

# A worker that serves and answers nothing, as one whose event loop is blocked. It ends with its supervisor.
_SILENT = f"""
import os, socket
end = socket.socket(fileno=int(os.environ["{VARIABLE}"]))
end.sendall(b'{{"serving": true}}\\n')
while end.recv(100):
    pass
"""
# Counts how often it was asked for its metrics.
_COUNTING = f"""
import json, os, socket
end = socket.socket(fileno=int(os.environ["{VARIABLE}"]))
end.sendall(b'{{"serving": true}}\\n')
asked = 0
for line in end.makefile():
    question = json.loads(line)
    asked += question["ask"] == "metrics"
    metrics = [[["asked", "counter", "", [], "", "sum"], [[[], asked]]]]
    end.sendall(json.dumps({{"id": question["id"], "metrics": metrics}}).encode() + b"\\n")
"""
_DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + _SILENT


async def test_a_worker_that_does_not_answer_is_killed_and_replaced() -> None:
    supervisor = Supervisor([sys.executable, "-I", "-S", "-c", _SILENT], 1, ask_seconds=0.02)
    running = asyncio.create_task(supervisor.run())
    try:
        await until(lambda: len(supervisor.workers) == 1, what="the first worker")
        first = supervisor.workers[0].pid

        def replaced() -> bool:
            return any(worker.pid != first for worker in supervisor.workers)

        await until(replaced, what="its replacement")
    finally:
        supervisor.stop()
        code = await running
    assert code == 0


async def test_a_worker_that_does_not_end_in_time_is_killed_and_the_exit_code_shows_it() -> None:
    supervisor = Supervisor([sys.executable, "-I", "-S", "-c", _DEAF], 2, drain_seconds=0.05)
    running = asyncio.create_task(supervisor.run())
    await until(
        lambda: len(supervisor.workers) == 2 and all(each.serving.is_set() for each in supervisor.workers),
        what="two workers",
    )
    supervisor.stop()
    assert await running == 1
    assert supervisor.workers == []


async def test_a_worker_that_was_killed_by_the_drain_signal_before_it_could_handle_it_ended_well() -> None:
    supervisor = Supervisor([sys.executable, "-I", "-S", "-c", _SILENT], 2)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: len(supervisor.workers) == 2, what="two workers")
    supervisor.stop()
    assert await running == 0


async def test_silence_is_counted_in_asks_and_none_waits_for_the_answer_to_another() -> None:
    async def sleep(_: float) -> None:
        await asyncio.sleep(0)
        await until(lambda: any(each.serving.is_set() for each in supervisor.workers), what="a worker that serves")

    # If it waited for answers, it would need hours.
    supervisor = Supervisor([sys.executable, "-I", "-S", "-c", _SILENT], 1, ask_seconds=3600.0, sleep=sleep)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: len(supervisor.workers) == 1, what="the first worker")
    first = supervisor.workers[0].pid
    await until(lambda: any(worker.pid != first for worker in supervisor.workers), what="its replacement")
    supervisor.stop()
    assert await running == 0


async def test_a_worker_that_is_killed_while_it_writes_is_replaced(tmp_path: Path) -> None:
    # The first worker ends in the middle of a message; the second one serves.
    begun = tmp_path / "begun"
    ends = f"""
import os, pathlib, socket
if not os.path.exists({str(begun)!r}):
    pathlib.Path({str(begun)!r}).write_text(str(os.getpid()))
    end = socket.socket(fileno=int(os.environ["{VARIABLE}"]))
    end.sendall(b'{{"serving": true}}\\n{{"id": 1, "metr')
    os.kill(os.getpid(), 9)
"""
    supervisor = Supervisor([sys.executable, "-I", "-S", "-c", ends + _SILENT], 1)
    running = asyncio.create_task(supervisor.run())

    def serves_again() -> bool:
        return any(worker.serving.is_set() and str(worker.pid) != begun.read_text() for worker in supervisor.workers)

    await until(lambda: serves_again() or running.done(), what="its replacement")
    supervisor.stop()
    assert await running == 0


async def test_a_stopped_worker_drains_with_the_others() -> None:
    supervisor = Supervisor([sys.executable, "-I", "-S", "-c", _SILENT], 2, drain_seconds=3600.0)
    running = asyncio.create_task(supervisor.run())
    await until(
        lambda: len(supervisor.workers) == 2 and all(each.serving.is_set() for each in supervisor.workers),
        what="two workers",
    )
    stopped = supervisor.workers[0].pid
    os.kill(stopped, signal.SIGSTOP)
    stat = Path(f"/proc/{stopped}/stat")
    await until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", what="the stop")
    supervisor.stop()
    async with within(20):
        assert await running == 0


@pytest.mark.parametrize("end", ["signal.raise_signal(signal.SIGINT)", "os._exit(130)"])
async def test_a_worker_whose_start_was_interrupted_from_the_terminal_ended_well(end: str) -> None:
    # A shell without job control lets what it starts in the background ignore SIGINT.
    begin = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    begin += f"signal.signal(signal.SIGTERM, lambda *_: {end})"
    supervisor = Supervisor([sys.executable, "-I", "-S", "-c", begin + _SILENT], 1)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: any(each.serving.is_set() for each in supervisor.workers), what="a worker that serves")
    supervisor.stop()
    assert await running == 0


async def test_scrapes_at_the_same_time_share_a_reading() -> None:
    supervisor = Supervisor([sys.executable, "-I", "-S", "-c", _COUNTING], 1)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: any(each.serving.is_set() for each in supervisor.workers), what="a worker that serves")
    both = await asyncio.gather(supervisor.snapshot(), supervisor.snapshot())
    assert [_number(found, "asked") for found in (*both, await supervisor.snapshot())] == [1, 1, 2]
    supervisor.stop()
    assert await running == 0


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{processes.free_ports(1)[0]}"


def test_a_held_address_is_for_those_who_share_it_alone(address: str) -> None:
    with held(address):
        with pytest.raises(OSError, match="in use"):
            held(address)
        with pytest.raises(OSError, match="in use"):
            listener(address, share=False)
        with listener(address, share=True), listener(address, share=True):
            host, _, port = address.rpartition(":")
            # The socket that holds the address takes no connections: each is answered by a listener.
            for _ in range(20):
                socket.create_connection((host, int(port)), timeout=20).close()
    with listener(address, share=False):
        pass


def test_an_address_that_others_share_already_cannot_be_held(address: str) -> None:
    with listener(address, share=True), pytest.raises(OSError, match="in use"):
        held(address)


def listener(address: str, *, share: bool) -> socket.socket:
    """A server's socket. share: with SO_REUSEPORT."""
    host, _, port = address.rpartition(":")
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(share))
        listening.bind((host, int(port)))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _number(snapshot: Snapshot, name: str) -> object:
    return next(points[()] for family, points in snapshot if family.name == name)
