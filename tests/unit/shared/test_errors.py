"""The tree of errors: closed, and each error carries what a caller needs."""

import pytest

from shared import errors
from shared.errors import KINDS, Brain2Error, FieldViolation, InvalidArgument, Violations


@pytest.mark.parametrize("cls", KINDS.values())
def test_every_kind_has_a_reason_unless_told(cls: type[Brain2Error]) -> None:
    assert KINDS[cls.kind] is cls
    assert cls("x").reason == cls.kind
    assert cls("x", reason="MINE").reason == "MINE"
    assert str(cls("what happened")) == "what happened"


def test_only_what_may_pass_by_itself_is_transient() -> None:
    transient = {cls for cls in KINDS.values() if cls.transient}
    assert transient == {
        errors.Aborted,
        errors.ResourceExhausted,
        errors.Unavailable,
        errors.DeadlineExceeded,
        errors.Cancelled,
    }


def test_all_violations_are_reported_at_once() -> None:
    violations = Violations()
    violations.raise_if_any()  # nothing was added
    assert not violations
    violations.add("node.title", "must not be empty")
    violations.add("node.tags[1]", "is there twice")
    with pytest.raises(InvalidArgument, match=r"bad note: node\.title: must not be empty") as caught:
        violations.raise_if_any("bad note")
    assert caught.value.violations == (
        FieldViolation("node.title", "must not be empty"),
        FieldViolation("node.tags[1]", "is there twice"),
    )
    assert caught.value.retry_after is None
