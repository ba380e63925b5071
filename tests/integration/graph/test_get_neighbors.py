"""Lists of neighbours through the real API: order, filters, pages, batches, titles, tokens, hidden notes."""

import functools
from collections.abc import Sequence
from typing import Any

import pytest

from protos.graph.v1 import graph_pb2
from shared.errors import FailedPrecondition, InvalidArgument
from shared.ids import SystemClock
from tests.support.graph_nodes import FakeNodes
from tests.support.graph_service import GraphService
from tests.support.waiting import until

WEIGHTS = (0.3, 0.9, 0.5, 0.9, 0.1)


async def star(graph: GraphService, user: str, weights: Sequence[float] = WEIGHTS) -> None:
    edges = [graph_pb2.NewEdge(source_id="hub", target_id=f"n{i}", weight=w) for i, w in enumerate(weights)]
    await graph.batch(user, edges)


async def walk(graph: GraphService, user: str, note: str, **fields: Any) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    token = ""
    while True:
        page = await graph.page(user, note, page_token=token, **fields)
        ids += [n.node_id for n in page.neighbors]
        token = page.next_page_token
        if not token:
            return ids


async def test_heaviest_first_ties_by_id(graph: GraphService, user: str) -> None:
    await star(graph, user)
    assert await graph.neighbors(user, "hub") == ["n1", "n3", "n2", "n0", "n4"]
    assert await walk(graph, user, "hub", page_size=2) == ["n1", "n3", "n2", "n0", "n4"]


async def test_newest_first(graph: GraphService, user: str) -> None:
    for note in ("x", "y", "z"):
        made = (await graph.create(user, "hub", note)).edge.create_time
        # The next one must be a millisecond younger at least.
        await until(functools.partial(is_past, made.ToMilliseconds()))
    time = graph_pb2.NEIGHBOR_ORDER_TIME
    assert await graph.neighbors(user, "hub", order=time) == ["z", "y", "x"]
    assert await walk(graph, user, "hub", order=time, page_size=1) == ["z", "y", "x"]


def is_past(ms: int) -> bool:
    return SystemClock().now_ms() > ms


async def test_min_weight_leaves_the_degree_alone(graph: GraphService, user: str) -> None:
    await star(graph, user)
    page = await graph.page(user, "hub", min_weight=0.5)
    assert [n.node_id for n in page.neighbors] == ["n1", "n3", "n2"]
    assert page.total_degree == 5


async def test_pages_stay_stable_under_writes(graph: GraphService, user: str) -> None:
    await star(graph, user)
    first = await graph.page(user, "hub", page_size=2)
    assert [n.node_id for n in first.neighbors] == ["n1", "n3"]
    await graph.delete(user, "hub", "n3")
    await graph.create(user, "hub", "heavier", weight=1.0)
    second = await graph.page(user, "hub", page_size=2, page_token=first.next_page_token)
    assert [n.node_id for n in second.neighbors] == ["n2", "n0"], "nothing twice, nothing skipped"


async def test_a_page_token_of_another_request_is_refused(graph: GraphService, user: str) -> None:
    await star(graph, user)
    token = (await graph.page(user, "hub", page_size=2)).next_page_token
    for fields in ({"min_weight": 0.2}, {"order": graph_pb2.NEIGHBOR_ORDER_TIME}, {"types": ["cites"]}):
        with pytest.raises(InvalidArgument):
            await graph.page(user, "hub", page_token=token, **fields)
    with pytest.raises(InvalidArgument):
        await graph.page(user, "hub", page_token="garbage")
    with pytest.raises(InvalidArgument):
        await graph.page(user, "hub", page_size=-1)
    with pytest.raises(InvalidArgument):
        await graph.page(user, "hub", consistency_token="garbage")


async def test_a_write_is_seen_on_another_replica_with_its_token(
    graph: GraphService, replica: GraphService, user: str
) -> None:
    for i in range(20):
        await replica.page(user, "a")  # in its memory, before the write
        token = (await graph.create(user, "a", f"n{i}")).consistency_token
        page = await replica.page(user, "a", consistency_token=token)
        assert page.total_degree == i + 1
        token = (await graph.delete(user, "a", f"n{i}")).consistency_token
        page = await replica.page(user, "a", consistency_token=token)
        assert page.total_degree == i
        await graph.create(user, "a", f"n{i}")


