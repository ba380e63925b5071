"""A list in Redis Cluster against the same list in one Redis: two services side by side, without memory caches.

Three users, each on another master, are asked for at once; and one user by itself, whose keys are all on one master.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from protos.graph.v1 import graph_pb2
from shared.config import StoreConfig
from shared.redis import Redis
from shared.redis.slots import SLOTS, slot_of
from tests.bench.graph import seed
from tests.bench.graph.hot import GET, spread
from tests.bench.graph.load import rate
from tests.bench.graph.world import Bench, call
from tests.support import valkey

MASTERS = 3


async def measure(bench: Bench, rounds: int, calls: int) -> dict[str, Any]:
    """Ratios of cluster to single instance. calls: of each user in each measurement."""
    users = [_user_on(master) for master in range(MASTERS)]
    for user in users:
        await seed.ring(bench.stores, user, 20, each=5)
    requests = [graph_pb2.GetNeighborsRequest(user_id=user, node_id=seed.name(0)).SerializeToString() for user in users]
    found: dict[str, list[float]] = {f"{name}_{load}": [] for name in ("single", "cluster") for load in ("all", "one")}
    with tempfile.TemporaryDirectory(prefix="brain2-bench-") as folder:
        async with valkey.cluster(Path(folder), masters=MASTERS) as masters, bench.apart() as apart:
            ports = {
                "single": await apart.service("graph", BRAIN2_L1_BYTES="0"),
                "cluster": await apart.service(
                    "graph", BRAIN2_L1_BYTES="0", REDIS_URL=masters[0].url, BRAIN2_REDIS_CLUSTER="1"
                ),
            }
            answers = [await call(ports["single"], GET, request) for request in requests]
            assert [await call(ports["cluster"], GET, request) for request in requests] == answers
            loads = [(request, len(answer)) for request, answer in zip(requests, answers, strict=True)]
            for number in range(rounds + 1):
                # In turns, so that neither is always measured on what the other has left behind.
                for name in sorted(ports, reverse=bool(number % 2)):
                    together = await asyncio.gather(*(rate(ports[name], GET, ask, calls, size) for ask, size in loads))
                    alone = await rate(ports[name], GET, loads[0][0], calls, loads[0][1])
                    if number == 0:
                        continue  # the first warms everything
                    # All calls, by the time of the slowest load.
                    found[f"{name}_all"].append(len(users) * min(each.calls for each in together))
                    found[f"{name}_one"].append(alone.calls)
            commands = [await _commands(master) for master in masters]
    ratios = {
        load: [a / b for a, b in zip(found[f"cluster_{load}"], found[f"single_{load}"], strict=True)]
        for load in ("all", "one")
    }
    return {
        "cluster_vs_single": {
            **spread(ratios["all"]),
            "one_user": spread(ratios["one"]),
            "cluster_rps": spread(found["cluster_all"]),
            "single_rps": spread(found["single_all"]),
            "commands_by_master": commands,
        }
    }


def _user_on(master: int) -> str:
    """A user whose keys belong to that master, of tests.support.valkey.cluster()."""
    share = -(-SLOTS // MASTERS)
    names = (f"bench-cluster-{number}" for number in range(10_000))
    return next(name for name in names if (slot_of(("GET", name)) or 0) // share == master)


async def _commands(server: valkey.Valkey) -> int:
    """Commands that the server has carried out."""
    async with Redis(StoreConfig(region="none", event_bus="none", redis_url=server.url)) as redis:
        info = (await redis.call("INFO", "stats")).decode()
    return int(next(line for line in info.splitlines() if line.startswith("total_commands_processed:")).split(":")[1])
