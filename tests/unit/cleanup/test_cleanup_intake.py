"""Deletions taken in from events, from the deletion queue and from operators; asked about page by page."""

import asyncio
import random

import pytest

from services.cleanup_service.model.saga import SHARDS, Restore, Saga, State, Step
from services.cleanup_service.ports import Due, NodeKey
from services.cleanup_service.usecases.poll import Poller
from services.cleanup_service.usecases.workers import Workers
from shared.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from tests.support.cleanup_world import FakeSagas, World


async def test_a_deletion_without_retention_is_offered_at_once() -> None:
    world = World()
    world.add_note("now")
    world.add_note("later")
    await world.intake().node_deleted(world.delete("now"))
    await world.intake().node_deleted(world.delete("later", retention=1000))
    assert world.offered == [("u", "now")]


async def test_duplicates_and_late_deletions_change_nothing() -> None:
    world = World()
    world.add_note("n")
    first = world.delete("n", retention=1000)
    await world.intake().node_deleted(first)
    saga = world.sagas["u", "n"]
    assert await world.intake().node_deleted(first) is None
    assert world.sagas["u", "n"] == saga
    version = world.restore("n")
    assert version is not None
    await world.intake().node_restored(Restore("u", "n", version))
    assert await world.intake().node_deleted(first) is None
    assert world.sagas["u", "n"].state is State.CANCELLED


async def test_a_user_who_is_being_erased_gets_no_new_sagas() -> None:
    world = World(erasing={"u"})
    world.add_note("n")
    assert await world.intake().node_deleted(world.delete("n")) is None
    assert await world.intake().node_restored(Restore("u", "n", 9)) is None
    assert world.sagas == {}


async def test_queueing_hurries_a_deletion_and_twice_is_once() -> None:
    world = World()
    world.add_note("n")
    await world.intake().node_deleted(world.delete("n", retention=9000))
    first = await world.intake().queue("u", "n")
    assert first.due_ms == world.clock.now_ms()
    assert await world.intake().queue("u", "n") == first
    assert world.offered == [("u", "n")]


async def test_queueing_makes_up_for_a_lost_event() -> None:
    world = World()
    world.add_note("n")
    world.delete("n", retention=9000)
    saga = await world.intake().queue("u", "n")
    assert (saga.state, saga.version, saga.due_ms) == (State.PENDING, 2, world.clock.now_ms())


async def test_queueing_refuses_what_is_live_or_unknown() -> None:
    world = World()
    world.add_note("n")
    with pytest.raises(FailedPrecondition, match="live") as refused:
        await world.intake().queue("u", "n")
    assert refused.value.reason == "NOT_DELETED"
    with pytest.raises(NotFound):
        await world.intake().queue("u", "nobody")
    with pytest.raises(NotFound):
        await world.intake().get("u", "n")


async def test_queueing_what_is_done_answers_it() -> None:
    world = World()
    world.add_note("n")
    await world.intake().queue("u", world.delete("n").node_id)
    await world.runner().run("u", "n")
    assert (await world.intake().queue("u", "n")).state is State.DONE


async def test_a_retry_needs_a_failure_or_a_note_whose_event_was_lost() -> None:
    world = World()
    world.add_note("n")
    deletion = world.delete("n", retention=9000)
    saga = await world.intake().retry("u", "n")
    assert (saga.state, saga.version, saga.due_ms) == (State.PENDING, deletion.version, deletion.purge_ms)
    with pytest.raises(FailedPrecondition) as refused:
        await world.intake().retry("u", "n")
    assert refused.value.reason == "NOT_FAILED"
    with pytest.raises(NotFound):
        await world.intake().retry("u", "nobody")


async def test_a_retry_makes_up_for_the_lost_event_of_a_second_deletion() -> None:
    world = World()
    world.add_note("n")
    await world.intake().node_deleted(world.delete("n", retention=9000))
    version = world.restore("n")
    assert version
    await world.intake().node_restored(Restore("u", "n", version))
    with pytest.raises(FailedPrecondition):  # called off, and the note lives
        await world.intake().retry("u", "n")
    second = world.delete("n", retention=9000)  # nobody heard of it
    saga = await world.intake().retry("u", "n")
    assert (saga.state, saga.version, saga.due_ms) == (State.PENDING, second.version, second.purge_ms)


async def test_lists_of_a_user_are_paged_in_the_order_of_the_deletes() -> None:
    world = World()
    for node_id in ("c", "a", "e", "b", "d"):
        world.add_note(node_id)
        world.clock.ms += 10
        await world.intake().node_deleted(world.delete(node_id, retention=1000))
    version = world.restore("e")
    assert version
    await world.intake().node_restored(Restore("u", "e", version))
    assert await pages(world, "u", None, 2) == ["c", "a", "e", "b", "d"]
    assert await pages(world, "u", State.PENDING, 2) == ["c", "a", "b", "d"]
    assert await pages(world, "u", State.CANCELLED, 1) == ["e"]
    assert await pages(world, "v", None, 2) == []


async def test_lists_of_everybody_go_by_state_across_the_shards() -> None:
    world = World()
    expected = []
    for number in range(40):
        user = f"u{number % 7}"
        world.add_note(f"n{number}", user)
        world.clock.ms += 1
        await world.intake().node_deleted(world.delete(f"n{number}", user, retention=1000))
        expected.append(f"n{number}")
    assert await pages(world, "", State.PENDING, 7) == expected
    assert await pages(world, "", State.DONE, 7) == []
    with pytest.raises(InvalidArgument):
        await world.intake().list_state(None, "", 10)


