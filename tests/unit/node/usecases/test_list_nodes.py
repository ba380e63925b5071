"""ListNodes: pages by time, over a store in memory."""

import pytest

from services.node_service.model import Cascade, Draft
from services.node_service.usecases.create_node import create_node
from services.node_service.usecases.delete_node import delete_node
from services.node_service.usecases.list_nodes import list_nodes
from shared.errors import InvalidArgument
from tests.support.node_fakes import World


async def add(world: World, node_id: str, create_ms: int, content: str = "C") -> None:
    await create_node(world.notes, "u", Draft(node_id=node_id, content=content, create_ms=create_ms), None)


@pytest.fixture
async def world() -> World:
    """The notes a, b, c of "u" (created at 1, 2, 3) and d, which is deleted."""
    world = World()
    for at, node_id in enumerate("abcd", 1):
        await add(world, node_id, at)
    await delete_node(world.notes, "u", "d", "", Cascade.EDGES, None)
    return world


async def listed(world: World, **bounds: int | None) -> list[str]:
    """All ids by pages of one."""
    ids: list[str] = []
    token = ""
    while True:
        page = await list_nodes(
            world.notes, "u", size=1, token=token, start_ms=bounds.get("start"), end_ms=bounds.get("end")
        )
        ids += [node.node_id for node in page.nodes]
        token = page.next_token
        if not token:
            return ids


async def test_a_list_is_newest_first_within_its_bounds(world: World) -> None:
    assert await listed(world) == ["c", "b", "a"]
    assert await listed(world, start=2) == ["c", "b"]
    assert await listed(world, end=3) == ["b", "a"]
    assert await listed(world, start=2, end=3) == ["b"]
    assert await listed(world, start=3, end=3) == []
    assert await listed(world, end=-5) == []
    assert await listed(world, start=-5, end=10**15) == ["c", "b", "a"]


async def test_the_last_page_has_no_token(world: World) -> None:
    page = await list_nodes(world.notes, "u", size=3, token="", start_ms=None, end_ms=None)
    assert (len(page.nodes), page.next_token) == (3, "")


async def test_pages_hold_under_writes(world: World) -> None:
    first = await list_nodes(world.notes, "u", size=1, token="", start_ms=None, end_ms=None)
    await add(world, "newer", 9)
    await delete_node(world.notes, "u", "c", "", Cascade.EDGES, None)  # the very note that the token stands at
    second = await list_nodes(world.notes, "u", size=1, token=first.next_token, start_ms=None, end_ms=None)
    assert [node.node_id for node in second.nodes] == ["b"]


async def test_a_token_belongs_to_its_request(world: World) -> None:
    token = (await list_nodes(world.notes, "u", size=1, token="", start_ms=None, end_ms=None)).next_token
    await list_nodes(world.notes, "u", size=2, token=token, start_ms=None, end_ms=None)
    for user, start, other in (("v", None, token), ("u", 1, token), ("u", None, token[:-2]), ("u", None, "x")):
        with pytest.raises(InvalidArgument) as caught:
            await list_nodes(world.notes, user, size=1, token=other, start_ms=start, end_ms=None)
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_a_negative_page_size_is_refused(world: World) -> None:
    with pytest.raises(InvalidArgument):
        await list_nodes(world.notes, "u", size=-1, token="", start_ms=None, end_ms=None)
