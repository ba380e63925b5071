"""Times from what people write: ISO 8601, epoch numbers, slashes, dots, words, RFC 2822, a year or a month alone.

Every form is bounded in length, so that reading one takes a bounded time.
"""

import re
import warnings
from datetime import UTC, date, datetime

from dateutil import parser as dateutil_parser

# A longer text is not a date.
_LONGEST = 100
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,9})?")
# Digits without separators, as file names and note ids have them, by their number.
_COMPACT = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
# Seconds, milliseconds, microseconds and nanoseconds since 1970, by the number of digits.
_EPOCH = {9: 1, 10: 1, 11: 1, 12: 1_000, 13: 1_000, 14: 1_000, 15: 1_000_000, 16: 1_000_000, 18: 10**9, 19: 10**9}
_CJK = re.compile(r"(\d{4})\s?[年년]\s?(\d{1,2})\s?[月월](?:\s?(\d{1,2})\s?[日号일])?")
# The year first, with any separators, and a time after it; 05.2024 is a month.
_YEAR_FIRST = re.compile(r"(\d{4})[./_-](\d{1,2})[./_-](\d{1,2})(?:[T_ ,]+(\d{1,2})[:.-](\d{2})(?:[:.-](\d{2}))?)?")
_MONTH = re.compile(r"(\d{1,2})[./](\d{4})")
_WORDS_BETWEEN = re.compile(r"[\[\]]{2}|\b(?:of|at|de|del)\b|(?<=\d)(?:st|nd|rd|th|er)\b", re.IGNORECASE)
# Months in the languages whose speakers write the day first, for a parser that knows English.
_MONTHS = {
    "jan": "januar januari janvier enero gennaio janeiro styczeń stycznia",
    "feb": "februar februari février fevrier febrero febbraio fevereiro luty lutego",
    "mar": "märz maerz maart mars marzo março marca",
    "apr": "avril abril aprile kwietnia",
    "may": "mai mayo maggio maio mei maja",
    "jun": "juni juin junio giugno junho czerwca",
    "jul": "juli juillet julio luglio julho lipca",
    "aug": "août aout agosto augustus sierpnia",
    "sep": "septembre septiembre settembre setembro września",
    "oct": "oktober octobre octubre ottobre outubro października",
    "nov": "novembre noviembre novembro listopada",
    "dec": "dezember décembre decembre diciembre dicembre dezembro grudnia",
}
_ENGLISH = {name: month for month, names in _MONTHS.items() for name in names.split()}
_WORD = re.compile(r"[^\W\d_]+")
# 03/04/2024: nobody can tell whether the day or the month comes first.
_AMBIGUOUS = re.compile(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4}|\d{2})\b")
# The names of zones that RFC 2822 defines, in seconds from UTC.
_ZONES = {
    "UT": 0, "UTC": 0, "GMT": 0, "EST": -18_000, "EDT": -14_400, "CST": -21_600, "CDT": -18_000, "MST": -25_200,
    "MDT": -21_600, "PST": -28_800, "PDT": -25_200, "CET": 3_600, "CEST": 7_200,
}  # fmt: skip


def when(value: object) -> datetime:
    """The time that a value names. Without a zone it is UTC; a year or a month is its first day.

    value: a text, a date, a datetime, or a number since 1970 (seconds, or finer units by its number of digits).
    Raises ValueError for anything else, and for a text that does not name a year.
    """
    try:
        if isinstance(value, str):
            found = _text(value)
        elif isinstance(value, datetime):
            found = value
        elif isinstance(value, date):
            found = datetime(value.year, value.month, value.day, tzinfo=UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = _text(str(value)) if isinstance(value, int) else datetime.fromtimestamp(value, UTC)
        else:
            raise ValueError
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{str(value)[:_LONGEST]!r} is not a time (RFC 3339, a date, or seconds since 1970)") from None


def ambiguous(value: str) -> bool:
    """Whether the day and the month of a date can be exchanged; when() then takes the first number as the month."""
    found = _AMBIGUOUS.match(value.strip())
    return bool(found) and found is not None and found[1] != found[2] and int(found[1]) <= 12 and int(found[2]) <= 12


def _text(text: str) -> datetime:
    if len(text) > _LONGEST:
        raise ValueError("too long")
    text = " ".join(_WORDS_BETWEEN.sub(" ", text.strip().strip("\"'")).split())
    if found := _YEAR_FIRST.fullmatch(text):
        return datetime(*(int(part) for part in found.groups(default="0")), tzinfo=UTC)  # type: ignore[misc,arg-type]
    if found := _MONTH.fullmatch(text):
        return datetime(int(found[2]), int(found[1]), 1, tzinfo=UTC)
    if _NUMBER.fullmatch(text):
        return _number(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    if found := _CJK.match(text):
        return datetime(int(found[1]), int(found[2]), int(found[3] or 1), tzinfo=UTC)
    return _words(text)


def _number(text: str) -> datetime:
    digits, _, fraction = text.partition(".")
    if not fraction and len(digits) in _COMPACT:
        try:
            found = datetime.strptime(digits, _COMPACT[len(digits)]).replace(tzinfo=UTC)
            if 1000 <= found.year < 2200:
                return found
        except ValueError:
            pass
    unit = _EPOCH.get(len(digits.lstrip("-")))
    if unit is None:
        raise ValueError("neither a date nor a time since 1970")
    return datetime.fromtimestamp(float(text) / unit, UTC)


def _words(text: str) -> datetime:
    # dateutil fills what is missing from a default: two defaults show whether the text has a year.
    text = _WORD.sub(lambda found: _ENGLISH.get(found[0].casefold(), found[0]), text)
    day_first = "." in text.split(" ")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = (
            dateutil_parser.parse(text, dayfirst=day_first, default=datetime(year, 1, 1), tzinfos=_ZONES)  # noqa: DTZ001
            for year in (2000, 2004)
        )
    if one != other or not re.search(r"\d{4}|\d[/.-]\d{1,2}[/.-]\d|'\d\d", text):
        raise ValueError("no year")
    return one
