"""The poller: lost events, abandoned sagas, shards shared by replicas."""

import asyncio
import random

import pytest

from services.cleanup_service.model.saga import Step
from services.cleanup_service.ports import NodeKey, QueueEntry
from services.cleanup_service.usecases.node_events import on_node_deleted
from services.cleanup_service.usecases.poll_deletions import DeletionPoller
from services.cleanup_service.usecases.queue_deletion import queue_deletion
from shared.errors import Unavailable
from shared.resilience.pace import IdlePace
from tests.support.cleanup_world import World


class Queue:
    """The deletion queue of a world, all in shard 3; `stale` names notes that it still holds though they are gone."""

    shards = 16

    def __init__(self, world: World, stale: list[NodeKey] | None = None) -> None:
        self.world = world
        self.stale = stale or []

    async def due(self, shard: int, until_ms: int, after: str, limit: int) -> list[QueueEntry]:
        if shard != 3:
            return []
        keys = [key for key, note in self.world.notes.items() if note.deleted and note.purge_ms <= until_ms]
        dues = sorted((QueueEntry(*key, "#".join(key)) for key in keys + self.stale), key=lambda due: due.position)
        return [due for due in dues if due.position > after][:limit]


class Leases:
    def __init__(self) -> None:
        self.holders: dict[int, tuple[str, int]] = {}

    async def acquire(self, shard: int, owner: str, now_ms: int, lease_ms: int) -> bool:
        holder, until = self.holders.get(shard, (owner, 0))
        if holder != owner and until > now_ms:
            return False
        self.holders[shard] = (owner, now_ms + lease_ms)
        return True


def poller(
    world: World, submitted: list[NodeKey], *, owner: str = "a", leases: Leases | None = None, **more: object
) -> DeletionPoller:
    async def submit(user_id: str, node_id: str) -> None:
        submitted.append((user_id, node_id))

    queue = more.get("queue") or Queue(world)
    assert isinstance(queue, Queue)
    return DeletionPoller(
        queue=queue,
        leases=leases or Leases(),
        deletions=world.deletions(),
        submit=submit,
        rng=random.Random(1),
        owner=owner,
        pace=IdlePace(after=6, rests=14),
    )


async def test_a_lost_event_loses_nothing() -> None:
    world = World()
    for number in range(230):  # more than two pages
        world.add_note(f"n{number}")
        world.delete(f"n{number}", retention=100)
    submitted: list[NodeKey] = []
    assert await poller(world, submitted).poll_deletions() == 0
    assert world.sagas == {}
    world.clock.ms += 100
    await poller(world, submitted).poll_deletions()
    await poller(world, submitted).poll_deletions()
    assert {node_id for _, node_id in submitted} == {f"n{number}" for number in range(230)}


async def test_the_queue_may_be_behind() -> None:
    world = World()
    world.add_note("live")
    submitted: list[NodeKey] = []
    await poller(world, submitted, queue=Queue(world, [("u", "live"), ("u", "purged")])).poll_deletions()
    assert world.sagas == {}


async def test_abandoned_sagas_are_found_when_their_lease_ends() -> None:
    world = World()
    world.add_note("n")
    await queue_deletion(world.deletions(), "u", world.delete("n").node_id)

    def down(name: str) -> None:
        if name == "graph.detach":
            raise Unavailable("no")

    world.at = down
    await world.runner().run_deletion("u", "n")
    submitted: list[NodeKey] = []
    await poller(world, submitted).poll_deletions()
    assert submitted == []
    world.clock.ms = world.sagas["u", "n"].queue_time_ms
    await poller(world, submitted).poll_deletions()
    assert submitted == [("u", "n")]
    assert world.sagas["u", "n"].step is Step.DETACH


async def test_replicas_share_the_shards_and_inherit_those_of_the_dead() -> None:
    world = World()
    for number in range(50):
        world.add_note(f"n{number}")
        await on_node_deleted(world.deletions(), world.delete(f"n{number}"))
    leases = Leases()
    first: list[NodeKey] = []
    second: list[NodeKey] = []
    await asyncio.gather(
        poller(world, first, owner="a", leases=leases).poll_deletions(),
        poller(world, second, owner="b", leases=leases).poll_deletions(),
    )
    assert len(first) + len(second) == 50
    assert len(leases.holders) == Queue.shards
    again: list[NodeKey] = []
    await poller(world, again, owner="c", leases=leases).poll_deletions()
    assert again == []
    world.clock.ms += 30_000
    await poller(world, again, owner="c", leases=leases).poll_deletions()
    assert len(again) == 50


async def test_one_shard_that_fails_does_not_stop_the_others() -> None:
    world = World()
    for number in range(50):
        world.add_note(f"n{number}")
        await on_node_deleted(world.deletions(), world.delete(f"n{number}"))

    class Broken(Leases):
        async def acquire(self, shard: int, owner: str, now_ms: int, lease_ms: int) -> bool:
            if shard == 5:
                raise Unavailable("throttled")
            return True

    submitted: list[NodeKey] = []
    with pytest.raises(Unavailable):
        await poller(world, submitted, leases=Broken()).poll_deletions()
    assert 30 < len(submitted) < 50
