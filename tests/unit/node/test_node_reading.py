"""Reading one, many, and lists in pages, over a store in memory."""

import pytest

from services.node_service.model import Cascade, Draft, Node, View
from services.node_service.usecases.life import Life
from services.node_service.usecases.reading import Reading
from services.node_service.usecases.writing import Writing
from shared.errors import InvalidArgument, NotFound, ResourceExhausted
from tests.support.node_fakes import CountingIds, FakeClock, FakeRetentions, FakeStore, FakeVisibility, optimist


class World:
    """Use cases over fakes, with the notes a, b, c of "u" (created at 1, 2, 3) and d, deleted."""

    def __init__(self) -> None:
        self.store, self.clock = FakeStore(), FakeClock()
        self.reading = Reading(self.store, max_answer_bytes=1000)
        self.writing = Writing(self.store, self.clock, CountingIds(), optimist())
        self.life = Life(self.store, FakeRetentions(), FakeVisibility(), self.clock, optimist())

    async def add(self, node_id: str, create_ms: int, content: str = "C") -> None:
        await self.writing.create_node("u", Draft(node_id=node_id, content=content, create_ms=create_ms), None)

    async def listed(self, **bounds: int | None) -> list[str]:
        """All ids by pages of one."""
        ids: list[str] = []
        token = ""
        while True:
            page = await self.reading.list_nodes(
                "u", size=1, token=token, start_ms=bounds.get("start"), end_ms=bounds.get("end")
            )
            ids += [node.node_id for node in page.nodes]
            token = page.next_token
            if not token:
                return ids


@pytest.fixture
async def world() -> World:
    world = World()
    for at, node_id in enumerate("abcd", 1):
        await world.add(node_id, at)
    await world.life.delete_node("u", "d", "", Cascade.EDGES, None)
    return world


async def test_one_note(world: World) -> None:
    assert (await world.reading.get_node("u", "a", False, {})).content == "C"
    with pytest.raises(NotFound) as caught:
        await world.reading.get_node("u", "x", True, {})
    assert caught.value.reason == "NODE_NOT_FOUND"
    with pytest.raises(NotFound) as caught:
        await world.reading.get_node("other", "a", True, {})
    assert caught.value.reason == "NODE_NOT_FOUND"


async def test_a_deleted_note_is_shown_only_on_request(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        await world.reading.get_node("u", "d", False, {})
    assert caught.value.reason == "NODE_DELETED"
    assert (await world.reading.get_node("u", "d", True, {})).deleted


async def test_many_notes_in_the_order_asked_for_each_once(world: World) -> None:
    nodes, missing = await world.reading.get_nodes("u", ["c", "x", "a", "d", "c"], View.FULL, False, {})
    assert [node.node_id for node in nodes] == ["c", "a"]
    assert missing == ["x", "d"]
    nodes, missing = await world.reading.get_nodes("u", ["c", "d"], View.TITLE, True, {})
    assert ([node.node_id for node in nodes], missing) == (["c", "d"], [])


async def test_a_summary_of_many_has_no_contents(world: World) -> None:
    [node], _ = await world.reading.get_nodes("u", ["a"], View.SUMMARY, False, {})
    assert not isinstance(node, Node)


async def test_many_notes_have_limits(world: World) -> None:
    for ids in ([], ["x"] * 1001, ["ok", "#"]):
        with pytest.raises(InvalidArgument):
            await world.reading.get_nodes("u", ids, View.FULL, False, {})
    await world.add("big", 9, "y" * 600)
    await world.add("big2", 9, "y" * 600)
    with pytest.raises(ResourceExhausted) as caught:
        await world.reading.get_nodes("u", ["big", "big2"], View.FULL, False, {})
    assert caught.value.reason == "RESPONSE_TOO_LARGE"
    assert len((await world.reading.get_nodes("u", ["big", "big2"], View.SUMMARY, False, {}))[0]) == 2


async def test_a_list_is_newest_first_within_its_bounds(world: World) -> None:
    assert await world.listed() == ["c", "b", "a"]
    assert await world.listed(start=2) == ["c", "b"]
    assert await world.listed(end=3) == ["b", "a"]
    assert await world.listed(start=2, end=3) == ["b"]
    assert await world.listed(start=3, end=3) == []
    assert await world.listed(end=-5) == []
    assert await world.listed(start=-5, end=10**15) == ["c", "b", "a"]


async def test_the_last_page_has_no_token(world: World) -> None:
    page = await world.reading.list_nodes("u", size=3, token="", start_ms=None, end_ms=None)
    assert (len(page.nodes), page.next_token) == (3, "")


async def test_pages_hold_under_writes(world: World) -> None:
    first = await world.reading.list_nodes("u", size=1, token="", start_ms=None, end_ms=None)
    await world.add("newer", 9)
    await world.life.delete_node("u", "c", "", Cascade.EDGES, None)  # the very note that the token stands at
    second = await world.reading.list_nodes("u", size=1, token=first.next_token, start_ms=None, end_ms=None)
    assert [node.node_id for node in second.nodes] == ["b"]


async def test_a_token_belongs_to_its_request(world: World) -> None:
    token = (await world.reading.list_nodes("u", size=1, token="", start_ms=None, end_ms=None)).next_token
    await world.reading.list_nodes("u", size=2, token=token, start_ms=None, end_ms=None)
    for user, start, other in (("v", None, token), ("u", 1, token), ("u", None, token[:-2]), ("u", None, "x")):
        with pytest.raises(InvalidArgument) as caught:
            await world.reading.list_nodes(user, size=1, token=other, start_ms=start, end_ms=None)
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_a_negative_page_size_is_refused(world: World) -> None:
    with pytest.raises(InvalidArgument):
        await world.reading.list_nodes("u", size=-1, token="", start_ms=None, end_ms=None)
