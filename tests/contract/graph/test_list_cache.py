"""What ListCache promises, on Redis and on the fake that unit tests use."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
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


OTHER = Neighbor("other", 0.5, "related", Direction.BOTH, False, 1)


@dataclass
class StoredHub:
    """The list of the hub "a", and what its reader does."""

    lists: RedisLists
    user: str

    async def fill(self, neighbors: Sequence[Neighbor]) -> bool:
        lease = await self.lists.hub_lease(self.user, "a")
        assert isinstance(lease, Lease)
        assert await self.lists.hub_stage(lease, neighbors)
        return await self.lists.hub_store(lease, 0)

    async def page(self) -> HubPage | None:
        return await self.lists.hub_page(self.user, "a", by_time=False, after=None, limit=9, ceiling=None)

    async def token(self) -> str:
        """Of the repair of OTHER, the only one."""
        page = await self.page()
        assert page is not None
        ((member, token),) = page.repairs
        assert member == OTHER.member
        return token

    async def repair(self, token: str, now: Neighbor | None) -> None:
        await self.lists.hub_repair(self.user, "a", [(OTHER.member, token, now)])


@pytest.fixture
async def hub(stores: Stores, user: str) -> AsyncIterator[StoredHub]:
    """A hub has two edges at least."""
    async with Redis(configuration.load(GraphConfig, stores.environment("graph"))) as redis:
        lists = RedisLists(redis, WireCodec(), instance_name(redis), hub_degree=4, pending_write_ms=60_000)
        await lists.identify_instance()
        lists.enable()
        yield StoredHub(lists, user)


async def test_a_hub_that_has_shrunk_keeps_its_pending_writes(hub: StoredHub, user: str) -> None:
    """Its writer may die after the commit: until the pending write expires, nobody may store the list."""
    lists = hub.lists
    assert await hub.fill([OTHER, OTHER._replace(node_id="b")])
    await lists.finish(invalidation(user, "a"), "w")
    await hub.repair(await hub.token(), None)
    await lists.begin(invalidation(user, "a"), "w")
    assert await hub.page() is None
    assert await lists.read(user, ["a"]) == [CacheState.MISSING]
    assert await lists.lease(user, "a") is CacheState.DIRTY
    await lists.finish(invalidation(user, "a"), "w")
    await leased(lists, user)


async def test_a_hub_whose_answer_got_lost_is_stored_again_to_the_same_effect(hub: StoredHub, user: str) -> None:
    lease = await hub.lists.hub_lease(user, "a")
    assert isinstance(lease, Lease)
    assert await hub.lists.hub_stage(lease, [OTHER, OTHER._replace(node_id="b")])
    assert await hub.lists.hub_store(lease, 0)
    assert await hub.lists.hub_store(lease, 0)
    assert await hub.page() is not None


async def test_too_few_edges_for_a_hub_are_not_stored_as_one(hub: StoredHub, user: str) -> None:
    assert not await hub.fill([OTHER])
    await leased(hub.lists, user)


async def test_a_repair_that_comes_after_a_new_fill_changes_nothing(hub: StoredHub, user: str) -> None:
    """A takeover may have lost a later write of the entry, which the new fill has read and the repair has not."""
    two = [OTHER, OTHER._replace(node_id="b")]
    assert await hub.fill(two)
    await hub.lists.finish(invalidation(user, "a"), "w")
    token = await hub.token()
    await hub.lists._redis.call("DEL", hub.lists.key(user, "a", "a"))
    assert await hub.fill(two)
    await hub.repair(token, None)
    page = await hub.page()
    assert page is not None
    assert (page.repairs, len(page.neighbors)) == ([], 2)


async def test_a_repair_is_of_one_finish_also_when_the_journal_repeats_it(hub: StoredHub, user: str) -> None:
    """Its first answer may have got lost. A slow reader of then must not put back what a later write has replaced."""
    assert await hub.fill([OTHER, OTHER._replace(node_id="b")])
    await hub.lists.finish(invalidation(user, "a"), "w")
    slow = await hub.token()
    await hub.lists.finish(invalidation(user, "a"), "later")
    await hub.repair(await hub.token(), OTHER._replace(weight=0.9))
    await hub.lists.finish(invalidation(user, "a"), "w")
    await hub.repair(slow, OTHER)
    page = await hub.page()
    assert page is not None
    assert page.neighbors[0].weight == 0.9
    assert [member for member, _ in page.repairs] == [OTHER.member], "it is read again"


async def test_a_finish_leaves_no_key_without_an_expiry(hub: StoredHub, user: str) -> None:
    """The pending writes of a hub may have been evicted."""
    assert await hub.fill([OTHER, OTHER._replace(node_id="b")])
    redis, pending = hub.lists._redis, hub.lists.key(user, "m", "a")
    await redis.call("DEL", pending)
    await hub.lists.finish(invalidation(user, "a"), "w")
    assert await redis.call("PTTL", pending) != -1
    assert await hub.page() is None
    await leased(hub.lists, user)


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
