"""The fast paths give the same response as the full path, or leave the request to it."""

from collections.abc import Awaitable, Callable

import pytest

from protos.graph.v1 import graph_pb2
from services.graph_service.convert import WireCodec
from services.graph_service.model.consistency_token import token_for
from services.graph_service.model.neighbors import Direction, Neighbor, NeighborsRequest
from services.graph_service.ports import HIDDEN, PackedList
from services.graph_service.usecases.fast_path import NeighborsFastPath
from services.graph_service.usecases.memory_cache import MemoryCache
from shared.errors import InvalidArgument
from tests.support.clock import ManualClock
from tests.support.graph_fakes import FakeLists

CODEC = WireCodec()
PACKED = CODEC.pack([Neighbor("b", 0.5, "related", Direction.BOTH, False, 1)])
WHOLE = CODEC.response(PACKED, "", 1)
Get = Callable[..., Awaitable[bytes]]


def request(**fields: object) -> bytes:
    return graph_pb2.GetNeighborsRequest(user_id="u", node_id="a", **fields).SerializeToString()  # type: ignore[arg-type]


async def full_path(request: NeighborsRequest, data: bytes) -> bytes:
    return b"full path"


@pytest.fixture
def cache() -> FakeLists:
    found = FakeLists()
    found.states["u", "a"] = PackedList(1, 1, 0, PACKED)
    found.states["u", HIDDEN] = PackedList(1, 0, 0, b"")
    return found


@pytest.fixture
def memory() -> MemoryCache:
    found = MemoryCache(100_000, ManualClock())
    found.reopen()
    return found


@pytest.fixture(params=[0, 100_000])
def path(request: pytest.FixtureRequest, cache: FakeLists) -> NeighborsFastPath:
    memory = MemoryCache(request.param, ManualClock())
    memory.reopen()
    return NeighborsFastPath(memory, cache, CODEC, full_path)


async def test_a_whole_list_is_one_read_of_redis(path: NeighborsFastPath, cache: FakeLists) -> None:
    assert await path.get_neighbors(request()) == WHOLE
    assert cache.calls == ["read"]


async def test_whatever_needs_more_takes_the_full_path(path: NeighborsFastPath, cache: FakeLists) -> None:
    token = token_for("space", 5, 5, {"a"}).encode()
    for fields in (
        {"min_weight": 0.1},
        {"with_titles": True},
        {"order": 2},
        {"types": ["x"]},
        {"consistency_token": token},
    ):
        assert await path.get_neighbors(request(**fields)) == b"full path", fields
    assert cache.calls == []
    for state in (PackedList(1, 60, 0, PACKED), None):
        cache.states["u", "a"] = state
        assert await path.get_neighbors(request()) == b"full path", state
    cache.states["u", "a"] = PackedList(1, 1, 0, PACKED)
    cache.states["u", HIDDEN] = PackedList(1, 1, 0, b"b")
    assert await path.get_neighbors(request()) == b"full path", "a hidden note"
    cache.away = True
    assert await path.get_neighbors(request()) == b"full path", "without Redis"


async def test_a_malformed_request_is_refused_each_time(path: NeighborsFastPath) -> None:
    for _ in range(2):
        with pytest.raises(InvalidArgument):
            await path.get_neighbors(request(min_weight=2))
        with pytest.raises(InvalidArgument):
            await path.get_neighbors(b"\xff")


async def test_memory_keeps_the_response_until_a_list_is_invalidated(memory: MemoryCache, cache: FakeLists) -> None:
    path = NeighborsFastPath(memory, cache, CODEC, full_path)
    assert path.ready_response is not None
    for node_id in ("a", HIDDEN):
        await path.get_neighbors(request())
        assert path.ready_response(request()) == WHOLE
        memory.invalidate("u", node_id)
        assert path.ready_response(request()) is None


async def test_a_list_that_is_invalidated_during_the_read_is_not_kept(memory: MemoryCache, cache: FakeLists) -> None:
    path = NeighborsFastPath(memory, cache, CODEC, full_path)
    read = cache.read

    async def overtaken(user_id: str, node_ids: object) -> object:
        found = await read(user_id, node_ids)  # type: ignore[arg-type]
        memory.invalidate("u", "a")
        return found

    cache.read = overtaken  # type: ignore[method-assign, assignment]
    assert await path.get_neighbors(request()) == WHOLE
    assert memory.get("u", "a") is None
    assert memory.response(request()) is None


def test_without_memory_there_is_no_ready_response(cache: FakeLists) -> None:
    assert NeighborsFastPath(MemoryCache(0, ManualClock()), cache, CODEC, full_path).ready_response is None


async def test_the_decoded_form_of_a_long_request_is_not_kept(memory: MemoryCache, cache: FakeLists) -> None:
    path = NeighborsFastPath(memory, cache, CODEC, full_path)
    short, long = request(types=["t"]), request(types=[f"type{number}" for number in range(15)], page_token="x" * 1000)
    for data in (short, long):
        await path.get_neighbors(data)
    assert list(path._decoded) == [short]
