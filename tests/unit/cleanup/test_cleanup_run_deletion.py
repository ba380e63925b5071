"""Sagas run to their end whatever happens: crashes at every point, restores that race, failures, replicas."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import Cascade, State, Step
from services.cleanup_service.ports import edge_key
from services.cleanup_service.usecases.retry_deletion import retry_deletion
from services.cleanup_service.usecases.run_deletion import RetryPolicy
from shared.errors import FailedPrecondition, Unavailable
from shared.resilience.retry import Backoff
from tests.support.cleanup_world import Crash, FakeSimilarity, World

KEY = ("u", "n")


def world(cascade: Cascade = Cascade.EDGES) -> World:
    """Note n with five edges; c has no other edge, d was edited, b is linked to e, f's other neighbour is deleted."""
    found = World()
    for node_id in "nabcdefg":
        found.add_note(node_id)
    for other in "abcdf":
        found.link("n", other)
    found.link("b", "e")
    found.link("a", "b")
    found.link("f", "g")
    found.notes["u", "d"].version = 2
    found.delete("g", retention=10_000)
    deletion = found.delete("n", cascade=cascade)
    saga = sagas.begin(deletion, found.clock.now_ms(), "deleted")
    found.sagas[KEY] = replace(saga, revision="r0")
    return found


def outcome(found: World) -> object:
    """What must be the same however the saga got there."""
    saga = found.sagas[KEY]
    return {
        "state": (saga.state, saga.step, saga.removed_edges, saga.error, saga.lease),
        "notes": {key: (note.version, note.deleted) for key, note in found.notes.items()},
        "links": found.links,
        "index": found.index,
        "archive": found.archived.get(saga.archive_uri),
        "published": len(found.published),
    }


async def finish(found: World, *, archives: bool = True) -> int:
    """Runs the saga on ever new replicas until it is over; how many it took."""
    for number in range(1, 100):
        saga = found.sagas[KEY]
        if saga.ended or saga.state is State.FAILED:
            return number - 1
        found.clock.ms = max(found.clock.ms, saga.queue_time_ms)
        await found.runner(f"replica-{number}", archives=archives).run_deletion(*KEY)
    raise AssertionError(f"never over: {found.sagas[KEY]}")


async def test_a_saga_archives_detaches_unindexes_and_purges() -> None:
    found = world()
    links = {link for link in found.links["u"] if "n" in link}
    await finish(found)
    saga = found.sagas[KEY]
    assert (saga.state, saga.removed_edges) == (State.DONE, 5)
    assert KEY not in found.notes
    assert KEY not in found.index
    assert not any("n" in link for link in found.links["u"])
    assert found.archived[saga.archive_uri]["edges"] == {f"{low}#{high}#related" for low, high in links}
    assert [one.node_id for one in found.published] == ["n"]
    order = [call for call in found.calls if call in ("nodes.fenced", "archives.written", "graph.detached")]
    assert order.index("archives.written") < order.index("graph.detached")


@pytest.mark.parametrize("cascade", list(Cascade))
@pytest.mark.parametrize("archives", [True, False])
async def test_a_crash_at_any_point_comes_to_the_same_end(cascade: Cascade, archives: bool) -> None:
    calm = world(cascade)
    await finish(calm, archives=archives)
    points = len(calm.calls)
    assert points > 20
    for point in range(points):
        found = world(cascade)
        found.at = crash_at(point)
        with pytest.raises(Crash):
            await found.runner("dies", archives=archives).run_deletion(*KEY)
        found.at = lambda _: None
        await finish(found, archives=archives)
        assert outcome(found) == outcome(calm), f"crashed at {point}: {calm.calls[point]}"


async def test_crashes_one_after_the_other_come_to_the_same_end() -> None:
    calm = world(Cascade.ORPHANS)
    await finish(calm)
    for seed in range(50):
        rng = random.Random(seed)
        found = world(Cascade.ORPHANS)
        for _ in range(5):
            found.at = crash_at(rng.randrange(12))
            found.clock.ms = max(found.clock.ms, found.sagas[KEY].queue_time_ms)
            try:
                await found.runner().run_deletion(*KEY)
            except Crash:
                pass
        found.at = lambda _: None
        await finish(found)
        assert outcome(found) == outcome(calm), f"seed {seed}"


