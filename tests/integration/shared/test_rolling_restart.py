"""A restart costs clients nothing: replicas are stopped by SIGTERM and started again while calls go on, and none fails.

Once with our own client, and once with gRPC's, which knows no more than docs/retry-policy.json.
"""

import asyncio
import importlib
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

from shared.grpc.client import Channels
from tests.support.echo import NAME, SERVICE, Echo
from tests.support.replica import replicas
from tests.support.waiting import until

POLICY = (Path(__file__).parents[3] / "docs" / "retry-policy.json").read_text(encoding="utf-8")
_WORKERS = 32
Call = Callable[[str], Awaitable[Any]]


class Load:
    """Workers that make one call after the other, of all kinds in turn, until told to stop."""

    _numbers = itertools.count()

    def __init__(self, calls: dict[str, Call]) -> None:
        self._calls = calls
        self.stopping = False
        self.failed: list[tuple[str, BaseException]] = []
        self.answered: Counter[str] = Counter()
        self.written: list[str] = []

    async def work(self) -> None:
        while not self.stopping:
            for kind, call in self._calls.items():
                text = f"{kind} {next(self._numbers)}"
                try:
                    assert await call(text) == text
                except Exception as error:
                    self.failed.append((text, error))
                    await asyncio.sleep(0)  # a refusal may come without a pause, and the others want their turn
                else:
                    self.answered[kind] += 1
                    if kind == "write":
                        self.written.append(text)

    async def more(self, count: int = 1000) -> None:
        """Until that many more calls have been answered."""
        enough = self.answered.total() + count
        await until(lambda: self.answered.total() >= enough, what=f"{count} more calls")


async def ours(stack: AsyncExitStack, target: str) -> dict[str, Call]:
    """Through Channels: reads, streams, and writes that nothing but the server could tell to be repeated."""
    # A process starts in a second or two, and on a busy machine in more.
    channels = await stack.enter_async_context(Channels(timeout=100.0, patience=20.0))
    stub = channels.stub(target, SERVICE)

    async def read(text: str) -> Any:
        return (await stub.GetEcho(Echo(text=text))).text

    async def write(text: str) -> Any:
        return (await stub.CreateEcho(Echo(text=text))).text

    async def listed(text: str) -> Any:
        return "".join([each.text async for each in stub.ListEchoes(Echo(text=text), timeout=20.0)])

    async def watch(text: str) -> Any:
        async with aclosing(stub.WatchEchoes(Echo(text=text))) as answers:
            return (await anext(answers)).text

    return {"read": read, "write": write, "list": listed, "watch": watch}


async def plain(stack: AsyncExitStack, target: str) -> dict[str, Call]:
    """gRPC's client with the documented service config, and nothing else."""
    channel = await stack.enter_async_context(
        grpc.aio.insecure_channel(target, options=[("grpc.service_config", POLICY)])
    )
    kinds: dict[str, Any] = {"request_serializer": Echo.SerializeToString, "response_deserializer": Echo.FromString}
    get, create = (channel.unary_unary(f"/{NAME}/{name}", **kinds) for name in ("GetEcho", "CreateEcho"))
    lists = channel.unary_stream(f"/{NAME}/ListEchoes", **kinds)

    async def read(text: str) -> Any:
        return (await get(Echo(text=text))).text

    async def write(text: str) -> Any:
        return (await create(Echo(text=text, request_id=text))).text

    async def listed(text: str) -> Any:
        return "".join([each.text async for each in lists(Echo(text=text))])

    return {"read": read, "write": write, "list": listed}


@pytest.mark.parametrize("count", [2, 1])
async def test_no_call_fails_while_replicas_are_restarted_one_after_the_other(count: int, tmp_path: Path) -> None:
    done = tmp_path / "done"
    async with replicas(count, done) as found, AsyncExitStack() as stack:
        target = "ipv4:" + ",".join(each.target for each in found)
        loads = [Load(await ours(stack, target)), Load(await plain(stack, target))]
        workers = [asyncio.create_task(load.work()) for load in loads for _ in range(_WORKERS)]
        try:
            for replica in found:
                await asyncio.gather(*(load.more() for load in loads))
                assert await replica.stop() == 0
                await replica.start()
            await asyncio.gather(*(load.more() for load in loads))
        finally:
            for load in loads:
                load.stopping = True
            await asyncio.gather(*workers)
    assert [load.failed for load in loads] == [[], []]
    # Nothing that was answered is missing, and what was tried again had not been done before.
    assert Counter(done.read_text().split("\n")[:-1]) == Counter(text for load in loads for text in load.written)


def test_the_policy_may_repeat_whatever_it_covers() -> None:
    """It can't see whether a call has a request_id: a method must be a read, have one, or be harmless to repeat."""
    harmless = {
        # They state what is to be, or go on from where they are; their .proto says so.
        *("PurgeNode", "DetachNode", "RemoveNode", "EraseUser", "SetNodeVisibility", "AnnounceNodeVisibility"),
        "WarmCache",
        *("ReindexUser", "ReconcileUser", "ReplayEvents", "RenameNode"),
        # They only read.
        *("WatchEdges", "ExtractKeywords", "ExplainSimilarity", "SuggestLinks", "ExportUser"),
    }
    without_deadline = {(name["service"], name["method"]) for name in json.loads(POLICY)["methodConfig"][1]["name"]}
    streams = set()
    for context in ("node", "graph", "similarity", "cleanup"):
        file = importlib.import_module(f"protos.{context}.v1.{context}_pb2").DESCRIPTOR
        for service in file.services_by_name.values():
            for method in service.methods:
                reads = method.name.startswith(("Get", "BatchGet", "List", "Find", "Search", "Check"))
                keyed = "request_id" in method.input_type.fields_by_name
                assert reads or keyed or method.name in harmless, method.full_name
                if method.server_streaming:
                    streams.add((service.full_name, method.name))
    # Ten seconds are enough for any answer, but not for a stream.
    assert without_deadline == streams
