"""Requests are checked before any work: every wrong field is named."""

from collections.abc import Callable

import pytest

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
