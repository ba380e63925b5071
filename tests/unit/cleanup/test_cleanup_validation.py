"""Requests are checked before any work: every wrong field is named."""

from collections.abc import Callable

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protos.cleanup.v1 import cleanup_pb2
from services.cleanup_service import convert
from services.cleanup_service.model.saga import State
from services.cleanup_service.usecases import validation
from shared.errors import InvalidArgument


@pytest.mark.parametrize(
    ("check", "fields"),
    [
        (lambda: validation.check_deletion("", "a#b", "#"), {"user_id", "node_id", "request_id"}),
        (lambda: validation.check_list_deletions("#", None), {"user_id"}),
        (lambda: validation.check_erase_user("#", "u"), {"user_id", "confirm_user_id"}),
        (lambda: validation.check_get_erasure(""), {"erasure_id"}),
        (lambda: validation.check_user(""), {"user_id"}),
        (lambda: validation.check_reconcile_user("#", -1), {"user_id", "max_rate"}),
        (lambda: validation.check_reconcile_user("u", validation.MAX_RATE + 1), {"max_rate"}),
    ],
)
def test_every_wrong_field_is_named(check: Callable[[], None], fields: set[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check()
    assert {one.field for one in refused.value.violations} == fields


def test_what_is_right_passes() -> None:
    validation.check_deletion("ada@example.org", "n", "r")
    validation.check_list_deletions("", State.DONE)
    validation.check_list_deletions("u", None)
    validation.check_erase_user("u", "u")
    validation.check_reconcile_user("u", validation.MAX_RATE)


def test_the_deletions_of_all_users_need_a_state() -> None:
    with pytest.raises(InvalidArgument) as refused:
        validation.check_list_deletions("", None)
    assert refused.value.reason == "STATE_REQUIRED"
    why = "is not set, must be one of PENDING, RUNNING, FAILED, DONE, CANCELLED when user_id is empty"
    assert [(each.field, each.description) for each in refused.value.violations] == [("state", why)]


@pytest.mark.parametrize(
    ("check", "field", "why"),
    [
        (
            lambda: validation.check_erase_user("u", "v"),
            "confirm_user_id",
            "is 'v', must repeat user_id: this can't be undone",
        ),
        (
            lambda: validation.check_reconcile_user("u", 100_001),
            "max_rate",
            "is 100,001, must be 0 to 100,000 items a second",
        ),
        (
            lambda: convert.state(9),
            "state",
            "is 9, must be a value of DeletionState: 0 (DELETION_STATE_UNSPECIFIED), 1 (DELETION_STATE_PENDING), "
            "2 (DELETION_STATE_RUNNING), 3 (DELETION_STATE_FAILED), 4 (DELETION_STATE_DONE), "
            "5 (DELETION_STATE_CANCELLED)",
        ),
        (
            lambda: convert.times(cleanup_pb2.ListDeletionsRequest(end_time=Timestamp(nanos=-1))),
            "end_time",
            "has -1 nanos, must have 0 to 999,999,999",
        ),
    ],
)
def test_an_error_says_what_was_given_and_what_is_allowed(check: Callable[[], object], field: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check()
    assert [(each.field, each.description) for each in refused.value.violations] == [(field, why)]
