# ruff: noqa: RUF001 - Cyrillic letters are meant here
"""Words that are parts of a date or of a measure when they stand beside a number: months, weekdays, units.

"Feb" of "Feb 2nd, 2024" is no reason to link a note to another of February. May, March and Sun are ordinary words
elsewhere, so they count there.
"""

_DATES = {
    "english": """
        january february march april may june july august september october november december jan feb mar apr jun jul
        aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur
        thurs fri sat sun week day quarter year
    """,
    "german": """
        januar jänner februar märz april mai juni juli august september oktober november dezember jan feb mrz apr jun
        jul aug sep okt nov dez montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag mo di mi do fr sa
        so kw woche
    """,
    "french": """
        janvier février mars avril mai juin juillet août septembre octobre novembre décembre janv févr avr juil sept oct
        nov déc lundi mardi mercredi jeudi vendredi samedi dimanche semaine
    """,
    "spanish": """
        enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre ene feb mar abr may jun
        jul ago sep oct nov dic lunes martes miércoles jueves viernes sábado domingo semana
    """,
    "italian": """
        gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre gen feb mar apr
        mag giu lug ago set ott nov dic lunedì martedì mercoledì giovedì venerdì sabato domenica settimana
    """,
    "portuguese": """
        janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro jan fev mar abr mai jun
        jul ago set out nov dez segunda terça quarta quinta sexta sábado domingo semana
    """,
    "dutch": """
        januari februari maart april mei juni juli augustus september oktober november december jan feb mrt apr jun jul
        aug sep okt nov dec maandag dinsdag woensdag donderdag vrijdag zaterdag zondag week
    """,
    "russian": """
        январь января февраль февраля март марта апрель апреля май мая июнь июня июль июля август августа сентябрь
        сентября октябрь октября ноябрь ноября декабрь декабря понедельник вторник среда четверг пятница суббота
        воскресенье неделя год года г
    """,
    "swedish": """
        januari februari mars april maj juni juli augusti september oktober november december jan feb apr jun jul aug
        sep okt nov dec måndag tisdag onsdag torsdag fredag lördag söndag vecka
    """,
    "norwegian": """
        januar februar mars april mai juni juli august september oktober november desember jan feb apr jun jul aug sep
        okt nov des mandag tirsdag onsdag torsdag fredag lørdag søndag uke
    """,
    "danish": """
        januar februar marts april maj juni juli august september oktober november december jan feb apr jun jul aug sep
        okt nov dec mandag tirsdag onsdag torsdag fredag lørdag søndag uge
    """,
    "finnish": """
        tammikuu helmikuu maaliskuu huhtikuu toukokuu kesäkuu heinäkuu elokuu syyskuu lokakuu marraskuu joulukuu
        tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta lokakuuta
        marraskuuta joulukuuta maanantai tiistai keskiviikko torstai perjantai lauantai sunnuntai viikko
    """,
}
_UNITS = """
    px em rem pt km cm mm kg mg ml ms min hr hrs kb mb gb tb kbit mbit khz mhz ghz kw kwh usd eur am pm st nd rd th h m
    g
    年 月 日 号 號 时 分 年月 月日 년 월 일
"""


def words_beside_numbers(language: str) -> list[str]:
    """The words of a language that say nothing beside a number; English ones in every language."""
    dates = _DATES["english"] if language == "english" else _DATES["english"] + _DATES.get(language, "")
    return (dates + _UNITS).split()
