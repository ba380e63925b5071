"""What ListCache promises, on Redis and on the fake that unit tests use."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from services.graph_service.adapters.instance import instance_name
from services.graph_service.adapters.list_cache import RedisLists
from services.graph_service.config import GraphConfig
from services.graph_service.convert import WireCodec
from services.graph_service.model.neighbors import Direction, Neighbor
from services.graph_service.ports import (
    HIDDEN,
    CacheState,
    HubPage,
    Invalidation,
    Lease,
    PackedList,
    VisibilityRecord,
)
from shared import config as configuration
from shared.errors import Unavailable
from shared.redis import Redis
from tests.support import valkey
from tests.support.graph_fakes import FakeLists
from tests.support.stores import Stores
from tests.support.waiting import until


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a Redis Cluster."""
    async with valkey.cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers[0].url


@pytest.fixture(params=["redis", "redis cluster", "fake"])
async def cache(request: pytest.FixtureRequest, stores: Stores, cluster: str) -> AsyncIterator[Any]:
    if request.param == "fake":
        yield FakeLists()
        return
    environment = stores.environment("graph")
    if request.param == "redis cluster":
        environment |= {"REDIS_URL": cluster, "BRAIN2_REDIS_CLUSTER": "1"}
    config = configuration.load(GraphConfig, environment)
    async with Redis(config) as redis:
        lists = RedisLists(redis, WireCodec(), instance_name(redis), pending_write_ms=5_000)
        await lists.identify_instance()
        lists.enable()
        yield lists


def invalidation(user: str, *notes: str) -> Invalidation:
    return Invalidation(user, tuple((note, "other#related") for note in notes))


async def leased(cache: Any, user: str, note: str = "a", **how: Any) -> Lease:
    lease = await cache.lease(user, note, **how)
    assert isinstance(lease, Lease)
    return lease


def packed_list(lease: Lease, packed: bytes = b"packed") -> PackedList:
    return PackedList(lease.stamp, 3, 1, packed)


async def test_missing_then_filling_then_stored(cache: Any, user: str) -> None:
    assert await cache.read(user, ["a", "b"]) == [CacheState.MISSING, CacheState.MISSING]
    lease = await leased(cache, user)
    assert await cache.lease(user, "a") is CacheState.FILLING
    assert await cache.store(lease, packed_list(lease))
    assert await cache.read(user, ["b", "a"]) == [CacheState.MISSING, packed_list(lease)]
    assert await cache.lease(user, "a") == packed_list(lease)


async def test_an_empty_list_is_not_missing(cache: Any, user: str) -> None:
    lease = await leased(cache, user)
    empty = PackedList(lease.stamp, 0, 0, b"")
    assert await cache.store(lease, empty)
    assert await cache.read(user, ["a"]) == [empty]


async def test_a_whole_list_is_read_for_a_user_who_hides_nothing(cache: Any, user: str) -> None:
    lease, hidden = await leased(cache, user), await leased(cache, user, HIDDEN)
    assert await cache.store(lease, packed_list(lease))
    assert await cache.read_whole(user, "a") is None, "what is hidden isn't known"
    assert await cache.store(hidden, PackedList(hidden.stamp, 0, 0, b""))
    assert await cache.read_whole(user, "a") == packed_list(lease)
    assert await cache.read_whole(user, "b") is None
    await cache.begin(invalidation(user, "a"), "w")
    assert await cache.read_whole(user, "a") is None
    await cache.finish(invalidation(user, "a"), "w")
    await cache.begin(invalidation(user, HIDDEN), "w")
    await cache.finish(invalidation(user, HIDDEN), "w")
    lease, some = await leased(cache, user), await leased(cache, user, HIDDEN)
    assert await cache.store(lease, packed_list(lease))
    assert await cache.store(some, PackedList(some.stamp, 1, 0, b"a"))
    assert await cache.read_whole(user, "a") is None, "it may be hidden"


async def test_a_write_ends_the_lease(cache: Any, user: str) -> None:
    lease = await leased(cache, user)
    await cache.begin(invalidation(user, "a"), "w")
    assert not await cache.store(lease, packed_list(lease))
    assert await cache.read(user, ["a"]) == [CacheState.DIRTY]
    assert await cache.lease(user, "a") is CacheState.DIRTY
    await cache.finish(invalidation(user, "a"), "w")
    assert await cache.read(user, ["a"]) == [CacheState.MISSING]
    assert not await cache.store(lease, packed_list(lease)), "not even afterwards"


async def test_finish_alone_removes_a_list(cache: Any, user: str) -> None:
    """begin() may have been lost, with a flush or an outage."""
    lease = await leased(cache, user)
    assert await cache.store(lease, packed_list(lease))
    await cache.finish(invalidation(user, "a"), "w")
    assert await cache.read(user, ["a"]) == [CacheState.MISSING]


async def test_a_list_is_dirty_until_the_last_writer_has_finished(cache: Any, user: str) -> None:
    await cache.begin(invalidation(user, "a", "b"), "w1")
    await cache.begin(invalidation(user, "a"), "w2")
    await cache.finish(invalidation(user, "a", "b"), "w1")
    assert await cache.read(user, ["a", "b"]) == [CacheState.DIRTY, CacheState.MISSING]
    await cache.finish(invalidation(user, "a"), "w2")
    assert await cache.read(user, ["a"]) == [CacheState.MISSING]


