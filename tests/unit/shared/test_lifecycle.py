"""A process from start to end: the order of the drain, what crashes, what signals do, what is printed."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.lifecycle import Crashed, Lifecycle, tune_garbage_collection
from tests.support.waiting import within

_ROOT = Path(__file__).parents[3]


class Story:
    """What happened, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @asynccontextmanager
    async def resource(self, name: str) -> AsyncIterator[str]:
        self.told.append(f"open {name}")
        yield name
        self.told.append(f"close {name}")

    async def task(self, name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.told.append(f"cancel {name}")

    async def drain(self, name: str) -> None:
        self.told.append(f"drain {name}")


async def test_the_order_of_the_end() -> None:
    story = Story()

    async def main(life: Lifecycle) -> None:
        assert await life.enter(story.resource("aws")) == "aws"
        await life.enter(story.resource("outbox"))
        life.supervise("consumer", story.task("consumer"))
        life.on_drain(lambda: story.drain("outbox"))
        life.on_drain(lambda: story.drain("consumer"))
        life.on_drain(lambda: story.drain("server"))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(life.stop)
        await life.wait_for_stop()
        story.told.append("main ends")

    await Lifecycle().run(main)
    assert story.told == [
        "open aws",
        "open outbox",
        "main ends",
        "drain server",
        "drain consumer",
        "drain outbox",
        "cancel consumer",
        "close outbox",
        "close aws",
    ]


async def test_a_crashed_task_ends_the_service_after_a_full_drain() -> None:
    story = Story()

    async def crash() -> None:
        raise ValueError("boom")

    async def main(life: Lifecycle) -> None:
        await life.enter(story.resource("aws"))
        life.on_drain(lambda: story.drain("server"))
        life.supervise("consumer", crash())
        await life.wait_for_stop()

    with pytest.raises(Crashed, match="the background task 'consumer' crashed: ValueError: boom"):
        await Lifecycle().run(main)
    assert story.told == ["open aws", "drain server", "close aws"]


async def test_a_task_may_end() -> None:
    async def warm_up() -> int:
        return 7

    async def main(life: Lifecycle) -> None:
        assert await life.supervise("warm-up", warm_up()) == 7
        assert not life.stopping

    await Lifecycle().run(main)


async def test_a_failed_start_closes_what_was_opened() -> None:
    story = Story()

    async def main(life: Lifecycle) -> None:
        await life.enter(story.resource("aws"))
        raise OSError("cannot listen")

    with pytest.raises(OSError, match="cannot listen"):
        await Lifecycle().run(main)
    assert story.told == ["open aws", "close aws"]


async def test_one_step_that_fails_does_not_spare_the_others(caplog: pytest.LogCaptureFixture) -> None:
    story = Story()

    async def broken() -> None:
        raise RuntimeError("stuck")

    async def main(life: Lifecycle) -> None:
        await life.enter(story.resource("aws"))
        life.on_drain(lambda: story.drain("outbox"))
        life.on_drain(broken)

    with pytest.raises(RuntimeError, match="stuck"):
        await Lifecycle().run(main)
    assert story.told == ["open aws", "drain outbox", "close aws"]
    assert "a step of the shutdown failed" in caplog.text


async def test_a_stop_during_the_start_calls_it_off() -> None:
    story = Story()
    life = Lifecycle()

    async def main(life: Lifecycle) -> None:
        await life.enter(story.resource("aws"))
        life.stop()
        await asyncio.Event().wait()  # a store that never answers

    async with within(10):
        await life.run(main)
    assert story.told == ["open aws", "close aws"]


_SERVICE = """
import asyncio, sys, time
from shared import lifecycle, logs
from shared.config import ServerConfig, load, env_field
from shared.grpc.server import BindError

async def main(life):
    {body}

async def drained():
    print("drained", flush=True)

async def stuck():
    print("draining", flush=True)
    await asyncio.Event().wait()

async def blocked():
    time.sleep(3600)

async def crash():
    raise ValueError("boom")

lifecycle.run(main)
"""


def process(body: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _SERVICE.format(body=body)],
        cwd=_ROOT,
        env={"PATH": os.environ["PATH"], "BRAIN2_TRACE_RATIO": "7", "BRAIN2_LISTEN": "x"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_zero(number: signal.Signals) -> None:
    with process("life.on_drain(drained); print('up', flush=True); await life.wait_for_stop()") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        running.send_signal(number)
        out, err = running.communicate(timeout=300)
    assert (out, err, running.returncode) == ("drained\n", "", 0)


def test_a_second_signal_ends_at_once() -> None:
    with process("life.on_drain(stuck); print('up', flush=True); await life.wait_for_stop()") as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.send_signal(signal.SIGTERM)
        assert running.stdout.readline() == "draining\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=300) == 130


def test_a_process_that_cannot_end_is_ended_and_says_where_it_was() -> None:
    with process(
        "lifecycle._DRAIN_SECONDS = lifecycle._END_SECONDS = 0.1; life.on_drain(blocked); "
        "print('up', flush=True); await life.wait_for_stop()"
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=300)
    assert running.returncode == 1
    assert "in blocked" in err


def test_a_wrong_configuration_is_told_in_plain_lines() -> None:
    with process("load(ServerConfig)") as running:
        _, err = running.communicate(timeout=300)
    first, *problems = err.splitlines()
    assert first == "The configuration is wrong:"
    assert [problem.split()[0] for problem in problems] == ["BRAIN2_LISTEN:", "BRAIN2_TRACE_RATIO:"]
    assert running.returncode == 2


def test_a_taken_address_is_one_line_without_a_traceback() -> None:
    with process("logs.setup('INFO', 'node'); raise BindError('cannot listen on x')") as running:
        _, err = running.communicate(timeout=300)
    (line,) = err.splitlines()
    assert json.loads(line)["msg"] == "the service ends: cannot listen on x"
    assert "exception" not in json.loads(line)
    assert running.returncode == 1


def test_a_crash_is_logged_with_its_traceback_once() -> None:
    with process(
        "logs.setup('INFO', 'node'); life.supervise('consumer', crash()); await life.wait_for_stop()"
    ) as running:
        _, err = running.communicate(timeout=300)
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["msg"] for line in lines if line["level"] == "ERROR"] == [
        "a background task crashed",
        "the service ends: the background task 'consumer' crashed: ValueError: boom",
    ]
    assert ["exception" in line for line in lines if line["level"] == "ERROR"] == [True, False]
    assert running.returncode == 1


def test_a_cache_that_grows_is_soon_in_the_oldest_generation() -> None:
    """A collection takes the time that the items in the younger generations take, however few objects hold them."""
    before = gc.get_threshold()
    cache: dict[str, tuple[tuple[str, str], ...]] = {}
    visited: list[int] = []

    def collecting(phase: str, info: dict[str, int]) -> None:
        young = range(info["generation"] + 1) if info["generation"] < 2 else ()
        if phase == "start" and any(each is cache for age in young for each in gc.get_objects(generation=age)):
            visited.append(len(cache))

    tune_garbage_collection()
    gc.callbacks.append(collecting)
    try:
        for number in range(120_000):
            cache[str(number)] = ((str(number), "form"),)
    finally:
        gc.callbacks.remove(collecting)
        gc.set_threshold(*before)
        gc.unfreeze()
    assert visited
    assert max(visited) < 10_000
