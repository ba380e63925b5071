"""How the embedded store is saved while it runs: what counts as a change, and that snapshots are whole; long polls."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local.ministack_main import Saver, Snapshots, changes, ending_with_its_client


def encode(name: str, state: Any) -> str:
    return json.dumps({name: state})


def read(root: Path) -> dict[str, Any]:
    return {file.name: json.loads(file.read_text()) for file in sorted((root / "current").iterdir())}


@pytest.mark.parametrize("action", ["PutItem", "UpdateItem", "TransactWriteItems", "DeleteMessage", "PutEvents"])
def test_what_may_write_counts_as_a_change(action: str) -> None:
    assert changes({"method": "POST", "headers": [(b"x-amz-target", f"Service_1.{action}".encode())]})


@pytest.mark.parametrize(
    "action", ["GetItem", "BatchGetItem", "Query", "DescribeTable", "ReceiveMessage", "ListTables"]
)
def test_what_only_reads_does_not(action: str) -> None:
    assert not changes({"method": "POST", "headers": [(b"x-amz-target", f"Service_1.{action}".encode())]})


def test_a_request_without_a_target_goes_by_its_method() -> None:
    assert changes({"method": "PUT", "headers": []})
    assert not changes({"method": "GET", "headers": []})


def request(action: str) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "headers": [(b"x-amz-target", f"AmazonSQS.{action}".encode())]}


@pytest.mark.parametrize(("action", "ends"), [("ReceiveMessage", True), ("SendMessage", False)])
async def test_a_long_poll_ends_when_its_client_is_gone(action: str, ends: bool) -> None:
    began, gone, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    heard: list[Any] = []
    ended = ""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal ended
        try:
            while not heard or heard[-1]["more_body"]:
                heard.append(await receive())
            began.set()
            await goes_on.wait()
            ended = "answered"
        except asyncio.CancelledError:
            ended = "cancelled"
            raise

    messages = [{"body": b"1", "more_body": True}, {"body": b"2", "more_body": False}]
    left = list(messages)

    async def receive() -> Any:
        if left:
            return left.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    serving = asyncio.ensure_future(ending_with_its_client(app)(request(action), receive, send))
    await began.wait()
    assert heard == messages
    gone.set()
    if ends:
        await serving
    goes_on.set()
    await serving
    assert ended == ("cancelled" if ends else "answered")


async def test_a_poll_that_is_answered_gives_its_errors_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"1"
        raise RuntimeError("a bug")

    left = [{"body": b"1", "more_body": False}]

    async def receive() -> Any:
        if left:
            return left.pop()
        return await asyncio.get_running_loop().create_future()

    async def send(_: Any) -> None:
        pass

    with pytest.raises(RuntimeError, match="a bug"):
        await ending_with_its_client(app)(request("ReceiveMessage"), receive, send)


def test_an_untouched_store_is_saved_once_changed(tmp_path: Path) -> None:
    saver = Saver(None, None, Snapshots(tmp_path), 1.0)  # type: ignore[arg-type]
    saver._changed, saver._saved = 10.0, float("-inf")
    assert saver.due()
    # Saved half a second after the change: what the change set off may not have been in it.
    saver._saved = 10.5
    assert saver.due()
    saver._saved = 11.5
    assert not saver.due()


def test_a_snapshot_replaces_the_last_one_and_keeps_what_reported_nothing(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.open()
    snapshots.write({"sqs": lambda: 1, "s3": lambda: 1}, encode, os.getppid())
    first = (tmp_path / "current").resolve()
    snapshots.write({"sqs": lambda: 2, "s3": lambda: None}, encode, os.getppid())
    assert read(tmp_path) == {"s3.json": {"s3": 1}, "sqs.json": {"sqs": 2}}
    assert not first.exists()


def test_a_write_that_fails_leaves_the_last_snapshot(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.open()
    snapshots.write({"sqs": lambda: 1}, encode, os.getppid())
    with pytest.raises(TypeError):
        snapshots.write({"sqs": lambda: 2, "s3": lambda: object()}, encode, os.getppid())
    assert read(tmp_path) == {"sqs.json": {"sqs": 1}}
    assert list(tmp_path.glob("snapshot-*")) == [(tmp_path / "current").resolve()]


def test_a_child_whose_server_is_gone_publishes_nothing(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.open()
    with pytest.raises(RuntimeError):
        snapshots.write({"sqs": lambda: 1}, encode, parent=-1)
    assert read(tmp_path) == {}


def test_a_start_removes_half_written_snapshots_and_says_that_it_is_not_clean(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.open()
    snapshots.write({"sqs": lambda: 1}, encode, os.getppid())
    (tmp_path / "snapshot-half").mkdir()
    assert snapshots.open() == (tmp_path / "current").resolve()
    assert not (tmp_path / "snapshot-half").exists()
    assert (tmp_path / "unclean").exists()
    snapshots.close()
    assert not (tmp_path / "unclean").exists()


def test_the_collector_never_walks_over_all_that_is_stored() -> None:
    code = """
import gc
from deploy.local.ministack_main import collect_what_is_young
collect_what_is_young()
before = gc.get_stats()[2]["collections"]
stored = [{"item": [n]} for n in range(500_000)]
assert gc.get_stats()[2]["collections"] == before
assert gc.get_freeze_count() > 500_000
cycle = []
cycle.append(cycle)
del cycle
assert gc.collect(0) == 1, "what is young is collected as ever"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