async def test_orphans_go_along_and_nobody_else() -> None:
    found = world(Cascade.ORPHANS)
    await finish(found)
    gone = {node_id for (_, node_id), note in found.notes.items() if note.deleted}
    # c had only this edge; a and b have others, d was edited, f's neighbour g may come back.
    assert gone == {"c", "g"}
    assert found.restore("c") == 3


async def test_without_the_cascade_neighbours_stay() -> None:
    found = world()
    await finish(found)
    assert {node_id for (_, node_id), note in found.notes.items() if note.deleted} == {"g"}


async def test_a_restore_at_any_point_wins_whole_or_loses_whole() -> None:
    calm = world()
    await finish(calm)
    wins = losses = 0
    for point in range(len(calm.calls)):
        found = world()
        before = {link for link in found.links["u"] if "n" in link}
        versions: list[int | None] = []

        def restore(found: World = found, versions: list[int | None] = versions) -> None:
            versions.append(found.restore("n"))

        found.at = once_at(point, restore)
        await finish(found)
        saga = found.sagas[KEY]
        if versions[0] is not None:
            wins += 1
            assert saga.state is State.CANCELLED
            assert not found.notes[KEY].fenced
            assert {link for link in found.links["u"] if "n" in link} == before
            assert KEY in found.index
        else:
            losses += 1
            assert saga.state is State.DONE
            assert KEY not in found.notes
    assert wins > 0
    assert losses > 0


async def test_nothing_is_purged_while_the_archive_is_down_and_a_retry_goes_on() -> None:
    found = world()

    def down(name: str) -> None:
        if name == "archives.write":
            raise Unavailable("S3 is down")

    found.at = down
    tries = await finish(found)
    saga = found.sagas[KEY]
    assert tries == RetryPolicy().max_attempts
    assert (saga.state, saga.step) == (State.FAILED, Step.ARCHIVE)
    assert "S3 is down" in saga.error
    assert KEY in found.notes
    assert sum("n" in link for link in found.links["u"]) == 5
    found.at = lambda _: None
    retried = await retry_deletion(found.deletions(), *KEY)
    assert retried.state is State.RUNNING
    assert found.offered == [KEY]
    await finish(found)
    assert found.sagas[KEY].state is State.DONE


async def test_waits_between_attempts_grow_and_are_bounded() -> None:
    found = world()
    found.at = raise_at("nodes.fence", Unavailable("down"))
    waits = []
    policy = RetryPolicy(max_attempts=6, backoff=Backoff(base=1.0, cap=4.0))
    while found.sagas[KEY].state is State.PENDING:
        found.clock.ms = found.sagas[KEY].queue_time_ms
        await found.runner(policy=policy).run_deletion(*KEY)
        waits.append(found.sagas[KEY].due_ms - found.clock.ms)
    assert len(waits) == 6
    assert all(wait <= 4000 for wait in waits)
    assert max(waits) > 1000
    assert found.sagas[KEY].state is State.FAILED


async def test_what_will_never_work_fails_at_once() -> None:
    found = world()
    found.at = raise_at("similarity.remove", FailedPrecondition("no", reason="NOPE"))
    await finish(found)
    saga = found.sagas[KEY]
    assert (saga.state, saga.step, saga.attempts) == (State.FAILED, Step.UNINDEX, 1)
    assert saga.error == "NOPE: no"


async def test_a_step_that_always_kills_its_process_ends_as_failed() -> None:
    found = world()
    for _ in range(RetryPolicy().max_attempts):
        found.at = raise_at("graph.detach", Crash())
        found.clock.ms = max(found.clock.ms, found.sagas[KEY].queue_time_ms)
        with pytest.raises(Crash):
            await found.runner().run_deletion(*KEY)
    await finish(found)
    assert found.sagas[KEY].state is State.FAILED


async def test_of_many_replicas_one_does_the_work() -> None:
    found = world()
    runners = [found.runner(f"replica-{number}") for number in range(8)]
    results = await asyncio.gather(*(runner.run_deletion(*KEY) for runner in runners))
    assert sum(result is not None for result in results) == 1
    assert found.calls.count("nodes.purged") == 1
    assert found.calls.count("archives.written") == 1
    assert len(found.published) == 1


