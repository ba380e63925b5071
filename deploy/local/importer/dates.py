# ruff: noqa: RUF001 - Cyrillic and Turkish letters are meant here
"""Times from what people write: ISO 8601, epoch numbers, slashes, dots, words, RFC 2822, a year or a month alone.

Every form is bounded in length, so that reading one takes a bounded time.
"""

import re
import unicodedata
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
# The half of the day stands before the time in Chinese, Japanese and Korean.
_HALF_FIRST = re.compile(r"(上午|午前|오전|下午|午後|오후)\s*(\d{1,2}:\d{2}(?::\d{2})?)")
_YEAR_MONTH = re.compile(r"(\d{4})\s?[年년]\s?(\d{1,2})\s?[月월]?")
_QUARTER = re.compile(r"(\d{4})[ -]?Q([1-4])", re.IGNORECASE)
_MONTH = re.compile(r"(\d{1,2})[./](\d{4})")
_WORDS_BETWEEN = re.compile(r"\b(?:the|of|at|um|de|del|d|kl|Uhr|à)\b|(?<=\d)(?:st|nd|rd|th|er)\b", re.IGNORECASE)
# [[2024-05-01|today]] and [today](2024-05-01.md): either part may be the date.
_LINK = re.compile(r"\[\[([^\[\]|]+)(?:\\?\|([^\[\]]+))?\]\]|\[([^\[\]]*)\]\(<?([^()<>]*?)(?:\.md)?>?\)")
# JavaScript's "GMT+0200 (Central European Summer Time)", Go's "+0200 CEST": the number says it all.
_ZONE = re.compile(r"\s*\b(?:GMT|UTC)(?=[+-]\d)|(?<=[+-]\d{4}) [A-Z]{2,5}\b|(?<=[Z\d])\[[^\]]*\]?$|\s*\([^()]*\)$")
# Months in languages whose speakers write the day first, for a parser that knows English; as they stand in dates.
_MONTHS = """
    jan: januar januari janvier enero gennaio janeiro styczeń stycznia января январь leden ledna ocak tammikuuta
        január січня ianuarie gener ιανουαρίου
    feb: februar februari février febrero febbraio fevereiro luty lutego февраля февраль únor února şubat
        helmikuuta február лютого februarie febrer φεβρουαρίου
    mar: märz maerz maart mars marzo março marca marzec марта март březen března mart maaliskuuta március
        березня martie març maret marts mrt μαρτίου
    apr: avril abril aprile kwiecień kwietnia апреля апрель duben dubna nisan huhtikuuta április квітня aprilie
        απριλίου
    may: mai mayo maggio maio mei maj maja мая май květen května mayıs toukokuuta május травня maig μαΐου
    jun: juni juin junio giugno junho czerwiec czerwca июня июнь červen června haziran kesäkuuta június червня
        iunie juny ιουνίου
    jul: juli juillet julio luglio julho lipiec lipca июля июль červenec července temmuz heinäkuuta július липня
        iulie juliol ιουλίου
    aug: august août agosto augustus augusti sierpień sierpnia августа август srpen srpna ağustos elokuuta
        augusztus серпня agost agustus αυγούστου
    sep: septembre septiembre settembre setembro wrzesień września сентября сентябрь září eylül syyskuuta
        szeptember вересня septembrie setembre σεπτεμβρίου
    oct: oktober octobre octubre ottobre outubro październik października октября октябрь říjen října ekim
        lokakuuta október жовтня octombrie οκτωβρίου
    nov: novembre noviembre novembro listopad listopada listopadu ноября ноябрь kasım marraskuuta листопада
        noiembrie νοεμβρίου
    dec: dezember décembre diciembre dicembre dezembro grudzień grudnia декабря декабрь prosinec prosince aralık
        joulukuuta desember грудня decembrie desembre δεκεμβρίου
"""
_SHORTEST_MONTH = 3
_WORD = re.compile(r"[^\W\d_]+")
# Weekdays in the same languages: a date is none the less sure without them.
_WEEKDAY_NAMES = (
    "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag lundi mardi mercredi jeudi vendredi samedi "
    "dimanche lunes martes miércoles jueves viernes sábado domingo lunedì martedì mercoledì giovedì venerdì sabato "
    "domenica segunda terça quarta quinta sexta feira maandag dinsdag woensdag donderdag vrijdag zaterdag zondag "
    "poniedziałek wtorek środa czwartek piątek sobota niedziela понедельник вторник среда четверг пятница суббота "
    "воскресенье года г рік року"
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
        # Of a path the last part is the name of the file.
        for part in [each for whole in link.groups(default="") for each in (whole, whole.rpartition("/")[2])]:
            try:
                return _text(part)
            except ValueError:
                continue
    text = " ".join(_WORDS_BETWEEN.sub(" ", _ZONE.sub("", text.strip().strip("\"'`@~?<>[]"))).split())
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
    rest = _HALF_FIRST.sub(lambda half: f"{half[2]} {'am' if half[1] in ('上午', '午前', '오전') else 'pm'}", rest)
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
    if one != other or not re.search(r"\d{4}|\d[/.-](?:\d{1,2}|[a-z]{3})[/.-]\d|'\d\d", text):
        raise ValueError("no year")
    return one


def _english(word: re.Match[str]) -> str:
    """A word of a date in English: the months of other languages, also shortened, by the English ones."""
    folded = word[0].casefold()
    if folded in _WEEKDAYS:
        return " "
    plain = _unaccented(folded)
    if len(plain) < _SHORTEST_MONTH:
        return word[0]
    found = {month for name, month in _ENGLISH.items() if name == plain} or {
        month for name, month in _ENGLISH.items() if name.startswith(plain)
    }
    return found.pop() if len(found) == 1 else word[0]


def _unaccented(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


def _months() -> dict[str, str]:
    """The English month of each name in _MONTHS, without accents."""
    found: dict[str, str] = {}
    month = ""
    for word in _MONTHS.split():
        if word.endswith(":"):
            month = word[:-1]
        else:
            found[_unaccented(word)] = month
    return found


_ENGLISH = _months()