async def test_a_visibility_is_pending_until_its_write_has_finished(cache: Any, user: str) -> None:
    first, second = VisibilityRecord("a", 2, hidden=True, incarnation=7), VisibilityRecord("a", 3, hidden=False)
    stale = Invalidation(user, ((HIDDEN, "a"),))
    await cache.begin(stale, "w1", first)
    await cache.begin(stale, "w2", second)
    await cache.begin(Invalidation(user, ((HIDDEN, "b"),)), "w3")
    assert await cache.read(user, [HIDDEN]) == [CacheState.DIRTY]
    assert sorted(await cache.pending_visibilities(user), key=lambda record: record.version) == [first, second]
    assert await cache.pending_visibilities(user + "x") == []
    await cache.finish(stale, "w1")
    assert await cache.pending_visibilities(user) == [second]
    await cache.finish(stale, "w2")
    assert await cache.pending_visibilities(user) == []


async def test_a_pending_visibility_whose_writer_died_expires(stores: Stores, user: str) -> None:
    async with Redis(configuration.load(GraphConfig, stores.environment("graph"))) as redis:
        lists = RedisLists(redis, WireCodec(), instance_name(redis), pending_write_ms=1)
        await lists.identify_instance()
        lists.enable()
        stale = Invalidation(user, ((HIDDEN, "a"),))

        async def begin(node_id: str, writer: str) -> list[str]:
            await lists.begin(stale, writer, VisibilityRecord(node_id, 2, hidden=True))
            return [record.node_id for record in await lists.pending_visibilities(user)]

        await begin("a", "dead")
        lists._pending_write_ms = 60_000  # or the key would expire as a whole
        await until(lambda: _is(begin("b", "alive"), ["b"]), what="the end of the dead writer's")


async def _is(answer: Awaitable[Any], expected: Any) -> bool:
    return bool(await answer == expected)


async def test_stamps_order_fills_and_writes(cache: Any, user: str) -> None:
    before = await leased(cache, user, "a")
    written = await cache.finish(invalidation(user, "b"), "w")
    after = await leased(cache, user, "b")
    assert before.stamp < written < after.stamp


async def test_a_list_that_is_too_old_can_be_replaced(cache: Any, user: str) -> None:
    lease = await leased(cache, user)
    old = packed_list(lease)
    assert await cache.store(lease, old)
    assert await cache.lease(user, "a", instead_of=old.stamp + 1) == old
    again = await leased(cache, user, instead_of=old.stamp)
    assert await cache.store(again, packed_list(again, b"new"))
    assert await cache.read(user, ["a"]) == [packed_list(again, b"new")]


async def test_users_are_apart(cache: Any, user: str) -> None:
    lease = await leased(cache, user)
    assert await cache.store(lease, packed_list(lease))
    assert await cache.read(user + "x", ["a"]) == [CacheState.MISSING]
    await cache.finish(invalidation(user + "x", "a"), "w")
    assert await cache.read(user, ["a"]) == [packed_list(lease)]


async def test_a_hub_that_has_shrunk_keeps_its_pending_writes(stores: Stores, user: str) -> None:
    """Its writer may die after the commit: until the pending write expires, nobody may store the list."""
    async with Redis(configuration.load(GraphConfig, stores.environment("graph"))) as redis:
        lists = RedisLists(redis, WireCodec(), instance_name(redis), hub_degree=8, pending_write_ms=60_000)
        await lists.identify_instance()
        lists.enable()
        lease = await lists.hub_lease(user, "a")
        assert isinstance(lease, Lease)
        some = [Neighbor(f"n{n}", 0.5, "related", Direction.BOTH, False, 1) for n in range(3)]
        assert await lists.hub_stage(lease, some)
        assert await lists.hub_store(lease, 0)
        await lists.begin(invalidation(user, "a"), "w")
        assert await lists.hub_page(user, "a", by_time=False, after=None, limit=9, ceiling=None) is None
        assert await lists.read(user, ["a"]) == [CacheState.MISSING]
        assert await lists.lease(user, "a") is CacheState.DIRTY
        await lists.finish(invalidation(user, "a"), "w")
        await leased(lists, user)


async def test_a_repair_that_comes_after_a_new_fill_changes_nothing(stores: Stores, user: str) -> None:
    """A takeover may have lost a later write of the entry, which the new fill has read and the repair has not."""
    async with Redis(configuration.load(GraphConfig, stores.environment("graph"))) as redis:
        lists = RedisLists(redis, WireCodec(), instance_name(redis), hub_degree=2)
        await lists.identify_instance()
        lists.enable()
        one = Neighbor("other", 0.5, "related", Direction.BOTH, False, 1)

        async def filled() -> None:
            lease = await lists.hub_lease(user, "a")
            assert isinstance(lease, Lease)
            assert await lists.hub_stage(lease, [one])
            assert await lists.hub_store(lease, 0)

        async def page() -> HubPage:
            found = await lists.hub_page(user, "a", by_time=False, after=None, limit=9, ceiling=None)
            assert found is not None
            return found

        await filled()
        await lists.finish(invalidation(user, "a"), "w")
        assert (await page()).repairs == [("other#related", "w")]
        await redis.call("DEL", lists.key(user, "a", "a"))
        await filled()
        assert (await page()).repairs == []
        await lists.hub_repair(user, "a", [("other#related", "w", None)])
        assert (await page()).neighbors == [one]


async def test_an_instance_that_is_lost_while_it_is_identified_is_not_used(stores: Stores, user: str) -> None:
    """Of several masters, one may answer and be replaced before the last one answers."""
    async with Redis(configuration.load(GraphConfig, stores.environment("graph"))) as redis:
        losses = [True]

        async def instance() -> str:
            name = await instance_name(redis)()
            if losses:
                losses.pop()
                lists.disable()
            return name

        lists = RedisLists(redis, WireCodec(), instance)
        with pytest.raises(Unavailable):
            await lists.identify_instance()
        lists.enable()
        assert not lists.enabled
        await lists.identify_instance()
        lists.enable()
        assert lists.enabled
