"""Checks of requests."""

from collections.abc import Callable

import pytest

from services.graph_service import convert
from services.graph_service.model.edge import Keyword, Metadata, NewEdge
from services.graph_service.usecases.validation import check_batch, check_create_edge, check_nodes, check_traversal
from shared.errors import InvalidArgument


def test_all_violations_are_reported_together() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_create_edge("u", NewEdge("a#", "a#", "No", weight=2, metadata=Metadata(score=-1)))
    fields = [violation.field.removeprefix("edge.") for violation in caught.value.violations]
    assert fields == ["source_id", "target_id", "target_id", "type", "weight", "metadata.score"]


def edge(**fields: object) -> NewEdge:
    return NewEdge("a", "b", metadata=Metadata(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("check", "field", "why"),
    [
        (lambda: check_batch("u", []), "edges", "has 0 edges, 1 to 500 are allowed"),
        (lambda: check_nodes("u", ["n"] * 201, 200), "node_ids", "has 201 ids, 1 to 200 are allowed"),
        (lambda: check_traversal("u", {"node_id": "n"}, float("nan")), "min_weight", "is nan, must be 0 to 1"),
        (
            lambda: check_create_edge("u", NewEdge("a", "a")),
            "edge.target_id",
            "is 'a', must be another note than source_id",
        ),
        (
            lambda: check_create_edge("u", NewEdge("a", "b", "No")),
            "edge.type",
            "is 'No', must be 1 to 32 of a-z 0-9 _, the first a letter (empty: related)",
        ),
        (
            lambda: check_create_edge("u", edge(keywords=(Keyword("k", 0.5),) * 65)),
            "edge.metadata.shared_keywords",
            "has 65 keywords, at most 64 are allowed",
        ),
        (
            lambda: check_create_edge("u", edge(keywords=(Keyword("k", 0.5), Keyword("l", 1.5)))),
            "edge.metadata.shared_keywords[1].contribution",
            "is 1.5, must be 0 to 1",
        ),
        (
            lambda: check_create_edge("u", edge(labels={str(number): "" for number in range(17)})),
            "edge.metadata.labels",
            "has 17 entries, at most 16 are allowed",
        ),
        (
            lambda: check_create_edge("u", edge(labels={"a": "x" * 2048})),
            "edge.metadata.labels",
            "has 2,049 bytes in all, at most 2,048 are allowed",
        ),
        (
            lambda: check_create_edge("u", edge(labels={"": "x"})),
            "edge.metadata.labels",
            "has an empty key, a key must not be empty",
        ),
        (
            lambda: check_create_edge("u", edge(method="x" * 4089)),
            "edge.metadata",
            "has 4,097 bytes in all, at most 4,096 are allowed",
        ),
        (
            lambda: convert.mask(["weight", "type"]),
            "update_mask",
            "names 'type', only metadata.confirmed, metadata.labels, weight can be updated",
        ),
    ],
)
def test_an_error_says_what_was_given_and_what_is_allowed(check: Callable[[], object], field: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check()
    assert [(each.field, each.description) for each in caught.value.violations] == [(field, why)]
