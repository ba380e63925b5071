"""Checks of requests."""

import pytest

from services.graph_service.model.edge import Metadata, NewEdge
from services.graph_service.usecases.validation import check_create_edge
from shared.errors import InvalidArgument


def test_all_violations_are_reported_together() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_create_edge("u", NewEdge("a#", "a#", "No", weight=2, metadata=Metadata(score=-1)))
    fields = [violation.field.removeprefix("edge.") for violation in caught.value.violations]
    assert fields == ["source_id", "target_id", "target_id", "type", "weight", "metadata.score"]
