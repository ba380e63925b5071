"""Stopping and starting the whole stack, by signal and by kill -9: what was acknowledged is there afterwards."""

import asyncio
import itertools
import os
import random
import signal
from pathlib import Path

import pytest

from deploy.local.stack import SERVICES
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2
from shared.errors import Brain2Error
from shared.grpc.client import Channels
from tests.support.client import Client
from tests.support.stack import whole_stack
from tests.support.stores import fresh_user
from tests.support.waiting import until, until_stable

# Two stacks are started and stopped, and what a killed service held waits until SQS shows it again.
pytestmark = pytest.mark.timeout(400)
# Notes of one subject share words that no other subject has: each finds its like.
_SUBJECTS = {
    "tea": ["leaves", "brew", "kettle", "steep", "oolong", "aroma", "cup", "infusion", "harvest", "terrace"],
    "sailing": ["mast", "keel", "rudder", "harbour", "tide", "anchor", "windward", "spinnaker", "hull", "halyard"],
    "bees": ["hive", "honey", "nectar", "swarm", "drone", "pollen", "comb", "queen", "foraging", "brood"],
    "glaciers": ["ice", "moraine", "crevasse", "meltwater", "firn", "valley", "erosion", "snowline", "calving"],
}


def draft(number: int) -> node_pb2.NewNode:
    subject, words = list(_SUBJECTS.items())[number % len(_SUBJECTS)]
    chosen = random.Random(number).sample(words, 7)
    # The text mentions the title of a much earlier note, so that every note has a reason for a link.
    text = f"About {subject}: {' '.join(chosen)}. It follows {title(number // 2)}."
    return node_pb2.NewNode(node_id=f"n{number:05d}", title=title(number), content=text)


def title(number: int) -> str:
    """A title that no other note has: a subject and a made-up word."""
    subject = list(_SUBJECTS)[number % len(_SUBJECTS)]
    return f"{subject} x{str(number).translate(str.maketrans('0123456789', 'bcdfghjklm'))}"


async def create(client: Client, number: int) -> str:
    request = node_pb2.CreateNodeRequest(user_id=client.user, node=draft(number), request_id=f"r{number:05d}")
    await client.node.CreateNode(request, timeout=2.0)
    return f"n{number:05d}"


async def is_indexed(client: Client, node_id: str) -> bool:
    request = similarity_pb2.ExtractKeywordsRequest(user_id=client.user, node_id=node_id, limit=1)
    try:
        return bool((await client.similarity.ExtractKeywords(request)).keywords)
    except Brain2Error:
        return False


async def all_of(client: Client, node_ids: list[str]) -> dict[str, node_pb2.Node]:
    request = node_pb2.BatchGetNodesRequest(user_id=client.user, node_ids=node_ids)
    return {node.node_id: node for node in (await client.node.BatchGetNodes(request)).nodes}


async def test_a_stopped_stack_finds_every_note_and_edge_again(tmp_path: Path) -> None:
    user = fresh_user()
    async with whole_stack(tmp_path) as (stack, _), Channels() as channels:
        client = Client(channels, stack.addresses, user)
        ids = await asyncio.gather(*(create(client, number) for number in range(40)))
        own = graph_pb2.NewEdge(source_id=ids[0], target_id=ids[1], type="by_hand", weight=0.75)
        await client.graph.CreateEdge(graph_pb2.CreateEdgeRequest(user_id=user, edge=own))

        async def all_indexed() -> bool:
            return all(await asyncio.gather(*(is_indexed(client, node_id) for node_id in ids)))

        await until(all_indexed, what="every note being indexed")
        links = await until_stable(lambda: client.links(ids), quiet=3.0, seconds=60.0)
        notes = await all_of(client, ids)
        hits = (await client.search("honey", limit=100)).total
    assert len(links) > 20
    assert hits > 0
    async with whole_stack(tmp_path) as (stack, _), Channels() as channels:
        client = Client(channels, stack.addresses, user)
        assert await all_of(client, ids) == notes
        assert await client.links(ids) == links
        assert (await client.search("honey", limit=100)).total == hits
        assert (await client.edge(ids[0], ids[1], "by_hand")).weight == 0.75
        # And it goes on: a new note finds the old ones.
        new = await create(client, 40)
        await until(lambda: client.neighbor_ids(new), what="a link to a note from before the restart")


async def test_kill_9_of_all_services_under_load_loses_no_acknowledged_write(tmp_path: Path) -> None:
    user = fresh_user()
    acknowledged: list[str] = []
    stopped = asyncio.Event()
    numbers = itertools.count()
    async with whole_stack(tmp_path) as (stack, _):

        async def write(client: Client) -> None:
            while not stopped.is_set():
                try:
                    acknowledged.append(await create(client, next(numbers)))
                except Brain2Error:
                    return  # not acknowledged: it may be there or not

        async with Channels(attempts=1) as channels, asyncio.TaskGroup() as writers:
            client = Client(channels, stack.addresses, user)
            for _ in range(8):
                writers.create_task(write(client))
            # Under load, with events at every stage of their way.
            await until(lambda: len(acknowledged) >= 150, what="150 acknowledged notes")
            victims = [stack.children[name] for name in SERVICES]
            for child in victims:
                os.kill(child.pid, signal.SIGKILL)
            stopped.set()
        await asyncio.gather(*(child.ended for child in victims))
        killed_at = list(acknowledged)
        assert len(killed_at) >= 150
        await asyncio.gather(*(stack.restart(name) for name in SERVICES))

        async with Channels() as channels:
            client = Client(channels, stack.addresses, user)
            notes = await all_of(client, killed_at)
            assert sorted(notes) == sorted(killed_at)
            for node_id in killed_at:
                assert notes[node_id].content == draft(int(node_id[1:])).content

            async def all_indexed() -> bool:
                return all(await asyncio.gather(*(is_indexed(client, node_id) for node_id in killed_at)))

            await until(all_indexed, seconds=60.0, what="every acknowledged note being indexed")

            async def all_linked() -> bool:
                ends = {end for link in await client.links(killed_at) for end in link}
                return set(killed_at) <= ends

            await until(all_linked, seconds=60.0, what="every acknowledged note having a link")