async def test_a_write_is_soon_seen_on_another_replica_without_a_token(
    graph: GraphService, replica: GraphService, user: str
) -> None:
    assert await replica.neighbors(user, "a") == []
    await graph.create(user, "a", "b")

    async def seen() -> bool:
        return await replica.neighbors(user, "a") == ["b"]

    await until(seen, seconds=1)


async def test_titles_come_in_one_call(graph: GraphService, nodes: FakeNodes, user: str) -> None:
    await star(graph, user)
    nodes.titles[user, "n1"] = "The first"
    before = len(nodes.calls)
    page = await graph.page(user, "hub", with_titles=True)
    assert [n.title for n in page.neighbors][:2] == ["Title of n1", "Title of n3"], "remembered since the edges' making"
    assert len(nodes.calls) <= before + 1
    assert [n.title for n in (await graph.page(user, "hub")).neighbors] == [""] * 5


async def test_an_announced_deletion_hides_a_note_until_it_is_withdrawn(
    graph: GraphService, replica: GraphService, user: str
) -> None:
    await star(graph, user)
    for service in (graph, replica):
        assert (await service.page(user, "hub")).total_degree == 5

    async def hidden(expected: bool) -> None:
        for service in (graph, replica):

            async def as_expected(service: GraphService = service) -> bool:
                return ("n1" not in await service.neighbors(user, "hub")) is expected

            if service is graph:
                assert await as_expected()
            await until(as_expected, what="the invalidation")

    assert await graph.announce(user, "n1", 2, "first")
    await hidden(True)
    assert not await graph.announce(user, "n1", 2, "first", withdraw=True)
    await hidden(False)
    assert await graph.announce(user, "n1", 2, "second")
    assert await graph.hide(user, "n1", 2)
    assert not await graph.announce(user, "n1", 2, "second", withdraw=True)
    await hidden(True)


async def test_hidden_notes_vanish_at_once_and_come_back(graph: GraphService, replica: GraphService, user: str) -> None:
    await star(graph, user)
    for service in (graph, replica):
        assert (await service.page(user, "hub")).total_degree == 5
    assert await graph.hide(user, "n1", 2)
    page = await graph.page(user, "hub")
    assert [n.node_id for n in page.neighbors] == ["n3", "n2", "n0", "n4"]
    assert page.total_degree == 4
    assert await graph.neighbors(user, "n1") == []

    async def gone() -> bool:
        return "n1" not in await replica.neighbors(user, "hub")

    await until(gone, seconds=1)
    assert await replica.show(user, "n1", 3)
    assert await replica.neighbors(user, "hub") == ["n1", "n3", "n2", "n0", "n4"]

    async def back() -> bool:
        return "n1" in await graph.neighbors(user, "hub")

    await until(back, seconds=1)


async def test_older_news_of_a_note_change_nothing(graph: GraphService, user: str) -> None:
    await star(graph, user)
    assert await graph.hide(user, "n1", 4)
    assert not await graph.show(user, "n1", 3)
    assert not await graph.hide(user, "n1", 4)
    assert "n1" not in await graph.neighbors(user, "hub")
    assert await graph.show(user, "n1", 5)
    assert not await graph.hide(user, "n1", 4)
    assert "n1" in await graph.neighbors(user, "hub")


async def test_older_news_of_a_note_change_nothing_also_if_its_owners_cache_is_as_old(
    graph: GraphService, nodes: FakeNodes, user: str
) -> None:
    await star(graph, user)
    now = SystemClock().now_ms()
    nodes.has(user, "n1", 3, hidden=False, incarnation=now)
    nodes.cached[user, "n1"] = nodes.known[user, "n1"]
    nodes.has(user, "n1", 4, hidden=True, incarnation=now)
    assert await graph.claim(user, "n1", 4, False, now)
    assert not await graph.claim(user, "n1", 3, True, now)
    assert "n1" not in await graph.neighbors(user, "hub")
    # So many versions of a young note are checked against its owner.
    nodes.has(user, "n2", 999, hidden=False, incarnation=now)
    nodes.cached[user, "n2"] = nodes.known[user, "n2"]
    nodes.has(user, "n2", 1_000, hidden=True, incarnation=now)
    assert await graph.claim(user, "n2", 1_000, False, now)
    assert "n2" not in await graph.neighbors(user, "hub")


