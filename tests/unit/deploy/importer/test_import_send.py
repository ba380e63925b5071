"""Sending an import: batches, what becomes of each note, and that every note is accounted for when things fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from clients.python.brain2 import Brain2, Brain2Error, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from clients.python.brain2._calls import Calls, Channels
from deploy.local.importer.items import Item, Link, Note, Owned, Problem, Rejection, Settings
from deploy.local.importer.send import GaveUpError, Importer
from protos.graph.v1 import graph_pb2
from protos.node.v1 import node_pb2
from protos.similarity.v1 import similarity_pb2


class Items:
    """A source of given items."""

    name = "items"

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self.total = len(items)
        self.done = 0

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            self.done += 1
            yield item


class World:
    """The three services in memory. failing: errors for the next calls, in order; busy: codes for the next results."""

    def __init__(self) -> None:
        self.nodes: dict[str, node_pb2.NewNode] = {}
        self.deleted: set[str] = set()
        self.edges: dict[tuple[str, str], graph_pb2.NewEdge] = {}
        self.rejected: list[tuple[str, str, str]] = []
        self.failing: list[Brain2Error] = []
        self.busy: list[int] = []
        self.batches: list[int] = []
        self.flying = self.most = 0
        self.unindexed = 0
        # (notes stored by then, request)
        self.settings: list[tuple[int, Any]] = []

    async def BatchCreateNodes(self, request: node_pb2.BatchCreateNodesRequest, **_: Any) -> Any:
        self.flying += 1
        self.most = max(self.most, self.flying)
        await asyncio.sleep(0)
        self.flying -= 1
        self._fail()
        self.batches.append(len(request.nodes))
        answer = node_pb2.BatchCreateNodesResponse()
        for node in request.nodes:
            if self.busy and (code := self.busy.pop()):
                answer.results.add(code=code, reason="BUSY")
            elif node.node_id in self.nodes:
                answer.results.add(code=6, reason="NODE_EXISTS")
            elif node.title == "bad":
                answer.results.add(code=3, reason="INVALID_ARGUMENT", message="bad title")
            else:
                self.nodes[node.node_id] = node
                answer.results.add(node=node_pb2.Node(node_id=node.node_id))
        return answer

    async def BatchGetNodes(self, request: node_pb2.BatchGetNodesRequest, **_: Any) -> Any:
        live = [id_ for id_ in request.node_ids if id_ in self.nodes and id_ not in self.deleted]
        return node_pb2.BatchGetNodesResponse(
            nodes=[
                node_pb2.Node(
                    node_id=i, title=self.nodes[i].title, tags=self.nodes[i].tags, metadata=self.nodes[i].metadata
                )
                for i in live
            ]
        )

    async def UpdateNode(self, request: node_pb2.UpdateNodeRequest, **_: Any) -> Any:
        self.nodes[request.node_id] = request.node
        return node_pb2.UpdateNodeResponse()

    async def DeleteNode(self, request: node_pb2.DeleteNodeRequest, **_: Any) -> Any:
        self.deleted.add(request.node_id)
        return node_pb2.DeleteNodeResponse()

    async def BatchCreateEdges(self, request: graph_pb2.BatchCreateEdgesRequest, **_: Any) -> Any:
        self._fail()
        answer = graph_pb2.BatchCreateEdgesResponse()
        for edge in request.edges:
            ends = edge.source_id, edge.target_id
            if not {*ends} <= {*self.nodes} - self.deleted:
                answer.results.add(code=9, reason="NODE_MISSING", message="no such end")
            else:
                answer.results.add(created=ends not in self.edges, edge={"weight": edge.weight or 1.0})
                self.edges[ends] = edge
        return answer

    async def UpdateEdge(self, request: graph_pb2.UpdateEdgeRequest, **_: Any) -> Any:
        assert list(request.update_mask.paths) == ["weight"]
        self.edges[request.source_id, request.target_id].weight = request.weight
        return graph_pb2.UpdateEdgeResponse()

    async def GetEdge(self, request: graph_pb2.GetEdgeRequest, **_: Any) -> Any:
        edge = self.edges.get((request.source_id, request.target_id))
        if edge is None:
            raise NotFound("no such edge")
        return graph_pb2.GetEdgeResponse(edge=graph_pb2.Edge(metadata=edge.metadata))

    async def SuppressEdge(self, request: graph_pb2.SuppressEdgeRequest, **_: Any) -> Any:
        self._fail()
        self.edges.pop((request.source_id, request.target_id), None)
        self.rejected.append((request.source_id, request.target_id, request.type))
        return graph_pb2.SuppressEdgeResponse()

    async def ListEdges(self, request: graph_pb2.ListEdgesRequest, **_: Any) -> AsyncIterator[Any]:
        for edge in list(self.edges.values()):
            stored = graph_pb2.Edge(
                source_id=edge.source_id,
                target_id=edge.target_id,
                type=edge.type,
                directed=edge.directed,
                metadata=edge.metadata,
            )
            yield graph_pb2.ListEdgesResponse(edges=[stored])

    async def DeleteEdge(self, request: graph_pb2.DeleteEdgeRequest, **_: Any) -> Any:
        deleted = self.edges.pop((request.source_id, request.target_id), None)
        return graph_pb2.DeleteEdgeResponse(deleted=deleted is not None)

    async def ExtractKeywords(self, request: similarity_pb2.ExtractKeywordsRequest, **_: Any) -> Any:
        if self.unindexed:
            self.unindexed -= 1
            raise NotFound("not indexed")
        return similarity_pb2.ExtractKeywordsResponse()

    async def UpdateUserSettings(self, request: Any, **_: Any) -> Any:
        self.settings.append((len(self.nodes), request))
        return node_pb2.UpdateUserSettingsResponse()

    def _fail(self) -> None:
        if self.failing:
            raise self.failing.pop(0)


class WorldCalls(Calls):
    """The calls of a client that a World answers. request_ids: of all calls that can have one, in order."""

    def __init__(self, world: World) -> None:
        super().__init__(Channels({}, None), "ada", None, 10.0)
        self._world = world
        self.request_ids: list[str] = []

    async def unary(
        self, context: str, path: str, request: Any, response: Any, timeout: float | None, request_id: str = ""
    ) -> Any:
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            self.request_ids.append(request_id)
        answer = await getattr(self._world, path.rpartition("/")[2])(_of_the_service(request))
        return response.FromString(answer.SerializeToString())

    async def stream(
        self, context: str, path: str, request: Any, response: Any, *, first_within: float | None
    ) -> AsyncIterator[Any]:
        async for answer in getattr(self._world, path.rpartition("/")[2])(_of_the_service(request)):
            yield response.FromString(answer.SerializeToString())


def _of_the_service(request: Any) -> Any:
    """The request as a message of the stubs in protos; the client has its own."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName(request.DESCRIPTOR.full_name)
    return GetMessageClass(descriptor).FromString(request.SerializeToString())


