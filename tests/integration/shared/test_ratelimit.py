"""Rate limits that replicas share through a real Redis."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from protos.node.v1 import node_pb2
from shared.auth.principal import Principal
from shared.errors import ResourceExhausted
from shared.grpc.server import GrpcServer
from shared.ids import SystemClock
from shared.ratelimit import Rate, RateLimiter
from shared.redis import Redis
from tests.support.doors import METHODS, Door, Noting, request_for
from tests.support.echo import server_config
from tests.support.stores import Stores
from tests.support.tokens import write_keys
from tests.support.valkey import Valkey, running
from tests.support.waiting import until, within

NODE = node_pb2.DESCRIPTOR.services_by_name["NodeService"]
GET_NODE = next(method for method in METHODS if method.name == "GetNode")
BURST = 5
# So slow that no call is added during a test.
SLOW = Rate(0.001, BURST)


@dataclass(frozen=True)
class At:
    redis_url: str
    redis_cluster: bool = False


async def test_replicas_share_a_limit(stores: Stores, user: str) -> None:
    principal = Principal(user, user, frozenset({"read"}))
    async with Redis(At(stores.redis_url)) as redis:
        replicas = [RateLimiter(Rate(0.001, 7), Rate(0.001, 100), SystemClock(), redis) for _ in range(3)]
        calls = (replicas[number % 3].check(principal, user) for number in range(30))
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in results if result is not None]
        assert len(results) - len(refused) == 7
        assert all(isinstance(error, ResourceExhausted) and error.retry_after for error in refused)
        _, keys = await redis.call("SCAN", b"0", "MATCH", "b2:rate:*", "COUNT", 1_000_000)
        assert len(keys) >= 2
        assert user not in str(keys), "Redis holds no names"
        for key in keys:
            assert await redis.call("PTTL", key) > 0, "a counter must expire"


async def test_a_clock_that_was_ahead_refuses_nobody_for_hours(stores: Stores, user: str) -> None:
    """The counter of a server whose clock was ahead is on the replica that took its place."""
    principal = Principal(user, user, frozenset({"read"}))
    async with Redis(At(stores.redis_url)) as redis:
        limiter = RateLimiter(Rate(1, BURST), None, SystemClock(), redis)
        assert await allowed(limiter, principal, 1) == 1
        _, keys = await redis.call("SCAN", b"0", "MATCH", "b2:rate:user:*", "COUNT", 1_000_000)
        for key in keys:
            await redis.call("SET", key, int((time.time() + 7200) * 1_000_000), "PX", 7_200_000)
        assert await allowed(limiter, principal, 3 * BURST) == BURST


async def allowed(limiter: RateLimiter, principal: Principal, calls: int) -> int:
    """How many of the calls at one time were allowed; the others must be refused by the limit."""
    results = await asyncio.gather(
        *(limiter.check(principal, principal.user) for _ in range(calls)), return_exceptions=True
    )
    refused = [result for result in results if result is not None]
    assert all(isinstance(error, ResourceExhausted) and error.retry_after for error in refused), refused
    return calls - len(refused)


async def away(server: Valkey, trouble: str) -> None:
    if trouble == "killed":
        await server.kill()
    else:
        server.freeze()


async def back(server: Valkey, trouble: str, redis: Redis) -> None:
    if trouble == "killed":
        await server.start()
    else:
        server.thaw()

    async def answers() -> bool:
        try:
            return bool(await redis.call("PING"))
        except Exception:
            return False

    await until(answers, what="Redis")


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
async def test_while_redis_is_away_each_replica_has_the_limit_by_itself(tmp_path: Path, trouble: str) -> None:
    ada, bob, cyd = (Principal(name, name, frozenset({"read"})) for name in ("ada", "bob", "cyd"))
    async with running(tmp_path / "valkey") as server, Redis(At(server.url)) as redis:
        one, two = (RateLimiter(SLOW, None, SystemClock(), redis) for _ in range(2))
        assert await allowed(one, ada, 3 * BURST) + await allowed(two, ada, 3 * BURST) == BURST
        await away(server, trouble)
        async with within(10):
            for limiter in (one, two):
                # Neither is somebody refused who has not called, nor does anybody have a window without a limit.
                assert [await allowed(limiter, who, 3 * BURST) for who in (ada, bob)] == [BURST, BURST]
                assert [await allowed(limiter, who, 3 * BURST) for who in (ada, bob)] == [0, 0]
        await back(server, trouble, redis)
        assert await allowed(one, cyd, 2) == 2
        assert await allowed(two, cyd, 3 * BURST) == BURST - 2, "shared again"


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
async def test_a_server_answers_on_while_redis_is_away(tmp_path: Path, trouble: str) -> None:
    entries = [{"name": who, "key": who * 20, "scopes": ["read"], "user": who} for who in ("ada", "bob")]
    keys = write_keys(tmp_path / "keys.json", *entries)
    config = server_config(auth="preshared", auth_keys=keys, user_rate=SLOW.per_second, user_burst=BURST)
    async with running(tmp_path / "valkey") as valkey, Redis(At(valkey.url)) as redis:
        server = GrpcServer(config, [(NODE, Noting(NODE, [], []))], redis=redis)
        target = f"127.0.0.1:{await server.start()}"
        try:
            async with grpc.aio.insecure_channel(target) as channel:
                door = Door(channel)

                async def codes(user: str) -> list[str]:
                    asked = (door.call(GET_NODE, request_for(GET_NODE, user), user * 20) for _ in range(2 * BURST))
                    return sorted(code.name for code in await asyncio.gather(*asked))

                limited = ["OK"] * BURST + ["RESOURCE_EXHAUSTED"] * BURST
                assert await codes("ada") == limited
                await away(valkey, trouble)
                async with within(5):
                    assert await codes("ada") == limited
                await back(valkey, trouble, redis)
                async with within(5):
                    assert await codes("bob") == limited
        finally:
            await server.stop(0)
