"""The saga as pure code: the effect of deletions and restores in any order."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cleanup_service.model import saga as sagas
from services.cleanup_service.model.saga import Cascade, Deletion, Restore, Saga, State, Step

GONE = Deletion("u", "n", 2, 1000, 5000, Cascade.EDGES)
BACK = Restore("u", "n", 3)


def fresh() -> Saga:
    return sagas.begin(GONE, 1000, "deleted")


def test_a_deletion_waits_for_the_end_of_the_retention() -> None:
    saga = sagas.deleted(None, GONE, 1000, "deleted")
    assert saga is not None
    assert (saga.state, saga.step, saga.due_ms) == (State.PENDING, Step.FENCE, 5000)
    assert not sagas.claimable(saga, 4999)
    assert sagas.claimable(saga, 5000)


def test_the_steps_come_in_their_order_and_end_in_done() -> None:
    saga, seen = sagas.claimed(fresh(), "a", 5000, 100), []
    while not saga.ended:
        seen.append(saga.step)
        saga = sagas.advanced(saga, 5001, "ok")
    assert seen == list(Step)
    assert (saga.state, saga.lease, saga.attempts) == (State.DONE, None, 0)


def test_a_lease_keeps_others_away_until_it_ends() -> None:
    saga = sagas.claimed(fresh(), "a", 5000, 100)
    assert not sagas.claimable(saga, 5099)
    assert sagas.claimable(saga, 5100)


def test_a_restore_cancels_until_the_fence_and_never_after_it() -> None:
    called_off = sagas.restored(fresh(), BACK, 2000)
    assert called_off is not None
    assert (called_off.state, called_off.version) == (State.CANCELLED, 3)
    fenced = sagas.advanced(sagas.claimed(fresh(), "a", 5000, 100), 5000, "fenced")
    assert sagas.restored(fenced, BACK, 5001) is None
    stuck = sagas.failed(fenced, 6000, "no")
    assert sagas.restored(stuck, BACK, 6001) is None


def test_a_saga_that_failed_before_the_fence_can_be_called_off() -> None:
    stuck = sagas.failed(sagas.claimed(fresh(), "a", 5000, 100), 6000, "no")
    called_off = sagas.restored(stuck, BACK, 6001)
    assert called_off is not None
    assert called_off.state is State.CANCELLED


@given(st.permutations(range(5)), st.lists(st.integers(0, 4), max_size=5))
def test_events_in_any_order_and_number_come_to_what_the_last_version_says(order: list[int], again: list[int]) -> None:
    """Versions 2..6 are delete, restore, delete, restore, delete: in any order, some twice; the last one decides."""
    saga: Saga | None = None
    for position in [*order, *again]:
        version = position + 2
        if version % 2 == 0:
            changed = sagas.deleted(saga, Deletion("u", "n", version, version * 100, version * 100 + 50), 9000, "x")
        else:
            changed = sagas.restored(saga, Restore("u", "n", version), 9000)
        saga = changed or saga
    assert saga is not None
    assert (saga.state, saga.version, saga.due_ms) == (State.PENDING, 6, 650)


def test_a_late_deletion_after_its_restore_changes_nothing() -> None:
    tombstone = sagas.restored(None, BACK, 2000)
    assert tombstone is not None
    assert tombstone.state is State.CANCELLED
    assert sagas.deleted(tombstone, GONE, 3000, "late") is None


def test_a_saga_under_way_is_not_touched_by_another_deletion() -> None:
    fenced = sagas.advanced(sagas.claimed(fresh(), "a", 5000, 100), 5000, "fenced")
    assert sagas.deleted(fenced, Deletion("u", "n", 4, 6000, 6000), 6000, "x") is None


def test_a_note_written_anew_after_its_purge_can_be_deleted_again() -> None:
    saga = sagas.claimed(fresh(), "a", 5000, 100)
    for _ in Step:
        saga = sagas.advanced(saga, 5001, "ok")
    assert sagas.deleted(saga, GONE, 6000, "a duplicate") is None
    again = Deletion("u", "n", 2, 7000, 8000, incarnation=6500)
    anew = sagas.deleted(saga, again, 7000, "deleted")
    assert anew is not None
    assert (anew.state, anew.step, anew.due_ms) == (State.PENDING, Step.FENCE, 8000)
    assert [entry.message for entry in anew.history][-2:] == ["ok", "deleted"]
    assert sagas.deleted(anew, GONE, 7000, "a duplicate of the old life") is None
    void = sagas.restored(saga, Restore("u", "n", 3, 6500), 7000)
    assert void is not None
    assert sagas.deleted(void, again, 7000, "late") is None


def test_attempts_count_from_the_claim_and_start_again_with_a_step() -> None:
    saga = sagas.claimed(fresh(), "a", 5000, 100)
    saga = sagas.claimed(sagas.attempt_failed(saga, 5000, "no", 10), "b", 5010, 100)
    assert saga.attempts == 2
    assert sagas.advanced(saga, 5011, "ok").attempts == 1
    assert sagas.released(saga, 5011).attempts == 1


@pytest.mark.parametrize("fenced", [False, True])
def test_a_failed_saga_goes_on_where_it_stopped(fenced: bool) -> None:
    saga = sagas.claimed(fresh(), "a", 5000, 100)
    if fenced:
        saga = sagas.advanced(saga, 5000, "fenced")
    again = sagas.retried(sagas.failed(saga, 6000, "no"), 7000)
    assert (again.state, again.step) == (State.RUNNING if fenced else State.PENDING, saga.step)
    assert sagas.claimable(again, 7000)
    assert not sagas.claimable(sagas.failed(saga, 6000, "no"), 9999)


def test_the_history_is_bounded_and_keeps_the_newest() -> None:
    saga = fresh()
    for number in itertools.count(1):
        if number > 80:
            break
        saga = sagas.attempt_failed(sagas.claimed(saga, "a", 5000, 100), 5000, f"no {number}", 10)
    assert len(saga.history) == sagas.HISTORY_LIMIT
    assert saga.history[-1].message.endswith("no 80")
