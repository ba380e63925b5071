"""News of a note, twice, late and in any order."""

from itertools import permutations

import pytest

from services.similarity_service.model.stored import Stored
from shared.errors import Aborted
from tests.support.similarity_fakes import note

CREATED = ("write", 1, "first")
UPDATED = ("write", 2, "second")
DELETED = ("hide", 3, "")
RESTORED = ("show", 4, "second")


def hear(stored: Stored, news: tuple[str, int, str], incarnation: int = 5) -> Stored:
    kind, version, text = news
    if kind == "write":
        return stored.written(note("a", text, version=version, incarnation=incarnation)) or stored
    if kind == "show":
        again = stored.written(note("a", text, version=version, incarnation=incarnation)) or stored
        return again.with_visibility(version, visible=True, incarnation=incarnation) or again
    return stored.with_visibility(version, visible=False, incarnation=incarnation) or stored


@pytest.mark.parametrize("order", list(permutations([CREATED, UPDATED, DELETED, UPDATED])))
def test_a_deletion_wins_whatever_the_order(order: tuple[tuple[str, int, str], ...]) -> None:
    stored = Stored()
    for news in order:
        stored = hear(stored, news)
    assert stored.shown is None
    assert stored.note is not None
    assert stored.note.title == "second"


@pytest.mark.parametrize("order", list(permutations([CREATED, UPDATED, DELETED, RESTORED])))
def test_a_restore_wins_whatever_the_order(order: tuple[tuple[str, int, str], ...]) -> None:
    stored = Stored()
    for news in order:
        stored = hear(stored, news)
    assert stored.shown is not None
    assert stored.shown.title == "second"


def test_a_deletion_that_comes_before_anything_else() -> None:
    stored = hear(Stored(), DELETED)
    assert hear(stored, UPDATED).shown is None
    assert hear(hear(stored, UPDATED), ("write", 4, "x")).shown is not None


def test_the_call_that_hides_knows_no_incarnation() -> None:
    stored = hear(Stored(), CREATED)
    hidden = stored.with_visibility(2, visible=False)
    assert hidden is not None
    assert hidden.shown is None
    assert hidden.incarnation == 5
    assert hidden.with_visibility(2, visible=False) is None
    assert hidden.with_visibility(1, visible=True) is None


def test_a_new_incarnation_begins_anew() -> None:
    gone = hear(Stored(), CREATED).removed(1, incarnation=5)
    assert gone is not None
    assert gone.gone
    assert hear(gone, UPDATED) == gone  # late news of what was purged
    assert hear(gone, DELETED) == gone
    again = hear(gone, CREATED, incarnation=6)
    assert again.shown is not None
    assert again.removed(9, incarnation=5) is None  # the purge of the old one
    assert again.shown.version == 1


def test_only_what_was_seen_deleted_is_removed() -> None:
    stored = hear(hear(Stored(), CREATED), UPDATED)
    with pytest.raises(Aborted) as caught:
        stored.removed(1)
    assert caught.value.reason == "VERSION_MISMATCH"
    gone = stored.removed(3)
    assert gone is not None
    assert gone.removed(3) is None


def test_the_same_version_analysed_again() -> None:
    stored = hear(Stored(), CREATED)
    again = note("a", "first", version=1, incarnation=5)
    assert stored.written(again) is None
    assert stored.written(again, again=True) is not None
