"""The tree of errors: closed, and each error carries what a caller needs."""

import re

import pytest

from shared import errors
from shared.errors import KINDS, Brain2Error, FieldViolation, InvalidArgument, Violations
from shared.grpc import status


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


@pytest.mark.parametrize(
    "text",
    [
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.3.7:50052: connection refused",
        "can't connect to Redis at redis-0.cache.internal:6379: timed out",
        "ipv6:%5Bfd00::7%5D:50052 is away",
        "[fd00::7]:50052 is away",
        "10.0.3.7:50052",
    ],
)
def test_a_caller_reads_no_address_of_our_network(text: str) -> None:
    said = status.details(errors.Unavailable(text))
    assert "(an address)" in said
    assert not re.search(r"10\.0\.3|fd00|internal|50052|6379", said)


def test_other_texts_stay_as_they_are() -> None:
    text = "node.title: has 600 bytes, at most 512 are allowed: 12:30, etag:12"
    assert status.details(errors.InvalidArgument(text)) == text
