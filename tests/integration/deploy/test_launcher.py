"""The launcher with stand-ins for the four services: it starts, says what is wrong, leaves nothing behind."""

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.local import processes, stores
from deploy.local.__main__ import _up
from deploy.local.console import Console, LaunchError
from deploy.local.stack import SERVICES, Options, Stack, describe, running
from deploy.local.timeslices import slice_of
from tests.support.waiting import until


def standin(context: str) -> Sequence[str]:
    return (sys.executable, "-m", "tests.support.standin", context)


def options(data: Path, **extra_env: str) -> Options:
    return Options(data=data, port_base=None, command=standin, extra_env=extra_env)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Dead, but not yet collected by whoever inherited it.
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def children(launcher: int) -> dict[str, int]:
    """What a launcher has started: the last word of each command, the context of a stand-in, and its process."""
    table = subprocess.run(["ps", "-axwwo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in table.splitlines()]
    return {Path(row[-1]).name: int(row[0]) for row in rows if int(row[1]) == launcher}


STORES = ("dynoxide", "ministack", "valkey") if stores.DYNOXIDE.exists() else ("ministack", "valkey")


async def test_up_tells_where_everything_is_and_stops_all_of_it(tmp_path: Path) -> None:
    data = tmp_path / "ein Ordner mit Umlauten: äöü"
    log = io.StringIO()
    async with running(options(data), Console(log)) as stack:
        assert stack.addresses.keys() == set(SERVICES)
        assert stack.children.keys() == {*SERVICES, *STORES}
        assert (describe(data) or {})["services"] == stack.addresses
        pids = [child.pid for child in stack.children.values()]
        assert all(oct(folder.stat().st_mode & 0o777) == "0o700" for folder in (data, *map(data.joinpath, STORES)))
        # Two stacks on one folder would overwrite each other's stores.
        with pytest.raises(LaunchError, match=r"running on .* already"):
            async with running(options(data), Console(io.StringIO())):
                pass
    assert all(gone(pid) for pid in pids)
    assert describe(data) is None
    lines = log.getvalue()
    assert "node       INFO    table Brain2-Main" in lines
    assert lines.count("bye") == len(SERVICES)


async def test_services_that_work_in_the_background_stand_back_on_busy_cores(tmp_path: Path) -> None:
    async with running(options(tmp_path), Console(io.StringIO())) as stack:
        niceness = {name: os.getpriority(os.PRIO_PROCESS, stack.children[name].pid) for name in SERVICES}
        slices = {name: slice_of(child.pid) for name, child in stack.children.items()}
        callers = slice_of(os.getpid())
    assert niceness["node"] == niceness["graph"] == os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness["graph"] < niceness["similarity"] == niceness["cleanup"]
    if callers is None:
        return  # the kernel has no slices, or does not show them
    order = ("graph", "node", "dynoxide", "similarity", "cleanup")
    found = [slices[name] or 0.0 for name in order if name in slices]
    assert found == sorted(set(found)), "the ones that calls wait for come first"
    assert found[0] < callers < found[1]
    assert slices["valkey"] == slices["graph"]
    assert slices["ministack"] == slices["cleanup"]


async def test_a_child_that_dies_later_is_named(tmp_path: Path) -> None:
    async with running(options(tmp_path), Console(io.StringIO())) as stack:
        os.kill(stack.children["similarity"].pid, signal.SIGKILL)
        assert (await stack.died()).startswith("similarity was killed by SIGKILL")


async def test_ctrl_c_while_it_stops_because_a_child_died_hides_neither_the_death_nor_a_child(tmp_path: Path) -> None:
    log = io.StringIO()
    up = asyncio.create_task(_up(options(tmp_path), Console(log), observe=False))
    await until(lambda: "Ctrl-C stops everything" in log.getvalue() or up.done(), seconds=90.0, what="the stack")
    pids = {name: pid for name, pid in children(os.getpid()).items() if name in SERVICES}
    assert pids.keys() == set(SERVICES)
    # It can't stop yet, so the launcher waits for it.
    os.kill(pids["graph"], signal.SIGSTOP)
    os.kill(pids["similarity"], signal.SIGKILL)
    await until(lambda: "bye" in log.getvalue(), what="the launcher stopping the others")
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(0)
    os.kill(pids["graph"], signal.SIGCONT)
    with pytest.raises(LaunchError, match=r"^similarity was killed by SIGKILL"):
        await up
    assert all(gone(pid) for pid in pids.values())
    assert log.getvalue().count("bye") == len(SERVICES) - 1


async def test_a_cancellation_does_not_cut_short_what_stops_children() -> None:
    reached, finish, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stopping() -> None:
        reached.set()
        await finish.wait()
        done.set()

    async def starting() -> None:
        try:
            raise LaunchError("the cause")
        finally:
            await processes.to_the_end(stopping())

    task = asyncio.create_task(starting())
    await reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    finish.set()
    with pytest.raises(LaunchError, match="the cause"):
        await task
    assert done.is_set()


async def test_a_killed_service_can_be_started_again(tmp_path: Path) -> None:
    async with running(options(tmp_path), Console(io.StringIO())) as stack:
        before = stack.children["node"]
        os.kill(before.pid, signal.SIGKILL)
        await before.ended
        await stack.restart("node")
        assert stack.children["node"].pid != before.pid


async def test_a_service_that_cannot_start_stops_the_others_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"^graph exited with status 3: graph cannot work today$"):
        async with running(options(tmp_path, STANDIN_FAIL="graph"), Console(io.StringIO())):
            pass
    # Everything was stopped: the folder is free and its stores can be started again.
    async with running(options(tmp_path), Console(io.StringIO())) as stack:
        assert isinstance(stack, Stack)


async def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        wanted = Options(data=tmp_path, port_base=port, command=standin)
        with pytest.raises(LaunchError, match=rf"^port {port} \(for node\) is taken"):
            async with running(wanted, Console(io.StringIO())):
                pass
    assert not (tmp_path / "ministack").exists()


async def test_the_stores_leave_the_services_their_ports(tmp_path: Path) -> None:
    first = next(
        port
        for port in iter(lambda: processes.free_ports(1)[0], 0)
        if all(map(processes.is_free, range(port, port + 4)))
    )
    (tmp_path / "ports.json").write_text(json.dumps({"dynoxide": first, "ministack": first + 1, "valkey": first + 2}))
    wanted = Options(data=tmp_path, port_base=first, command=standin)
    async with running(wanted, Console(io.StringIO())) as stack:
        assert stack.addresses["node"] == f"127.0.0.1:{first}"


async def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    child = await processes.start("node", ["/no/such/program"], env={}, on_line=lambda *_: None)
    await child.ended
    assert child.obituary().endswith("/no/such/program could not be started: No such file or directory")


async def test_the_end_of_what_the_services_do_not_need_is_told() -> None:
    log = io.StringIO()
    (port,) = processes.free_ports(1)
    argv = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    child = await processes.start("console", argv, env={}, on_line=lambda *_: None)
    async with processes.beside(child, f"http://127.0.0.1:{port}/", 60.0, 5.0, Console(log)) as answers:
        assert answers
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: "console was killed by SIGKILL" in log.getvalue(), what="its end")
    assert log.getvalue().count("the services do not need it") == 1


