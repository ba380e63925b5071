"""Ids, times and tags as an import makes them from what people write."""

import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.importer.items import stable_id, tags_of, when


@given(st.text())
def test_every_text_gets_an_id_that_fits(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", stable_id(text))
    assert stable_id(text) == stable_id(text)


@given(st.text(), st.text())
def test_different_texts_get_different_ids(one: str, other: str) -> None:
    assert (stable_id(one) == stable_id(other)) == (one == other)


def test_an_id_that_fits_stays() -> None:
    assert stable_id("tcp-ip_v4.2") == "tcp-ip_v4.2"


def test_an_id_that_does_not_fit_stays_readable() -> None:
    assert stable_id("Café/Grün tee").startswith("Cafe-Grun-tee-")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-05-01T12:30:00Z", datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        ("2024-05-01T12:30:00+02:00", datetime(2024, 5, 1, 10, 30, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        (date(2024, 5, 1), datetime(2024, 5, 1, tzinfo=UTC)),
        (1_714_566_600, datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
    ],
)
def test_times(value: object, expected: datetime) -> None:
    assert when(value) == expected


@pytest.mark.parametrize("value", ["yesterday", "", True, None, [2024], 1e300])
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        when(value)


def test_tags() -> None:
    assert tags_of(["#tea", "tea", " green ", "", 2024]) == ["tea", "green", "2024"]
    assert tags_of("tea, #green") == ["tea", "green"]
    assert tags_of(None) == []
    with pytest.raises(ValueError, match="tags"):
        tags_of({"tea": 1})