class Time:
    """Sleeping is instant, and known."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)
        await asyncio.sleep(0)


def note(name: str, title: str = "", *, deleted: bool = False) -> Note:
    return Note(f"line {name}", node_pb2.NewNode(node_id=name, title=title or name), deleted)


def link(source: str, target: str, *, directed: bool = True) -> Link:
    edge = graph_pb2.NewEdge(source_id=source, target_id=target, type="links_to", directed=directed)
    return Link(f"{source}>{target}", edge)


def importer(world: World, time: Time | None = None, **options: Any) -> Importer:
    return importer_of(WorldCalls(world), time or Time(), **options)


def importer_of(calls: Calls, time: Time, **options: Any) -> Importer:
    brain = Brain2("localhost:1")
    brain._use(calls)
    return Importer(brain, sleep=time.sleep, clock=lambda: time.now, **options)


async def test_notes_are_stored_in_batches_with_a_bound_on_their_number_and_flight() -> None:
    world = World()
    run = importer(world, in_flight=3)
    await run.run(Items([note(f"n{i}") for i in range(1234)]))
    assert len(world.nodes) == run.report.created == run.report.read_notes == 1234
    assert max(world.batches) == 100
    assert 1 < world.most <= 3


async def test_a_batch_stays_below_what_a_server_takes() -> None:
    world = World()
    large = [Note("x", node_pb2.NewNode(node_id=f"n{i}", content="y" * 250_000)) for i in range(40)]
    await importer(world).run(Items(large))
    assert len(world.nodes) == 40
    assert max(world.batches) * 250_000 < 4 << 20


async def test_a_second_run_finds_everything_there() -> None:
    world = World()
    items = [note(f"n{i}") for i in range(150)] + [link("n1", "n2")]
    await importer(world).run(Items(items))
    again = importer(world)
    await again.run(Items(items))
    report = again.report
    assert (report.created, report.present, report.linked, report.linked_before) == (0, 150, 0, 1)
    assert not report.failures


@pytest.mark.parametrize("update", [False, True])
async def test_a_note_with_another_text_is_kept_unless_told(update: bool) -> None:
    world = World()
    await importer(world).run(Items([note("a", "old")]))
    run = importer(world, update=update)
    await run.run(Items([note("a", "new")]))
    assert world.nodes["a"].title == ("new" if update else "old")
    assert run.report.updated == update
    assert run.report.differing == ([] if update else [("line a", "a")])
    assert run.report.confirmed_notes == 1


async def test_another_property_is_another_note_and_one_that_somebody_added_is_not() -> None:
    world = World()
    await importer(world).run(Items([note("a"), note("b")]))
    world.nodes["b"].metadata["added"] = "by somebody"
    changed = note("a")
    changed.node.metadata["rating"] = "5"
    run = importer(world)
    await run.run(Items([changed, note("b")]))
    assert run.report.differing == [("line a", "a")]
    assert run.report.present == 1


async def test_a_deleted_note_in_the_way_is_a_failure() -> None:
    world = World()
    await importer(world).run(Items([note("a")]))
    world.deleted.add("a")
    run = importer(world)
    await run.run(Items([note("a")]))
    [(where, why)] = run.report.failures
    assert where == "line a"
    assert why.startswith("NODE_DELETED")


async def test_what_cannot_be_stored_is_reported_by_line_and_harms_no_other() -> None:
    world = World()
    run = importer(world)
    problem, remark = Problem("line 9", "not JSON"), Problem("line 10", "[[x]] leads to no note", fatal=False)
    await run.run(Items([note("a"), note("b", "bad"), problem, note("c"), remark, link("a", "b"), link("a", "c")]))
    assert set(world.nodes) == {"a", "c"}
    assert dict(run.report.failures) == {
        "line 9": "not JSON",
        "line b": "INVALID_ARGUMENT: bad title",
        "a>b": "NODE_MISSING: no such end",
    }
    assert run.report.remarks == [("line 10", "[[x]] leads to no note")]
    assert run.report.linked == 1


async def test_links_wait_for_notes_and_deletes_for_links() -> None:
    world = World()
    run = importer(world)
    await run.run(Items([link("a", "b"), note("a"), note("b", deleted=True)]))
    assert set(world.edges) == {("a", "b")}
    assert world.deleted == {"b"}
    assert run.report.stored == {"a"}


@pytest.mark.parametrize("update", [False, True])
async def test_a_link_that_a_text_no_longer_names_is_removed_by_an_update(update: bool) -> None:
    world = World()
    names: list[Item] = [note(name) for name in "abcd"]
    owned = Owned("links_to", frozenset("abc"))
    await importer(world).run(Items([*names, owned, link("a", "b"), link("b", "c", directed=False)]))
    by_hand = graph_pb2.NewEdge(source_id="a", target_id="d", type="by_hand", directed=True)
    not_ours = graph_pb2.NewEdge(source_id="d", target_id="a", type="links_to", directed=True)
    world.edges |= {("a", "d"): by_hand, ("d", "a"): not_ours}
    run = importer(world, update=update)
    await run.run(Items([*names, owned, link("a", "c"), link("c", "b")]))
    stale = set() if update else {("a", "b")}
    kept = {("a", "d"), ("d", "a"), ("a", "c"), ("c", "b")}
    assert set(world.edges) - {("b", "c")} == stale | kept
    assert (("b", "c") in world.edges) == (not update)
    assert run.report.unlinked == update
    assert not run.report.failures


async def test_an_update_leaves_links_to_the_service_that_follows_them() -> None:
    world = World()
    names: list[Item] = [note(name) for name in "abcd"]
    owned = Owned("links_to", frozenset("abc"), frozenset({frozenset("ab")}))
    await importer(world).run(Items(names))
    text = graph_pb2.EdgeMetadata(labels={"source": "text"})
    for ends in ("ab", "bc", "ad"):
        edge = graph_pb2.NewEdge(source_id=ends[0], target_id=ends[1], type="links_to", directed=True, metadata=text)
        world.edges[ends[0], ends[1]] = edge
    run = importer(world, update=True)
    await run.run(Items([*names, owned]))
    # a -> b is followed by the service alone, d is no note of this source; b -> c is no link of any text.
    assert set(world.edges) == {("a", "b"), ("a", "d")}


async def test_a_weight_of_zero_is_set_after_the_edge_is_made() -> None:
    world = World()
    weighed = [Link("line 3", graph_pb2.NewEdge(source_id="a", target_id=name), zero=name == "b") for name in "bc"]
    weighed[1].edge.weight = 0.5
    run = importer(world)
    await run.run(Items([note("a"), note("b"), note("c"), *weighed]))
    assert {ends: edge.weight for ends, edge in world.edges.items()} == {("a", "b"): 0.0, ("a", "c"): 0.5}
    assert run.report.linked == 2


async def test_rejections_are_stored_again_but_what_a_person_made_since_then_stays() -> None:
    world = World()
    automatic = link("a", "b")
    automatic.edge.metadata.auto_generated = True
    rejections = [Rejection(f"line {n}", "a", name, "related") for n, name in enumerate("bcd")]
    world.failing = [Unavailable("once")]
    run = importer(world, Time())
    await run.run(Items([*rejections, note("a"), note("b"), note("c"), note("d"), automatic, link("a", "c")]))
    assert sorted(world.rejected) == [("a", "b", "related"), ("a", "d", "related")]
    assert set(world.edges) == {("a", "c")}
    assert run.report.remarks == [("line 1", "the link is not rejected: a person has made it here")]
    assert not run.report.failures


async def test_an_update_without_a_change_keeps_all_edges() -> None:
    world = World()
    items: list[Item] = [
        note("a"),
        note("b"),
        note("c"),
        Owned("links_to", frozenset("abc")),
        link("a", "b", directed=False),
    ]
    await importer(world).run(Items([*items, link("b", "c")]))
    run = importer(world, update=True)
    await run.run(Items([*items, link("b", "c")]))
    assert (run.report.linked, run.report.linked_before, run.report.unlinked) == (0, 2, 0)


async def test_a_busy_note_is_tried_again_as_long_as_others_get_through(monkeypatch: pytest.MonkeyPatch) -> None:
    world, time = World(), Time()
    run = importer(world, time, patience=10.0)
    slow = 0

    async def one_at_a_time(request: node_pb2.BatchCreateNodesRequest, **_: Any) -> Any:
        nonlocal slow
        time.now += 5.0
        slow += 1
        answer = node_pb2.BatchCreateNodesResponse()
        for place, node in enumerate(request.nodes):
            answer.results.add(code=8 if place else 0, reason="BUSY")
            if not place:
                world.nodes[node.node_id] = node
        return answer

    monkeypatch.setattr(world, "BatchCreateNodes", one_at_a_time)
    await run.run(Items([note(f"n{i}") for i in range(40)]))
    assert slow == run.report.created == 40
    assert not run.report.failures


async def test_reading_for_long_does_not_use_up_the_patience() -> None:
    world, time = World(), Time()
    run = importer(world, time, patience=10.0)

    class Slow(Items):
        def __iter__(self) -> Iterator[Item]:
            time.now += 1000.0
            world.failing = [Unavailable("gone for a moment")]
            return super().__iter__()

    await run.run(Slow([note("a")]))
    assert run.report.created == 1


async def test_waiting_goes_on_while_notes_become_known(monkeypatch: pytest.MonkeyPatch) -> None:
    world, time = World(), Time()
    run = importer(world, time, in_flight=1)
    await run.run(Items([note(f"n{i}") for i in range(20)]))

    async def slowly(*_: Any, **__: Any) -> Any:
        time.now += 8.0
        return similarity_pb2.ExtractKeywordsResponse()

    monkeypatch.setattr(world, "ExtractKeywords", slowly)
    assert await run.wait_until_indexed(10.0, lambda *_: None) == 0
    assert time.now > 100.0


async def test_settings_hold_before_the_notes_that_follow() -> None:
    world = World()
    run = importer(world)
    known = Settings("line 1", "similarity", {"auto_link": False, "from_the_future": 1})
    await run.run(Items([known, Settings("line 2", "x", {}), Settings("line 3", "node", {"retention": []}), note("a")]))
    [(stored, request)] = world.settings
    assert stored == 0
    assert request.settings.HasField("auto_link")
    assert [where for where, _ in run.report.remarks] == ["line 2"]
    assert [where for where, _ in run.report.failures] == ["line 3"]


async def test_time_that_a_service_asks_for_is_given() -> None:
    world, time = World(), Time()
    world.failing = [ResourceExhausted("slow down", retry_after=2.0), Unavailable("gone for a moment")]
    run = importer(world, time)
    await run.run(Items([note("a")]))
    assert run.report.created == 1
    assert time.waits[0] >= 2.0


async def test_a_repetition_has_the_request_id_of_the_first_attempt() -> None:
    world = World()
    world.failing = [Unavailable("gone for a moment"), Unavailable("and again")]
    calls = WorldCalls(world)
    run = importer_of(calls, Time())
    await run.run(Items([note("a"), note("b"), link("a", "b")]))
    assert run.report.created == 2
    notes, again, third, links = calls.request_ids
    assert notes == again == third != links
    assert notes


async def test_an_automatic_link_comes_with_all_that_is_known_of_it() -> None:
    world = World()
    automatic = link("a", "b")
    meta = automatic.edge.metadata
    meta.auto_generated, meta.confirmed, meta.score, meta.method = True, True, 0.5, "lexical/2"
    meta.labels["k"] = "v"
    meta.shared_keywords.add(keyword="tea", contribution=0.25)
    automatic.edge.weight = 0.5
    await importer(world).run(Items([note("a"), note("b"), automatic]))
    assert world.edges["a", "b"] == automatic.edge


async def test_only_the_notes_that_were_busy_are_sent_again() -> None:
    world = World()
    world.busy = [8, 0, 14, 10]
    run = importer(world)
    await run.run(Items([note(f"n{i}") for i in range(4)]))
    assert world.batches == [4, 3]
    assert run.report.created == 4


async def test_a_note_that_stays_busy_is_a_failure_in_the_end() -> None:
    world = World()
    world.busy = [8] * 100
    run = importer(world)
    await run.run(Items([note("a")]))
    assert run.report.failures == [("line a", "BUSY: ")]


async def test_an_error_that_is_final_fails_the_whole_batch_by_line() -> None:
    world = World()
    world.failing = [InvalidArgument("no such user", reason="BAD_USER")]
    run = importer(world)
    await run.run(Items([note("a"), note("b")]))
    assert run.report.failures == [("line a", "BAD_USER: no such user"), ("line b", "BAD_USER: no such user")]
    assert run.report.confirmed_notes == run.report.read_notes == 2


async def test_a_service_that_stays_away_ends_the_import_and_nothing_is_called_stored() -> None:
    world, time = World(), Time()
    world.failing = [Unavailable("connection refused", reason="UNREACHABLE") for _ in range(10_000)]
    run = importer(world, time, patience=60.0)
    with pytest.raises(GaveUpError, match="UNREACHABLE: connection refused"):
        await run.run(Items([note(f"n{i}") for i in range(1000)]))
    assert 60.0 < time.now < 300.0
    assert run.report.confirmed_notes == 0
    assert run.report.read_notes > 0


async def test_a_long_import_outlives_many_short_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    world, time = World(), Time()
    run = importer(world, time, patience=60.0, in_flight=1)
    stubborn = _Faulty(world.BatchCreateNodes, every=2)
    monkeypatch.setattr(world, "BatchCreateNodes", stubborn)
    await run.run(Items([note(f"n{i}") for i in range(20_000)]))
    assert run.report.created == len(world.nodes) == 20_000
    assert sum(time.waits) > 60.0


async def test_waiting_until_everything_is_indexed() -> None:
    world, time = World(), Time()
    run = importer(world, time)
    await run.run(Items([note(f"n{i}") for i in range(20)]))
    world.unindexed = 50
    shown: list[tuple[int, int]] = []
    assert await run.wait_until_indexed(30.0, lambda known, all_: shown.append((known, all_))) == 0
    assert shown[-1] == (20, 20)
    world.unindexed = 1_000_000
    assert await run.wait_until_indexed(1.0, lambda *_: None) > 0


async def test_waiting_for_a_service_that_stays_away_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    world, time = World(), Time()
    run = importer(world, time, patience=30.0)
    await run.run(Items([note("a")]))

    async def gone(*_: Any, **__: Any) -> None:
        raise Unavailable("connection refused", reason="UNREACHABLE")

    monkeypatch.setattr(world, "ExtractKeywords", gone)
    with pytest.raises(GaveUpError, match="UNREACHABLE"):
        await run.wait_until_indexed(600.0, lambda *_: None)
    assert 30.0 < time.now < 35.0


class _Faulty:
    """Every n-th call fails and asks for a second."""

    def __init__(self, call: Callable[..., Awaitable[Any]], every: int) -> None:
        self._call, self._every, self._calls = call, every, 0

    async def __call__(self, request: Any, **options: Any) -> Any:
        self._calls += 1
        if self._calls % self._every:
            raise Unavailable("again", retry_after=1.0)
        return await self._call(request, **options)
