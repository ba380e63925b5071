"""Page sizes."""

import pytest

from shared.errors import InvalidArgument
from shared.pages import page_size


@pytest.mark.parametrize(("requested", "size"), [(0, 50), (1, 1), (200, 200), (201, 200)])
def test_page_sizes(requested: int, size: int) -> None:
    assert page_size("page_size", requested, default=50, maximum=200) == size


@pytest.mark.parametrize("field", ["page_size", "max_hops"])
def test_a_negative_size_is_refused_under_the_name_of_its_field(field: str) -> None:
    with pytest.raises(InvalidArgument, match=field) as caught:
        page_size(field, -1, default=50, maximum=200)
    why = "is -1, must be 0 or more: 0 means 50, above 200 it is 200"
    assert [(each.field, each.description) for each in caught.value.violations] == [(field, why)]
