"""How long a message waits after a failure, when it is given up, and when it is handled alone."""

import pytest

from shared.errors import Aborted, Internal, ResourceExhausted
from shared.events.failures import BACKOFFS, HINDRANCE_BACKOFFS, MOST_FAILURES, MOST_RECEIVES, Failures
from shared.events.queue import Message


def message(receives: int = 1, id: str = "m") -> Message:
    return Message(body="", handle="h", id=id, receives=receives)


def test_waits_follow_the_known_failures_and_the_fifth_is_enough() -> None:
    failures = Failures()
    for n, wait in enumerate(BACKOFFS, start=1):
        assert not failures.are_enough(message())
        # It was received once more than it failed: a process that was killed had it.
        assert failures.add(message(receives=n + 1), Internal("bug")) == wait
    assert len(BACKOFFS) == MOST_FAILURES
    assert failures.are_enough(message())
    failures.forget(message())
    assert not failures.are_enough(message())


@pytest.mark.parametrize("error", [Aborted("another writer"), ResourceExhausted("throttled")])
def test_what_only_hinders_is_tried_again_soon_and_is_no_failure(error: Exception) -> None:
    failures = Failures()
    waits = [failures.add(message(receives=n), error) for n in range(1, MOST_RECEIVES)]
    assert waits == [*HINDRANCE_BACKOFFS, 16, 16, 60, 240]
    assert not failures.are_enough(message())
    assert failures.add(message(), Internal("bug")) == BACKOFFS[0]


def test_the_last_receives_last_for_minutes_even_if_each_failure_is_known_to_another_process() -> None:
    waits = [Failures().add(message(receives=n), Internal("down")) for n in range(1, MOST_RECEIVES)]
    assert waits == [2, 2, 2, 2, 2, 2, 10, 60, 240]
    assert sum(waits) > 300


def test_a_message_that_was_lost_three_times_is_suspect() -> None:
    failures = Failures()
    assert [failures.is_suspect(message(receives=n)) for n in range(1, 6)] == [False, False, False, True, True]
    failures.add(message(receives=4), Internal("bug"))
    assert not failures.is_suspect(message(receives=4)), "it was a failure, and did not end the process"
    assert failures.is_suspect(message(receives=5)), "three of four receives are unexplained"


def test_the_one_that_has_not_failed_for_longest_is_forgotten_first() -> None:
    failures = Failures(remembered=2)
    for _ in range(MOST_FAILURES):
        for id in ("a", "b"):
            failures.add(message(id=id), Internal("bug"))
    failures.add(message(id="a"), Internal("bug"))
    failures.add(message(id="c"), Internal("bug"))
    assert [failures.are_enough(message(id=id)) for id in ("a", "b", "c")] == [True, False, False]
