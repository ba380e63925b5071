# ruff: noqa: RUF001 - Cyrillic and Turkish letters are meant here
"""Ids, times and tags as an import makes them from what people write."""

import contextlib
import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.importer.dates import ambiguous
from deploy.local.importer.items import cut, one_line, shown, stable_id, tags_of, when

_FIRST_OF_MAY = (
    "2024/05/01", "2024.05.01", "2024_05_01", "01.05.2024", "1.5.2024", "2024-5-1", "20240501", "May 1, 2024",
    "May 1st, 2024", "1 May 2024", "1st of May 2024", "Wednesday, May 1, 2024", "[[2024-05-01]]", "'2024-05-01'",
    "2024-05", "2024/05", "202405", "05.2024", "May 2024", "2024年5月1日", "1714521600", "1714521600000",
    "1714521600000000", "Wed, 01 May 2024 00:00:00 GMT", "30 Apr 2024 19:00 EST",
    "1. Mai 2024", "1er mai 2024", "1 de mayo de 2024", "1 maggio 2024",
)  # fmt: skip
_HALF_PAST_TWELVE = (
    "2024-05-01 12:30", "2024-05-01, 12:30", "2024-05-01T12:30:00.000Z", "2024-05-01 12:30 pm", "202405011230",
    "20240501123000", "2024-05-01_12-30", "1714566600000", "Wed, 01 May 2024 12:30:00 +0000", "2024/05/01 12:30:00",
    "May 1, 2024 at 12:30 PM", "2024:05:01 12:30:00", "2024年5月1日 12:30", "[2024-05-01 Wed 12:30]",
    "2024-05-01 14:30:00 +0200 CEST", "Wed May 01 2024 14:30:00 GMT+0200 (Central European Summer Time)",
    "May 1, 2024 at 2:30 PM GMT+2", "2024-05-01T12:30:00Z[UTC]", "2024-05-01, 12:30 Uhr", "2024-05-01 at 12.30",
)  # fmt: skip
# Where more than the day is written, or it is written in another way.
_ALSO_FIRST_OF_MAY = (
    "2024. 5. 1.", "2024.05.01.", "<2024-05-01 Wed>", "2024-05-01 (Wed)", "@May 1, 2024", "[[2024-05-01|May 1]]",
    "[May 1](2024-05-01.md)", "[[journal|2024-05-01]]", "2024-05-01/2024-05-03", "2024-05-01 to 2024-05-03",
    "2024\u201305\u201301", "Mittwoch, 1. Mai 2024", "mercredi 1 mai 2024", "1 мая 2024", "2024-05-01 24:00",
)  # fmt: skip


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


_FIFTEENTH_OF_DECEMBER = (
    "15-Dec-24", "15 Dez. 2024", "15 dic 2024", "15 déc. 2024", "15 декабря 2024 г.", "15. prosince 2024",
    "15 Aralık 2024", "15. joulukuuta 2024", "2024. december 15.", "15 грудня 2024 року",
    "[[Journal/2024-12-15|Sunday]]", "[[daily/2024-12-15]]", "`2024-12-15`", "2024-12-15?",
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-05-01T12:30:00Z", datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        ("2024-05-01T12:30:00+02:00", datetime(2024, 5, 1, 10, 30, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        (date(2024, 5, 1), datetime(2024, 5, 1, tzinfo=UTC)),
        (1_714_566_600, datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        (1_714_566_600.5, datetime(2024, 5, 1, 12, 30, 0, 500_000, tzinfo=UTC)),
        *((text, datetime(2024, 5, 1, 12, 30, tzinfo=UTC)) for text in _HALF_PAST_TWELVE),
        *((text, datetime(2024, 5, 1, tzinfo=UTC)) for text in (*_FIRST_OF_MAY, *_ALSO_FIRST_OF_MAY)),
        ("2024-Q2", datetime(2024, 4, 1, tzinfo=UTC)),
        ("2024", datetime(2024, 1, 1, tzinfo=UTC)),
        ("05/13/2024", datetime(2024, 5, 13, tzinfo=UTC)),
        ("13/05/2024", datetime(2024, 5, 13, tzinfo=UTC)),
        *((text, datetime(2024, 12, 15, tzinfo=UTC)) for text in _FIFTEENTH_OF_DECEMBER),
        ("2024年5月1日 下午9:05", datetime(2024, 5, 1, 21, 5, tzinfo=UTC)),
        ("2024년 5월 1일 오전 9:05", datetime(2024, 5, 1, 9, 5, tzinfo=UTC)),
        ("the 5th of September 2024", datetime(2024, 9, 5, tzinfo=UTC)),
        ("2024-05-01 um 09:05 Uhr", datetime(2024, 5, 1, 9, 5, tzinfo=UTC)),
    ],
)
def test_times(value: object, expected: datetime) -> None:
    assert when(value) == expected


@pytest.mark.parametrize(
    "value", ["yesterday", "", True, None, [2024], 1e300, "TBD", "10:30", "Monday", "May 1", "2024-02-31", "5"]
)
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        when(value)


@given(st.text(max_size=200))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert when(text).tzinfo == UTC


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3/4/2024", True), ("03-04-24", True), ("3/3/2024", False), ("13/4/2024", False), ("2024-03-04", False)],
)
def test_dates_whose_day_and_month_can_be_exchanged(value: str, expected: bool) -> None:
    assert ambiguous(value) == expected


@given(st.text(), st.integers(0, 100))
def test_a_cut_text_is_a_beginning_that_fits(text: str, most: int) -> None:
    assert len(cut(text, most).encode()) <= most
    assert text.startswith(cut(text, most))
    assert cut(text, len(text.encode())) == text


@pytest.mark.parametrize(("text", "expected"), [("abc", "ab"), ("aé", "a"), ("ae\u0301", "a")])
def test_a_text_is_cut_at_a_whole_character(text: str, expected: str) -> None:
    assert cut(text, 2) == expected


@given(st.text())
def test_one_line_holds_no_control_characters(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", line)


def test_a_terminal_sees_control_characters_spelled_out() -> None:
    assert shown("a\x1b[31m\n\u202eb") == "a\\u001b[31m\\u000a\\u202eb"
    assert len(shown("x" * 1_000_000)) < 1_000


def test_tags() -> None:
    assert tags_of(["#tea", "tea", " green ", "", 2024]) == ["tea", "green", "2024"]
    assert tags_of("tea, #green") == ["tea", "green"]
    assert tags_of(None) == []
    with pytest.raises(ValueError, match="tags"):
        tags_of({"tea": 1})