@pytest.mark.parametrize("visible", [False, True])
async def test_a_state_that_the_note_never_had_is_refused(
    graph: GraphService, nodes: FakeNodes, user: str, visible: bool
) -> None:
    await star(graph, user)
    # At version 2 the note is what the call does not say; it never had the others.
    now = SystemClock().now_ms()
    nodes.has(user, "n1", 2, hidden=visible, incarnation=now)
    unknown = [(2, 0), (3, 0), (1_000, 0), (10**15, 0), (1_000, now), (10**15, now), (1, 9_999_999_999_999)]
    for version, incarnation in unknown:
        with pytest.raises(FailedPrecondition) as caught:
            await graph.claim(user, "n1", version, visible, incarnation)
        assert caught.value.reason == "VERSION_UNKNOWN"
    with pytest.raises(FailedPrecondition):
        await graph.claim(user, "n2", 1, False)  # of a note that the owner does not know
    assert len(await graph.neighbors(user, "hub")) == len(WEIGHTS)
    # Nothing is left of them: the next state of the note counts, also by a likely version, which needs no question.
    assert await graph.hide(user, "n1", 3)
    assert "n1" not in await graph.neighbors(user, "hub")
    del nodes.known[user, "n1"]
    assert await graph.claim(user, "n1", 4, True, now)
    assert "n1" in await graph.neighbors(user, "hub")


async def test_an_earlier_state_of_the_note_has_no_effect(graph: GraphService, nodes: FakeNodes, user: str) -> None:
    await star(graph, user)
    now = SystemClock().now_ms()
    nodes.has(user, "n1", 3, hidden=False, incarnation=now)
    for version, incarnation in ((2, 0), (1, 0), (10**15, now - 1)):
        assert not await graph.claim(user, "n1", version, False, incarnation)
    assert "n1" in await graph.neighbors(user, "hub")


async def test_a_batch_answers_in_order_and_repeats_once(graph: GraphService, user: str) -> None:
    await star(graph, user)
    request = graph_pb2.BatchGetNeighborsRequest(user_id=user, node_ids=["n1", "nobody", "hub", "n1"], limit=2)
    for _ in range(2):  # from the stores, then from memory
        answer = await graph.stub.BatchGetNeighbors(request)
        assert [r.node_id for r in answer.results] == ["n1", "nobody", "hub"]
        assert [[n.node_id for n in r.neighbors] for r in answer.results] == [["hub"], [], ["n1", "n3"]]
        assert [r.total_degree for r in answer.results] == [1, 0, 5]
    await graph.hide(user, "n3", 2)
    answer = await graph.stub.BatchGetNeighbors(request)
    assert [n.node_id for n in answer.results[2].neighbors] == ["n1", "n2"]
    assert answer.results[2].total_degree == 4


async def test_a_batch_of_hundreds(graph: GraphService, user: str) -> None:
    await graph.batch(user, [graph_pb2.NewEdge(source_id=f"a{i}", target_id=f"b{i}") for i in range(300)])
    ids = [f"a{i}" for i in range(300)] + [f"b{i}" for i in range(300)]
    answer = await graph.stub.BatchGetNeighbors(
        graph_pb2.BatchGetNeighborsRequest(user_id=user, node_ids=ids), timeout=60
    )
    assert [r.neighbors[0].node_id for r in answer.results] == ids[300:] + ids[:300]
    for wrong in ([], ["a"] * 1001, ["a#"]):
        with pytest.raises(InvalidArgument):
            await graph.stub.BatchGetNeighbors(graph_pb2.BatchGetNeighborsRequest(user_id=user, node_ids=wrong))


async def test_the_lists_of_notes_that_lie_close_together(graph: GraphService, user: str) -> None:
    ids = [f"n{number:02}" for number in range(20)]
    for one, other in (("n03", "n07"), ("n07", "n19"), ("n00", "z"), ("n03.1", "n03")):
        await graph.create(user, one, other)
    await graph.create(user, "n04", "n05", type="cites")
    answer = await graph.stub.BatchGetNeighbors(graph_pb2.BatchGetNeighborsRequest(user_id=user, node_ids=ids))
    found = {result.node_id: sorted(each.node_id for each in result.neighbors) for result in answer.results}
    expected = {"n00": ["z"], "n03": ["n03.1", "n07"], "n04": ["n05"], "n05": ["n04"], "n07": ["n03", "n19"]}
    assert found == {node_id: [] for node_id in ids} | expected | {"n19": ["n07"]}