async def test_what_the_services_do_not_need_may_never_answer() -> None:
    log = io.StringIO()
    (port,) = processes.free_ports(1)
    child = await processes.start("console", ["/bin/sleep", "600"], env={}, on_line=lambda *_: None)
    async with processes.beside(child, f"http://127.0.0.1:{port}/", 0.3, 5.0, Console(log)) as answers:
        assert not answers
    assert "console did not answer within 0 s; the services do not need it" in log.getvalue()
    assert "exited" not in log.getvalue()


async def test_a_child_that_ignores_sigterm_is_killed_with_all_that_it_started() -> None:
    script = "trap '' TERM; sleep 600 & echo $!; while :; do sleep 600; done"
    lines: asyncio.Queue[str] = asyncio.Queue()
    child = await processes.start(
        "deaf", ["/bin/sh", "-c", script], env={"PATH": os.defpath}, on_line=lambda _, line: lines.put_nowait(line)
    )
    grandchild = int(await lines.get())
    await child.stop(0.1)
    assert gone(child.pid)
    await until(lambda: gone(grandchild), what="the end of the grandchild")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
async def test_nothing_outlives_a_launcher_that_is_killed(tmp_path: Path) -> None:
    """kill -9 of the launcher: the kernel tells the children, and ministack still saves."""
    program = (
        "import asyncio, sys, pathlib\n"
        "from deploy.local.console import Console\n"
        "from deploy.local.stack import Options, running\n"
        "from tests.integration.deploy.test_launcher import options\n"
        "async def main():\n"
        "    async with running(options(pathlib.Path(sys.argv[1])), Console(sys.stderr)) as stack:\n"
        "        print(*(child.pid for child in stack.children.values()), flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    launcher = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert launcher.stdout is not None
    pids = [int(pid) for pid in (await launcher.stdout.readline()).split()]
    assert len(pids) == len(SERVICES) + len(STORES)
    launcher.kill()
    await launcher.wait()
    await until(lambda: all(gone(pid) for pid in pids), what="the end of the children")
    assert describe(tmp_path) is None
    assert not (tmp_path / "ministack" / "unclean").exists()
    assert json.loads((tmp_path / "stack.json").read_text())
