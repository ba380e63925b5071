"""A poll that finds nothing leaves out rounds, until something may be there again."""

from shared.resilience.pace import IdlePace


def rounds(pace: IdlePace, count: int, found: bool = False) -> list[bool]:
    """Which of the next rounds are made."""
    made = []
    for _ in range(count):
        made.append(pace.due())
        if made[-1]:
            pace.found(found)
    return made


def test_rounds_are_left_out_after_some_that_found_nothing() -> None:
    assert rounds(IdlePace(after=3, rests=2), 9) == [True, True, True, False, False, True, False, False, True]


def test_what_is_found_ends_the_rest() -> None:
    pace = IdlePace(after=1, rests=2)
    assert rounds(pace, 4, found=True) == [True] * 4
    assert rounds(pace, 3) == [True, False, False]
    assert rounds(pace, 3, found=True) == [True] * 3


def test_being_busy_ends_the_rest_at_once() -> None:
    pace = IdlePace(after=2, rests=5)
    assert rounds(pace, 3) == [True, True, False]
    pace.busy()
    assert rounds(pace, 3) == [True, True, False]
