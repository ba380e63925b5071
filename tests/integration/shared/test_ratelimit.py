"""Rate limits that replicas share through a real Redis."""

import asyncio
from dataclasses import dataclass

from shared.auth.principal import Principal
from shared.errors import ResourceExhausted
from shared.ids import SystemClock
from shared.ratelimit import Rate, RateLimiter
from shared.redis import Redis
from tests.support.stores import Stores


@dataclass(frozen=True)
class At:
    redis_url: str
    redis_cluster: bool = False


async def test_replicas_share_a_limit(stores: Stores, user: str) -> None:
    principal = Principal(user, user, frozenset({"read"}))
    async with Redis(At(stores.redis_url)) as redis:
        # So slow that no call is added during the test.
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
