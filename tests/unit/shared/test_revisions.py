"""Consistency tokens: the revisions of one write, or of several whose tokens commas join."""

import pytest

from shared import revisions
from shared.errors import InvalidArgument


def test_joined_tokens_have_the_newest_revision_of_each_note() -> None:
    first = revisions.encode({"a": (5, 1), "b": (7, 9)})
    second = revisions.encode({"b": (8, 1), "c": (2, 3)})
    wanted = {"a": (5, 1), "b": (8, 1), "c": (2, 3)}
    assert revisions.decode(f"{first},{second}") == wanted
    assert revisions.decode(f"{second},{first}") == wanted
    assert revisions.decode(first) == {"a": (5, 1), "b": (7, 9)}
    assert revisions.decode("") == {}


def test_one_bad_token_among_good_ones_is_refused() -> None:
    token = revisions.encode({"a": (5, 1)})
    for text in (f"{token},x", f"x,{token}", f"{token};{token}", f"{token} ,{token}"):
        with pytest.raises(InvalidArgument) as refused:
            revisions.decode(text)
        assert refused.value.reason == "CONSISTENCY_TOKEN_INVALID"


def test_joined_tokens_name_a_hundred_notes_at_most() -> None:
    tokens = [
        revisions.encode({f"n{each}": (1, 1) for each in range(first, first + 20)}) for first in range(0, 120, 20)
    ]
    assert len(revisions.decode(",".join(tokens[:5]))) == 100
    with pytest.raises(InvalidArgument) as refused:
        revisions.decode(",".join(tokens))
    violation = refused.value.violations[0]
    assert (violation.field, violation.description) == (
        "consistency_token",
        "names 120 notes, at most 100 are allowed",
    )
    assert len(revisions.decode(",".join([tokens[0]] * 10))) == 20, "the same notes count once"
