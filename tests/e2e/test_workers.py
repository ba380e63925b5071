"""Two workers a service: what one writes the other shows, and links are made while one worker of each is killed."""

import os
import signal
from pathlib import Path

import pytest

from deploy.local.console import Console
from deploy.local.stack import SERVICES, Stack, running
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from shared.grpc.client import Channels
from tests.support.client import Client
from tests.support.scrape import parse, scrape
from tests.support.stack import stack_options
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(300)
_NOTES = {
    "tea": "Green tea from Uji, steeped in a clay teapot",
    "pot": "A clay teapot keeps green tea warm; made in Tokoname",
    "cup": "Drink green tea from a cup of clay, beside the clay teapot",
}


async def test_notes_are_linked_and_stay_linked_while_workers_are_killed(tmp_path: Path) -> None:
    options = stack_options(tmp_path, workers=2)
    async with running(options, Console(quiet=True)) as stack, Channels(patience=30, timeout=30) as channels:
        ada = Client(channels, stack.addresses, "ada")
        await until(lambda: _serving(stack, 2), seconds=60, what="two workers of each service")
        for name in ("tea", "pot"):
            await _create(ada, name)
        await until(lambda: _linked(ada, "tea"), seconds=60, what="a link")
        for service in SERVICES:
            os.kill(_workers(stack, service)[0], signal.SIGKILL)
        await _create(ada, "cup")
        await until(lambda: _linked(ada, "cup"), seconds=90, what="a link of a note that came afterwards")
        # Every connection, to whichever worker, shows the same.
        for _ in range(6):
            async with Channels(timeout=30) as fresh:
                assert await _linked(Client(fresh, stack.addresses, "ada"), "tea") >= 1
        await until(lambda: _serving(stack, 2), seconds=60, what="two workers of each service again")


async def _create(ada: Client, name: str) -> None:
    node = node_pb2.NewNode(node_id=name, title=name.title(), content=_NOTES[name])
    await ada.node.CreateNode(node_pb2.CreateNodeRequest(user_id="ada", node=node, request_id=f"create-{name}"))


async def _linked(ada: Client, name: str) -> int:
    """How many neighbours the note has."""
    ask = graph_pb2.GetNeighborsRequest(user_id="ada", node_id=name)
    return int((await ada.graph.GetNeighbors(ask)).total_degree)


async def _serving(stack: Stack, count: int) -> bool:
    found = [parse(await scrape(stack.metrics[name]))["brain2_workers"].value() for name in SERVICES]
    return found == [count] * len(SERVICES)


def _workers(stack: Stack, name: str) -> list[int]:
    pid = stack.children[name].pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
