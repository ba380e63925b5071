"""The limits of a note: each at its edge and one beyond, all violations together, and text that isn't ASCII."""

from collections.abc import Callable

import pytest

from services.node_service.model import Draft
from services.node_service.usecases.validation import (
    check_batch_create_nodes,
    check_batch_get_nodes,
    check_batched_node,
    check_purge_node,
    check_replay_events,
    check_update_node,
    check_update_user_settings,
)
from shared.errors import InvalidArgument

NOW = 1_700_000_000_000


def wrong(draft: Draft) -> list[str]:
    """The fields of a new note that are refused."""
    try:
        check_batched_node(draft, NOW)
    except InvalidArgument as error:
        return [violation.field for violation in error.violations]
    return []


@pytest.mark.parametrize(
    "draft",
    [
        Draft(title="t"),
        Draft(content="c"),
        Draft(title="x" * 512, content="y" * 256 * 1024),
        Draft(title="é" * 256),
        Draft(title="a title — with “quotes” and a\u00a0space"),
        Draft(content="tabs\tlines\r\nform feed\f and even NUL\0 are content"),
        Draft(content="\u202eright to left, \U0001f9e0, e\u0301"),
        Draft(title="t", tags=tuple(f"tag-{n}" for n in range(64))),
        Draft(title="t", aliases=tuple(f"{n}" * 256 for n in range(10, 42))),
        Draft(title="t", tags=("x" * 64, "c++", "naïve/β", "two words")),
        Draft(title="t", metadata={f"k{n}": "v" for n in range(32)}),
        Draft(title="t", metadata={"k": "v" * 4095}),
        Draft(title="t", create_ms=0),
        Draft(title="t", create_ms=NOW + 300_000),
        Draft(node_id="A.b_c-9", title="t"),
        Draft(node_id="x" * 64, title="t"),
    ],
)
def test_what_is_allowed(draft: Draft) -> None:
    assert wrong(draft) == []


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (Draft(), "node"),
        (Draft(title="  ", content="\n\u2003\t"), "node"),
        (Draft(title="x" * 513), "node.title"),
        (Draft(title="é" * 257), "node.title"),
        (Draft(title="two\nlines"), "node.title"),
        (Draft(title="nul\0"), "node.title"),
        (Draft(title="line\u2028separator"), "node.title"),
        (Draft(title="invoice\u202egpj.exe"), "node.title"),
        (Draft(title="\u200b\u2060", content="c"), "node.title"),
        (Draft(title="\u3164", content="c"), "node.title"),
        (Draft(content="\u200b\ufeff\u2800"), "node"),
        (Draft(title="t", tags=("\u200d",)), "node.tags[0]"),
        (Draft(content="y" * (256 * 1024 + 1)), "node.content"),
        (Draft(content="é" * (128 * 1024 + 1)), "node.content"),
        (Draft(title="t", tags=tuple(f"tag-{n}" for n in range(65))), "node.tags"),
        (Draft(title="t", tags=("ok", "x" * 65)), "node.tags[1]"),
        (Draft(title="t", aliases=tuple(f"name {n}" for n in range(33))), "node.aliases"),
        (Draft(title="t", aliases=("ok", "x" * 513)), "node.aliases[1]"),
        (Draft(title="t", aliases=("ok", " ")), "node.aliases[1]"),
        (Draft(title="t", aliases=("a", "a")), "node.aliases[1]"),
        (Draft(title="t", tags=("ok", " ")), "node.tags[1]"),
        (Draft(title="t", tags=("a", "b", "a")), "node.tags[2]"),
        (Draft(title="t", tags=("a\x1b[31m",)), "node.tags[0]"),
        (Draft(title="t", metadata={f"k{n}": "v" for n in range(33)}), "node.metadata"),
        (Draft(title="t", metadata={"k": "v" * 4096}), "node.metadata"),
        (Draft(title="t", metadata={"": "v"}), "node.metadata"),
        (Draft(title="t", create_ms=-1), "node.create_time"),
        (Draft(title="t", create_ms=NOW + 300_001), "node.create_time"),
        (Draft(node_id="x" * 65, title="t"), "node.node_id"),
        (Draft(node_id="a#b", title="t"), "node.node_id"),
        (Draft(node_id=".hidden", title="t"), "node.node_id"),
    ],
)
def test_what_is_refused(draft: Draft, field: str) -> None:
    assert wrong(draft) == [field]


def test_all_violations_are_reported_together() -> None:
    draft = Draft(node_id="#", title="x" * 600, tags=("", "a", "a"), metadata={"": "v"}, create_ms=-5)
    assert wrong(draft) == [
        "node.node_id",
        "node.title",
        "node.tags[0]",
        "node.tags[2]",
        "node.metadata",
        "node.create_time",
    ]


def test_an_update_is_checked_only_where_it_changes_something() -> None:
    check_update_node("u", "n", Draft(title="x" * 600, content="fine"), ["content"], ["content"], None)
    with pytest.raises(InvalidArgument):
        check_update_node("u", "n", Draft(title="x" * 600), ["title"], ["title"], None)


@pytest.mark.parametrize(
    ("check", "field", "why"),
    [
        (
            lambda: check_batch_create_nodes("u", [], None),
            "nodes",
            "has 0 notes, 1 to 100 are allowed",
        ),
        (
            lambda: check_batch_create_nodes("u", [Draft(node_id="a"), Draft(node_id="a")], None),
            "nodes[1].node_id",
            "is 'a' like that of an earlier note of the batch, must be another id",
        ),
        (
            lambda: check_batch_get_nodes("u", ["n"] * 1001),
            "node_ids",
            "has 1,001 ids, 1 to 1,000 are allowed",
        ),
        (
            lambda: check_update_node("u", "n", Draft(), [], [], None),
            "update_mask",
            "names nothing, and node sets nothing: one of title, content, tags, metadata, aliases must be",
        ),
        (
            lambda: check_update_node("u", "n", Draft(title="t"), ["title"], ["title", "etag"], None),
            "update_mask",
            "names 'etag', only title, content, tags, metadata, aliases can be updated",
        ),
        (
            lambda: check_purge_node("u", "n", 0),
            "version",
            "is 0, must be the version of the deleted note, 1 or more",
        ),
        (
            lambda: check_replay_events("u", 2001),
            "max_rate",
            "is 2,001, must be 0 (which means 200) to 2,000 events a second",
        ),
        (
            lambda: check_update_user_settings("u", 1.5, ["retention"]),
            "settings.retention",
            "is 1.5 seconds, must be whole seconds, 0 to 31,536,000 (365 days)",
        ),
        (
            lambda: check_batched_node(Draft(title="t", create_ms=NOW + 300_001), NOW),
            "node.create_time",
            "is 300,001 ms after now, must be between 1970-01-01 and 300,000 ms (5 minutes) after now",
        ),
        (
            lambda: check_batched_node(Draft(title="t", metadata={"a\nb": ""}), NOW),
            "node.metadata",
            "has the key 'a\\nb', a key must not be empty or hold control characters",
        ),
        (
            lambda: check_batched_node(Draft(title="a\nb"), NOW),
            "node.title",
            "has U+000A, must be one line without control characters",
        ),
        (
            lambda: check_batched_node(Draft(title="t", tags=("x" * 1025,)), NOW),
            "node.tags[0]",
            "has 1,025 bytes, at most 64 are allowed",
        ),
    ],
)
def test_an_error_says_what_was_given_and_what_is_allowed(check: Callable[[], None], field: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check()
    assert [(each.field, each.description) for each in caught.value.violations] == [(field, why)]