async def test_a_replica_that_was_paused_past_its_lease_changes_no_state() -> None:
    """It wakes at each point of the run, after another replica has finished the saga."""
    calm = world()
    await finish(calm)
    for point in range(2, len(calm.calls)):
        found = world()

        def overtaken(found: World = found) -> None:
            found.at = lambda _: None
            found.clock.ms += RetryPolicy().lease_ms
            at_once(found.runner("quick").run_deletion(*KEY))

        found.at = once_at(point, overtaken)
        await found.runner("slow").run_deletion(*KEY)
        await finish(found)
        assert outcome(found) == outcome(calm), f"paused at {point}: {calm.calls[point]}"


async def test_an_edge_that_slips_in_late_gets_into_the_archive_too() -> None:
    found = world()
    found.add_note("late")
    found.at = once_at_name("graph.detach", lambda: found.link("n", "late"))
    await finish(found)
    saga = found.sagas[KEY]
    assert saga.removed_edges == 6
    late = edge_key({"source_id": "late", "target_id": "n", "type": "related"})
    assert late in found.archived[saga.archive_uri]["edges"]


async def test_a_shutdown_gives_the_saga_back_at_once() -> None:
    found = world()

    async def run() -> None:
        await found.runner().run_deletion(*KEY)

    task = asyncio.ensure_future(run())

    def stop(name: str) -> None:
        if name == "archives.write":
            raise asyncio.CancelledError

    found.at = stop
    with pytest.raises(asyncio.CancelledError):
        await task
    saga = found.sagas[KEY]
    assert (saga.lease, saga.attempts, saga.step) == (None, 0, Step.ARCHIVE)
    assert sagas.claimable(saga, found.clock.now_ms())


async def test_a_long_step_keeps_its_lease_while_its_process_lives() -> None:
    found = world()
    beats: asyncio.Queue[None] = asyncio.Queue()
    stuck, slept = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        assert seconds == RetryPolicy().lease_ms / 3000
        slept.set()
        await beats.get()

    class Slow(FakeSimilarity):
        async def remove_node(self, user_id: str, node_id: str, version: int) -> None:
            await stuck.wait()
            await super().remove_node(user_id, node_id, version)

    task = asyncio.ensure_future(found.runner(sleep=sleep, similarity=Slow(found)).run_deletion(*KEY))
    await slept.wait()
    while found.sagas[KEY].step is not Step.UNINDEX:
        await asyncio.sleep(0)
    for _ in range(5):
        found.clock.ms += RetryPolicy().lease_ms // 2
        lease = found.sagas[KEY].lease
        beats.put_nowait(None)
        while found.sagas[KEY].lease == lease:
            await asyncio.sleep(0)
        assert await found.runner("another").run_deletion(*KEY) is None
    stuck.set()
    await task
    assert found.sagas[KEY].state is State.DONE
    assert found.calls.count("similarity.remove") == 1


async def test_a_step_that_hangs_is_cut_off_and_tried_again() -> None:
    found = world()
    never = asyncio.Event()

    class Hanging(FakeSimilarity):
        async def remove_node(self, user_id: str, node_id: str, version: int) -> None:
            await never.wait()

    saga = await found.runner(similarity=Hanging(found), policy=RetryPolicy(step_seconds=0.01)).run_deletion(*KEY)
    assert saga is not None
    assert (saga.step, saga.error, saga.lease) == (Step.UNINDEX, "the step took too long", None)
    await finish(found)
    assert found.sagas[KEY].state is State.DONE


def at_once(run: Coroutine[Any, Any, object]) -> None:
    """The fakes never really wait, so a whole run fits into one moment of another."""
    try:
        while True:
            run.send(None)
    except StopIteration:
        pass


def crash_at(point: int) -> Callable[[str], None]:
    def crash() -> None:
        raise Crash

    return once_at(point, crash)


def once_at(point: int, do: Callable[[], object]) -> Callable[[str], None]:
    passed = -1

    def at(_: str) -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            do()

    return at


def once_at_name(wanted: str, do: Callable[[], object]) -> Callable[[str], None]:
    done = False

    def at(name: str) -> None:
        nonlocal done
        if name == wanted and not done:
            done = True
            do()

    return at


def raise_at(wanted: str, error: BaseException) -> Callable[[str], None]:
    def at(name: str) -> None:
        if name == wanted:
            raise error

    return at
