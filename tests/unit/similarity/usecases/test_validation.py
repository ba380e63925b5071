"""Requests are checked before any work: an error says what was given and what is allowed."""

from collections.abc import Callable

import pytest

from services.similarity_service.model.user_settings import MOST_LINKS, UserSettings
from services.similarity_service.usecases import validation
from shared.errors import InvalidArgument


@pytest.mark.parametrize(
    ("check", "field", "why"),
    [
        (
            lambda: validation.check_subject("u", "n", "text", ""),
            "node_id",
            "is 'n' beside text or title, only one of the two may be given",
        ),
        (
            lambda: validation.check_subject("u", "", "", ""),
            "node_id",
            "is empty like text and title, one of the three must be given",
        ),
        (
            lambda: validation.check_subject("u", "", "x" * 262_145, ""),
            "text",
            "has 262,145 bytes, at most 262,144 are allowed",
        ),
        (lambda: validation.check_rename("u", "n", "é" * 257), "title", "has 514 bytes, at most 512 are allowed"),
        (lambda: validation.check_rename("u", "n", " "), "title", "must not be blank"),
        (
            lambda: validation.check_limit(101, default=10, maximum=100),
            "limit",
            "is 101, must be 0 (which means 10) to 100 results",
        ),
        (lambda: validation.check_min_score(-0.5), "min_score", "is -0.5, must be 0 to 1"),
        (
            lambda: validation.check_query("u", "x" * 1025, []),
            "query",
            "has 1,025 bytes, at most 1,024 are allowed",
        ),
        (
            lambda: validation.check_query("u", " ", []),
            "query",
            "is blank, must have text unless tags are given",
        ),
        (lambda: validation.check_keyword_terms([]), "keyword", "has no word, must have at least one"),
        (
            lambda: validation.check_settings_paths(["quiet"]),
            "update_mask",
            "names 'quiet', only language, auto_link, link_threshold, max_links can be updated",
        ),
        (
            lambda: validation.check_user_settings(UserSettings(link_threshold=2.0)),
            "settings.link_threshold",
            "is 2.0, must be 0 (the default) to 1",
        ),
        (
            lambda: validation.check_user_settings(UserSettings(max_links=1000)),
            "settings.max_links",
            f"is 1,000, must be 0 (the default) to {MOST_LINKS} links",
        ),
    ],
)
def test_an_error_says_what_was_given_and_what_is_allowed(check: Callable[[], object], field: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check()
    assert [(each.field, each.description) for each in caught.value.violations] == [(field, why)]
    assert caught.value.message == f"invalid request: {field}: {why}"


def test_an_unknown_language_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidArgument, match=r"settings.language: is 'klingon', must be one of .*en"):
        validation.check_user_settings(UserSettings(language="klingon"))
