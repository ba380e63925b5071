"""The service as a process, on real stores: FindSimilar over gRPC, the first load, and the delay of links."""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from protos.similarity.v1 import similarity_pb2 as pb
from services.similarity_service.adapters.dynamo import DynamoRecords
from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.note import analyse
from services.similarity_service.model.stored import Stored
from shared.grpc.client import Channels
from shared.ids import SystemClock
from tests.bench.similarity.core import timed
from tests.bench.similarity.corpus import Sample
from tests.support.similarity_peers import FakePeers, fake_peers
from tests.support.similarity_service import event_of, publish, table_of
from tests.support.stores import Stores
from tests.support.stores import running as running_stores
from tests.support.waiting import until

_ASKED = 1_000
_WARM = 100
_AT_ONCE = 500


async def measure(samples: Sequence[Sample], *, seconds: float, rate: float, data: Path) -> dict[str, float]:
    """FindSimilar over one user with all the samples; then `rate` new notes a second, for so many seconds."""
    user = "bench"
    async with running_stores(data) as stores, fake_peers() as peers, _service(stores, peers) as stub:
        await _fill(stores, user, samples)
        begun = perf_counter()
        await stub.FindSimilar(pb.FindSimilarRequest(user_id=user, node_id=samples[0].node_id), timeout=600.0)
        found = {"first_answer_s": round(perf_counter() - begun, 3)}
        rng = np.random.default_rng(1)
        asked = [samples[n].node_id for n in rng.integers(0, len(samples), _WARM + _ASKED)]
        taken = [await _find(stub, user, node_id) for node_id in asked]
        found |= timed(taken[_WARM:], "grpc_find")
        return found | await _links(stores, peers, samples, seconds=seconds, rate=rate)


async def _find(stub: Any, user: str, node_id: str) -> float:
    begun = perf_counter()
    await stub.FindSimilar(pb.FindSimilarRequest(user_id=user, node_id=node_id))
    return perf_counter() - begun


async def _links(
    stores: Stores, peers: FakePeers, samples: Sequence[Sample], *, seconds: float, rate: float
) -> dict[str, float]:
    """From the event on the bus to the link at the graph service, of the notes that get one."""
    user = "bench-links"
    published: dict[str, float] = {}
    linked: dict[str, float] = {}
    known: set[tuple[str, str]] = set()

    def note_links(name: str) -> None:
        now = perf_counter()
        for pair in peers.pairs(user) - known:
            known.add(pair)
            for node_id in pair:
                linked.setdefault(node_id, now)

    peers.on_change = note_links
    chosen = random.Random(1).sample(list(samples), min(len(samples), int(seconds * rate)))
    async with stores.client("events") as bus:
        tasks = []
        begun = perf_counter()
        for number, each in enumerate(chosen):
            await asyncio.sleep(max(0.0, begun + number / rate - perf_counter()))
            note = peers.note(user, each.node_id, each.title, each.text)
            published[each.node_id] = perf_counter()
            tasks.append(asyncio.create_task(publish(stores, [event_of(note)], bus)))
        await asyncio.gather(*tasks)

    async def quiet() -> bool:
        seen = len(known)
        await asyncio.sleep(3.0)
        return len(known) == seen

    await until(quiet, seconds=120.0, what="the last links")
    # A note may be linked only when a later one comes: that is no delay of its own.
    order = {node_id: number for number, node_id in enumerate(published)}
    own = [
        linked[node_id] - published[node_id]
        for node_id in linked
        if any(order[a if b == node_id else b] < order[node_id] for a, b in known if node_id in (a, b))
    ]
    return {"links_notes": len(own), **timed(own, "links")}


async def _fill(stores: Stores, user: str, samples: Sequence[Sample]) -> None:
    """Records as the service writes them, in batches."""
    english = analyser("english")
    async with table_of(stores) as table:
        records = DynamoRecords(table, SystemClock())
        for start in range(0, len(samples), _AT_ONCE):
            items = []
            for each in samples[start : start + _AT_ONCE]:
                note = analyse(
                    english, node_id=each.node_id, version=1, incarnation=1, title=each.title, text=each.text
                )
                listed = replace(note, salient=tuple((n, 200) for n in range(min(10, len(note.terms)))))
                items.append(records.item(user, each.node_id, Stored(listed, 1, 1, 1, revision=1)))
            await table.batch_write(items)


@contextlib.asynccontextmanager
async def _service(stores: Stores, peers: FakePeers) -> AsyncIterator[Any]:
    env = {
        **os.environ,
        **stores.environment("similarity"),
        "BRAIN2_LISTEN": "127.0.0.1:50953",
        "BRAIN2_NODE_TARGET": peers.target,
        "BRAIN2_GRAPH_TARGET": peers.target,
        "BRAIN2_LOG_LEVEL": "WARNING",
        "BRAIN2_DEFAULT_DEADLINE_SECONDS": "600",
        "BRAIN2_INDEX_MEGABYTES": "8192",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.similarity_service", env=env)
    try:
        async with Channels(timeout=30.0) as channels:
            stub = channels.stub("127.0.0.1:50953", pb.DESCRIPTOR.services_by_name["SimilarityService"])

            async def serves() -> bool:
                try:
                    await stub.GetUserSettings(pb.GetUserSettingsRequest(user_id="nobody"))
                except Exception:
                    return False
                return True

            await until(serves, what="the service")
            yield stub
    finally:
        process.terminate()
        await process.wait()
