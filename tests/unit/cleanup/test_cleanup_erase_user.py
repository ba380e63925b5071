"""ErasureStatus a user: everything goes, whatever crashes and whatever still arrives; nobody else loses anything."""

import asyncio

import pytest

from services.cleanup_service.model import erasure as erasures
from services.cleanup_service.model.erasure import Phase
from shared.errors import NotFound, Unavailable
from tests.support.cleanup_world import Crash, World

KINDS = ("edges", "index", "cache", "archives", "records")


def world() -> World:
    found = World()
    for user in ("u", "v"):
        for number in range(7):
            found.add_note(f"n{number}", user)
        found.link("n0", "n1", user)
        found.link("n0", "n2", user)
        for kind in KINDS:
            found.rest[kind, user] = 3
    found.delete("n5")
    return found


def left_of(found: World, user: str) -> object:
    return (
        [key for key in found.notes if key[0] == user],
        sorted(found.links.get(user, ())),
        [key for key in found.index if key[0] == user],
        [key for key in found.rest if key[1] == user],
        [key for key in found.sagas if key[0] == user],
        user in found.erasing,
    )


async def finish(found: World, erasure_id: str, quiet_ms: int = 5000) -> None:
    for number in range(200):
        erasure = found.erasures[erasure_id]
        if erasure.done:
            return
        found.clock.ms = max(found.clock.ms, erasure.queue_time_ms)
        await found.eraser(f"replica-{number}", quiet_ms=quiet_ms).run_erasure(erasure_id)
    raise AssertionError(found.erasures[erasure_id])


async def test_everything_of_the_user_goes_and_nothing_of_others() -> None:
    found = world()
    others = left_of(found, "v")
    erasure = await found.eraser().erase_user("u")
    await finish(found, erasure.erasure_id)
    assert left_of(found, "u") == ([], [], [], [], [], False)
    assert left_of(found, "v") == others
    receipt = found.erasures[erasure.erasure_id]
    assert dict(receipt.removed) == {"nodes": 7, **dict.fromkeys(KINDS, 3)}
    assert receipt.user_id == ""
    assert receipt.user_digest == erasures.user_digest(receipt.erasure_id, "u")
    assert receipt.end_ms - receipt.start_ms >= 5000


async def test_a_crash_at_any_point_loses_nothing() -> None:
    calm = world()
    calm_id = (await calm.eraser().erase_user("u")).erasure_id
    calm.calls.clear()
    await calm.eraser().run_erasure(calm_id)
    points = len(calm.calls)
    assert points > 50
    for point in range(points):
        found = world()
        erasure_id = (await found.eraser().erase_user("u")).erasure_id
        passed = -1

        def crash(_: str, point: int = point) -> None:
            nonlocal passed
            passed += 1
            if passed == point:
                raise Crash

        found.at = crash
        with pytest.raises(Crash):
            await found.eraser("dies").run_erasure(erasure_id)
        found.at = lambda _: None
        await finish(found, erasure_id)
        assert left_of(found, "u") == ([], [], [], [], [], False), calm.calls[point]


async def test_what_arrives_late_goes_too_and_starts_the_quiet_time_again() -> None:
    found = world()
    erasure_id = (await found.eraser().erase_user("u")).erasure_id
    await found.eraser().run_erasure(erasure_id)
    found.clock.ms = found.erasures[erasure_id].queue_time_ms
    await found.eraser().run_erasure(erasure_id)
    quiet_since = found.erasures[erasure_id].quiet_since_ms
    assert quiet_since
    found.rest["index", "u"] = 1  # a consumer of an old event
    found.clock.ms = found.erasures[erasure_id].queue_time_ms
    await found.eraser().run_erasure(erasure_id)
    assert not found.erasures[erasure_id].done
    await finish(found, erasure_id)
    assert left_of(found, "u") == ([], [], [], [], [], False)
    assert found.erasures[erasure_id].end_ms >= quiet_since + 10_000


async def test_two_calls_are_one_erasure_and_later_ones_are_new() -> None:
    found = world()
    first = await found.eraser().erase_user("u")
    assert (await found.eraser().erase_user("u")).erasure_id == first.erasure_id
    await finish(found, first.erasure_id)
    second = await found.eraser().erase_user("u")
    assert second.erasure_id != first.erasure_id
    with pytest.raises(NotFound):
        await found.eraser().get_erasure("nope")


async def test_an_erasure_is_read_by_its_user_and_by_operators() -> None:
    found = World()
    erasure = await found.eraser().erase_user("ada")
    read = found.eraser().get_erasure
    assert await read(erasure.erasure_id) == await read(erasure.erasure_id, "ada")
    for other in ("bob", "", "Ada"):
        with pytest.raises(NotFound):
            await read(erasure.erasure_id, other)


async def test_a_store_that_is_down_holds_it_up_and_is_named() -> None:
    found = world()
    erasure_id = (await found.eraser().erase_user("u")).erasure_id

    def down(name: str) -> None:
        if name == "partition.cache":
            raise Unavailable("Redis is down", reason="CACHE_UNREACHABLE")

    found.at = down
    await found.eraser().run_erasure(erasure_id)
    held = found.erasures[erasure_id]
    assert (held.phase, held.error, held.lease) == (Phase.CACHE, "CACHE_UNREACHABLE: Redis is down", None)
    assert held.removed["nodes"] == 7
    found.at = lambda _: None
    await finish(found, erasure_id)
    assert found.erasures[erasure_id].error == ""


async def test_one_replica_works_on_it_at_a_time() -> None:
    found = world()
    erasure_id = (await found.eraser().erase_user("u")).erasure_id
    results = await asyncio.gather(*(found.eraser(f"r{number}").run_erasure(erasure_id) for number in range(4)))
    assert sum(result is not None for result in results) == 1


async def test_the_loop_finds_what_is_due_and_wakes_for_what_is_new() -> None:
    found = world()
    eraser = found.eraser(quiet_ms=0)
    loop = asyncio.ensure_future(eraser.run_forever(3600))
    await asyncio.sleep(0)
    erasure_id = (await eraser.erase_user("u")).erasure_id
    while found.erasures[erasure_id].round == 1:
        await asyncio.sleep(0)
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop
    assert found.erasures[erasure_id].lease is None


async def test_an_erasure_is_in_the_ledger_before_it_is_answered_and_before_anything_goes() -> None:
    found = world()
    erasure = await found.eraser().erase_user("u")
    assert [(record.erasure_id, record.user_id) for record in found.ledger] == [(erasure.erasure_id, "u")]
    assert found.ledger[0].start_ms == erasure.start_ms


async def test_an_erasure_whose_ledger_is_down_is_refused_and_removes_nothing_until_it_is_written() -> None:
    found = world()

    def down(name: str) -> None:
        if name == "ledger.write":
            raise Unavailable("S3 is down", reason="STORE_UNREACHABLE")

    found.at = down
    with pytest.raises(Unavailable):
        await found.eraser().erase_user("u")
    # It is in the table all the same: a repeated call finds it, and so does the loop.
    [erasure_id] = found.erasures
    await found.eraser().run_erasure(erasure_id)
    assert len([key for key in found.notes if key[0] == "u"]) == 7
    assert found.erasures[erasure_id].error == "STORE_UNREACHABLE: S3 is down"
    found.at = lambda _: None
    await finish(found, erasure_id)
    assert {record.erasure_id for record in found.ledger} == {erasure_id}