async def pages(world: World, user: str, state: State | None, limit: int) -> list[str]:
    found: list[Saga] = []
    position = ""
    while True:
        intake = world.intake()
        page = await (
            intake.list_user(user, state, position, limit) if user else intake.list_state(state, position, limit)
        )
        assert len(page.sagas) <= limit
        found += page.sagas
        position = page.position
        if not position:
            return [saga.node_id for saga in found]


class Queue:
    """The deletion queue of a world, all in shard 3; `stale` names notes that it still holds though they are gone."""

    def __init__(self, world: World, stale: list[NodeKey] | None = None) -> None:
        self.world = world
        self.stale = stale or []

    async def due(self, shard: int, until_ms: int, after: str, limit: int) -> list[Due]:
        if shard != 3:
            return []
        keys = [key for key, note in self.world.notes.items() if note.deleted and note.purge_ms <= until_ms]
        dues = sorted((Due(*key, "#".join(key)) for key in keys + self.stale), key=lambda due: due.position)
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
) -> Poller:
    async def submit(user_id: str, node_id: str) -> None:
        submitted.append((user_id, node_id))

    queue = more.get("queue") or Queue(world)
    assert isinstance(queue, Queue)
    return Poller(
        store=FakeSagas(world),
        queue=queue,
        leases=leases or Leases(),
        intake=world.intake(),
        submit=submit,
        clock=world.clock,
        rng=random.Random(1),
        owner=owner,
    )


async def test_a_lost_event_loses_nothing() -> None:
    world = World()
    for number in range(230):  # more than two pages
        world.add_note(f"n{number}")
        world.delete(f"n{number}", retention=100)
    submitted: list[NodeKey] = []
    assert await poller(world, submitted).poll() == 0
    assert world.sagas == {}
    world.clock.ms += 100
    await poller(world, submitted).poll()
    await poller(world, submitted).poll()
    assert {node_id for _, node_id in submitted} == {f"n{number}" for number in range(230)}


async def test_the_queue_may_be_behind() -> None:
    world = World()
    world.add_note("live")
    submitted: list[NodeKey] = []
    await poller(world, submitted, queue=Queue(world, [("u", "live"), ("u", "purged")])).poll()
    assert world.sagas == {}


async def test_abandoned_sagas_are_found_when_their_lease_ends() -> None:
    world = World()
    world.add_note("n")
    await world.intake().queue("u", world.delete("n").node_id)

    def down(name: str) -> None:
        if name == "graph.detach":
            raise Unavailable("no")

    world.at = down
    await world.runner().run("u", "n")
    submitted: list[NodeKey] = []
    await poller(world, submitted).poll()
    assert submitted == []
    world.clock.ms = world.sagas["u", "n"].attention_ms
    await poller(world, submitted).poll()
    assert submitted == [("u", "n")]
    assert world.sagas["u", "n"].step is Step.DETACH


async def test_replicas_share_the_shards_and_inherit_those_of_the_dead() -> None:
    world = World()
    for number in range(50):
        world.add_note(f"n{number}")
        await world.intake().node_deleted(world.delete(f"n{number}"))
    leases = Leases()
    first: list[NodeKey] = []
    second: list[NodeKey] = []
    await asyncio.gather(
        poller(world, first, owner="a", leases=leases).poll(), poller(world, second, owner="b", leases=leases).poll()
    )
    assert len(first) + len(second) == 50
    assert len(leases.holders) == SHARDS
    again: list[NodeKey] = []
    await poller(world, again, owner="c", leases=leases).poll()
    assert again == []
    world.clock.ms += 30_000
    await poller(world, again, owner="c", leases=leases).poll()
    assert len(again) == 50


async def test_one_shard_that_fails_does_not_stop_the_others() -> None:
    world = World()
    for number in range(50):
        world.add_note(f"n{number}")
        await world.intake().node_deleted(world.delete(f"n{number}"))

    class Broken(Leases):
        async def acquire(self, shard: int, owner: str, now_ms: int, lease_ms: int) -> bool:
            if shard == 5:
                raise Unavailable("throttled")
            return True

    submitted: list[NodeKey] = []
    with pytest.raises(Unavailable):
        await poller(world, submitted, leases=Broken()).poll()
    assert 30 < len(submitted) < 50


async def test_workers_run_a_bounded_number_and_none_twice() -> None:
    running: set[str] = set()
    most = 0
    ran: list[str] = []
    gate = asyncio.Event()

    async def run(user_id: str, node_id: str) -> None:
        nonlocal most
        assert node_id not in running
        running.add(node_id)
        most = max(most, len(running))
        await gate.wait()
        running.discard(node_id)
        ran.append(node_id)
        if node_id == "n1":
            raise Unavailable("the store is down: not a reason to stop")

    workers = Workers(run, 2)
    task = asyncio.ensure_future(workers.work())
    assert [workers.offer("u", f"n{number}") for number in range(4)] == [True, True, False, False]
    assert workers.offer("u", "n1")  # waits already
    submits = [asyncio.ensure_future(workers.submit("u", f"n{number}")) for number in range(2, 6)]
    while most < 2:
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*submits)
    while len(ran) < 6:
        await asyncio.sleep(0)
    assert sorted(ran) == [f"n{number}" for number in range(6)]
    assert most == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
