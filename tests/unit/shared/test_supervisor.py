"""What a supervisor does about workers that no longer answer, or do not end."""

import asyncio
import sys

from shared.workers.link import VARIABLE
from shared.workers.supervisor import Supervisor
from tests.support.waiting import until

# A worker that serves and answers nothing, as one whose event loop is blocked. It ends with its supervisor.
_SILENT = f"""
import os, socket
end = socket.socket(fileno=int(os.environ["{VARIABLE}"]))
end.sendall(b'{{"serving": true}}\\n')
while end.recv(100):
    pass
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
