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
_DASHES = r"\u2010-\u2015\-"
# The year first, with any separators, and a time after it; 05.2024 is a month.
_YEAR_FIRST = re.compile(r"(\d{4})[./_:-](\d{1,2})[./_:-](\d{1,2})(?:[T_ ,]+(\d{1,2})[:.-](\d{2})(?:[:.-](\d{2}))?)?")
# The same in more forms, with whatever follows it; and a time of day that may follow.
_BEGINNING = re.compile(
    rf"(\d{{4}})\s?[./_:{_DASHES}年년]\s?(\d{{1,2}})\s?[./_:{_DASHES}月월]\s?(\d{{1,2}})(?!\d)[.日号일]?(.*)"
)
_CLOCK = re.compile(r"[T\s,_]*(?:[^\W\d_]+[.,]?\s+)?\d{1,2}[:.h]\d{2}(?!\d)")
_YEAR_MONTH = re.compile(r"(\d{4})\s?[年년]\s?(\d{1,2})\s?[月월]?")
_QUARTER = re.compile(r"(\d{4})[ -]?Q([1-4])", re.IGNORECASE)
_MONTH = re.compile(r"(\d{1,2})[./](\d{4})")
_WORDS_BETWEEN = re.compile(r"\b(?:of|at|de|del|Uhr|à)\b|(?<=\d)(?:st|nd|rd|th|er)\b", re.IGNORECASE)
# [[2024-05-01|today]] and [today](2024-05-01.md): either part may be the date.
_LINK = re.compile(r"\[\[([^\[\]|]+)(?:\\?\|([^\[\]]+))?\]\]|\[([^\[\]]*)\]\(<?([^()<>]*?)(?:\.md)?>?\)")
# JavaScript's "GMT+0200 (Central European Summer Time)", Go's "+0200 CEST": the number says it all.
_ZONE = re.compile(r"\s*\b(?:GMT|UTC)(?=[+-]\d)|(?<=[+-]\d{4}) [A-Z]{2,5}\b|(?<=[Z\d])\[[^\]]*\]?$|\s*\([^()]*\)$")
# Months in the languages whose speakers write the day first, for a parser that knows English.
_MONTHS = {
    "jan": "januar januari janvier enero gennaio janeiro styczeń stycznia января январь",
    "feb": "februar februari février fevrier febrero febbraio fevereiro luty lutego февраля февраль",
    "mar": "märz maerz maart mars marzo março marca марта март",
    "apr": "avril abril aprile kwietnia апреля апрель",
    "may": "mai mayo maggio maio mei maja мая май",
    "jun": "juni juin junio giugno junho czerwca июня июнь",
    "jul": "juli juillet julio luglio julho lipca июля июль",
    "aug": "août aout agosto augustus sierpnia августа август",
    "sep": "septembre septiembre settembre setembro września сентября сентябрь",
    "oct": "oktober octobre octubre ottobre outubro października октября октябрь",
    "nov": "novembre noviembre novembro listopada ноября ноябрь",
    "dec": "dezember décembre decembre diciembre dicembre dezembro grudnia декабря декабрь",
}
_ENGLISH = {name: month for month, names in _MONTHS.items() for name in names.split()}
_WORD = re.compile(r"[^\W\d_]+")
# Weekdays in the same languages: a date is none the less sure without them.
_WEEKDAY_NAMES = (
    "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag lundi mardi mercredi jeudi vendredi samedi "
    "dimanche lunes martes miércoles jueves viernes sábado domingo lunedì martedì mercoledì giovedì venerdì sabato "
    "domenica segunda terça quarta quinta sexta feira maandag dinsdag woensdag donderdag vrijdag zaterdag zondag "
    "poniedziałek wtorek środa czwartek piątek sobota niedziela понедельник вторник среда четверг пятница суббота "
    "воскресенье года"
)
_WEEKDAYS = frozenset(_WEEKDAY_NAMES.split())
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
    if link := _LINK.fullmatch(text.strip().strip("\"'")):
        for part in link.groups(default=""):
            try:
                return _text(part)
            except ValueError:
                continue
    text = " ".join(_WORDS_BETWEEN.sub(" ", _ZONE.sub("", text.strip().strip("\"'@~<>[]"))).split())
    if found := _YEAR_FIRST.fullmatch(text):
        try:
            return datetime(*(int(part) for part in found.groups(default="0")), tzinfo=UTC)  # type: ignore[misc,arg-type]
        except ValueError:
            pass
    if found := _MONTH.fullmatch(text):
        return datetime(int(found[2]), int(found[1]), 1, tzinfo=UTC)
    if found := _QUARTER.fullmatch(text):
        return datetime(int(found[1]), 3 * int(found[2]) - 2, 1, tzinfo=UTC)
    if _NUMBER.fullmatch(text):
        return _number(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    if found := _BEGINNING.match(text):
        return _with_clock(datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC), found[4])
    if found := _YEAR_MONTH.fullmatch(text):
        return datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
    return _words(text)


def _with_clock(day: datetime, rest: str) -> datetime:
    """A day with the time that follows it; what follows may be anything else, too."""
    if _CLOCK.match(rest):
        try:
            found = _words(f"{day:%Y-%m-%d} {rest.lstrip('T_, ')}")
        except (ValueError, OverflowError):
            return day
        if found.date() == day.date():
            return found
    return day


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
    text = _WORD.sub(_english, text)
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


def _english(word: re.Match[str]) -> str:
    folded = word[0].casefold()
    return " " if folded in _WEEKDAYS else _ENGLISH.get(folded, word[0])
