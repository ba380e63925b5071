"""The graph view in a real browser, on a running stack through the console: what is drawn is what the API answers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from deploy.local import targets
from deploy.local.stack import Stack
from protos.graph.v1 import graph_pb2, graph_pb2_grpc
from protos.node.v1 import node_pb2, node_pb2_grpc
from tests.support.browser import MISSING, drive, start
from tests.support.client import Client
from tests.support.console import Console
from tests.support.stores import fresh_user
from tests.support.waiting import until, within

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

# They share no words, so that no automatic link stands beside those that a test makes.
NOTES = {
    "tea": ("Green tea", "Steep the leaves for two minutes"),
    "pot": ("Clay vessel", "Fired at Tokoname since centuries"),
    "uji": ("Uji", "A town near Kyoto with an old bridge"),
    "cat": ("Tabby cat", "She sleeps upon our warm roof"),
}


class Person:
    """A user, the page of the user, and the services."""

    def __init__(self, console: Console, user_id: str, node: Any, graph: Any) -> None:
        self.user_id = user_id
        self.url = f"{console.url}/#{self.user_id}"
        self.node = node
        self.graph = graph

    async def link(self, source_id: str, target_id: str, *, automatic: bool = True) -> None:
        metadata = graph_pb2.EdgeMetadata(auto_generated=automatic, score=0.5)
        edge = graph_pb2.NewEdge(
            source_id=source_id, target_id=target_id, type="see_also", weight=0.5, metadata=metadata
        )
        await self.graph.CreateEdge(graph_pb2.CreateEdgeRequest(user_id=self.user_id, edge=edge))

    async def edges(self) -> set[str]:
        request = graph_pb2.ListEdgesRequest(user_id=self.user_id)
        return {
            f"{edge.source_id}\n{edge.target_id}\n{edge.type}"
            async for part in self.graph.ListEdges(request)
            for edge in part.edges
        }


@pytest.fixture
async def person(stack: Stack, console: Console) -> AsyncIterator[Person]:
    """A user with four notes and two edges."""
    channels = {name: grpc.aio.insecure_channel(stack.addresses[name]) for name in ("node", "graph")}
    try:
        node, graph = (
            node_pb2_grpc.NodeServiceStub(channels["node"]),
            graph_pb2_grpc.GraphServiceStub(channels["graph"]),
        )
        found = Person(console, fresh_user(), node, graph)
        for node_id, (title, content) in NOTES.items():
            note = node_pb2.NewNode(node_id=node_id, title=title, content=content, tags=["drink/tea"])
            await found.node.CreateNode(node_pb2.CreateNodeRequest(user_id=found.user_id, node=note))
        await found.link("tea", "cat")
        await found.link("tea", "uji")
        yield found
    finally:
        for channel in channels.values():
            await channel.close()


async def test_what_is_drawn_is_what_list_edges_answers(person: Person) -> None:
    drawn = await _drawn_at_rest(person)
    assert drawn["errors"] == []
    assert set(drawn["nodes"]) == set(NOTES)
    assert set(drawn["edges"]) >= {"cat\ntea\nsee_also", "tea\nuji\nsee_also"}


async def test_a_library_of_real_notes_is_drawn_whole(stack: Stack, console: Console, library: Client) -> None:
    drawn = await _drawn_at_rest(Person(console, library.user, library.node, library.graph))
    assert drawn["errors"] == []
    async with targets.client(stack.addresses, library.user) as brain:
        nodes = {note.node_id async for note in brain.notes.list(page_size=200)}
    assert set(drawn["nodes"]) == nodes
    assert len(nodes) > 300
    assert len(drawn["edges"]) > 300


async def _drawn_at_rest(person: Person) -> dict[str, Any]:
    """What the page draws, when ListEdges answered the same before and after: then it is exactly that."""

    async def compared() -> dict[str, Any] | None:
        before = await person.edges()
        drawn = await drive(person.url, "drawn")
        if before != await person.edges():
            return None
        assert len(drawn["edges"]) == len(set(drawn["edges"]))
        assert set(drawn["edges"]) == before
        return drawn

    found: dict[str, Any] | None = await until(compared, seconds=60, what="no change of the edges while they are drawn")
    assert found is not None
    return found


async def test_a_visit_by_keyboard(person: Person) -> None:
    found = await drive(person.url, "visit", "Green tea")
    assert found["errors"] == []
    assert found["stable"], "a reload draws every note where it was"
    assert (found["title"], found["text"]) == NOTES["tea"]
    assert {"Tabby cat", "Uji"} <= set(found["neighbours"])
    assert {"tea", "cat", "uji"} <= set(found["local"])
    assert found["closed"]


async def test_a_movement_on_a_slow_machine_draws_less_and_a_rest_draws_everything(person: Person) -> None:
    found = await drive(person.url, "move")
    assert found == {"errors": [], "reduced": True, "whole": True}


async def test_a_person_rejects_confirms_and_makes_links(person: Person) -> None:
    action = {"from": "tea", "reject": "Tabby cat", "confirm": "Uji", "link": "Clay vessel"}
    drawn = await drive(person.url, "act", json.dumps(action))
    assert drawn["errors"] == []
    edges = await person.edges()
    assert "cat\ntea\nsee_also" not in edges
    assert "tea\npot\nlinks_to" in edges
    assert set(drawn["edges"]) & {"cat\ntea\nsee_also", "tea\npot\nlinks_to"} == {"tea\npot\nlinks_to"}
    key = graph_pb2.GetEdgeRequest(user_id=person.user_id, source_id="tea", target_id="uji", type="see_also")
    assert (await person.graph.GetEdge(key)).edge.metadata.confirmed


async def test_an_edge_that_somebody_else_makes_appears(person: Person) -> None:
    process = await start(person.url, "live", "cat\nuji\nsee_also")
    assert process.stderr is not None
    async with within(60):
        while b"ready" not in await process.stderr.readline():
            pass
        await person.link("cat", "uji")
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert json.loads(out) == {"errors": [], "seen": True}
