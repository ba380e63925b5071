"""`python -m services.node_service` as a process: it serves, it drains, and after kill -9 nothing answered is lost."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.local import processes
from protos.node.v1 import node_pb2
from shared.errors import Brain2Error, Cancelled, Unavailable
from shared.grpc.client import Channels
from tests.support.node_listener import listening
from tests.support.stores import Stores
from tests.support.waiting import until

NODE = node_pb2.DESCRIPTOR.services_by_name["NodeService"]


class Process:
    """The service as its own process on a port of its own."""

    def __init__(self, child: processes.Child, target: str, lines: list[str]) -> None:
        self.child = child
        self.target = target
        self.lines = lines


@asynccontextmanager
async def process(stores: Stores) -> AsyncIterator[Process]:
    [port] = processes.free_ports(1)
    lines: list[str] = []
    environment = stores.environment("node") | {"BRAIN2_LISTEN": f"127.0.0.1:{port}", "PATH": os.defpath}
    for peer in ("BRAIN2_GRAPH_TARGET", "BRAIN2_SIMILARITY_TARGET"):
        environment.pop(peer, None)
    child = await processes.start(
        "node",
        [sys.executable, "-m", "services.node_service"],
        env=environment,
        on_line=lambda _, line: lines.append(line),
    )
    try:
        await until(lambda: child.ended.done() or not processes.is_free(port), what="the service")
        assert not child.ended.done(), lines
        yield Process(child, f"127.0.0.1:{port}", lines)
    finally:
        await child.stop(10.0)


async def test_sigterm_ends_it_in_order(stores: Stores, user: str) -> None:
    async with listening(stores, user) as listener, process(stores) as running, Channels(attempts=1) as channels:
        stub = channels.stub(running.target, NODE)
        calls = [
            asyncio.create_task(
                stub.CreateNode(
                    node_pb2.CreateNodeRequest(user_id=user, node=node_pb2.NewNode(node_id=f"n{at}", title="T"))
                )
            )
            for at in range(50)
        ]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        os.kill(running.child.pid, signal.SIGTERM)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert await running.child.ended == 0, running.lines
        # Calls that gRPC had not handed to the service yet are refused. The others are answered, and their events are
        # published before the end.
        turned_away = [answer for answer in answers if isinstance(answer, BaseException)]
        assert {type(error) for error in turned_away} <= {Cancelled, Unavailable}
        answered = {answer.node.node_id for answer in answers if not isinstance(answer, BaseException)}
        assert answered
        await listener.wait_for(len(answered))
        assert {event.node_id for event in listener.received} == answered


async def test_kill_9_loses_nothing_that_was_answered(stores: Stores, user: str) -> None:
    async with listening(stores, user) as listener, Channels(attempts=1) as channels:
        answered: list[str] = []
        async with process(stores) as running:
            stub = channels.stub(running.target, NODE)

            async def create(at: int) -> None:
                request = node_pb2.CreateNodeRequest(
                    user_id=user, node=node_pb2.NewNode(node_id=f"n{at}", title=f"t{at}")
                )
                try:
                    answered.append((await stub.CreateNode(request)).node.node_id)
                except Brain2Error:
                    return

            calls = [asyncio.create_task(create(at)) for at in range(150)]
            await until(lambda: len(answered) >= 40, what="the 40th answer")
            os.kill(running.child.pid, signal.SIGKILL)
            await asyncio.gather(*calls)
        assert len(answered) >= 40
        async with process(stores) as running:
            stub = channels.stub(running.target, NODE)
            read = await stub.BatchGetNodes(node_pb2.BatchGetNodesRequest(user_id=user, node_ids=answered))
            assert list(read.missing_ids) == []
            everything = await stub.ListNodes(node_pb2.ListNodesRequest(user_id=user, page_size=200))
            stored = {node.node_id for node in everything.nodes}
            assert stored >= set(answered)
            # The sweeper of the next process publishes the events of all committed writes, also of unanswered ones.
            await until(
                lambda: {event.node_id for event in listener.received} == stored,
                seconds=60,
                what="an event for each note",
            )
