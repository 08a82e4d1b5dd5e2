"""The days a text speaks of that lie ahead of when it was said: "tomorrow", "next Friday", "in two weeks", "on 3 June".

Pure. English, German, French and Spanish; ISO dates in any language. A date without a year is the next one of its name, and is
left out where the sentence tells of the past. Nothing here guesses a day from a text that names none.
"""

import calendar
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cache

from msgspec import Struct

# A text that names more days than these is a calendar, and is read as far as that.
NAMED_MAX = 20
# "In 400 weeks" is no appointment.
_AHEAD_MAX = 400
_ISO = re.compile(r"(?<![\d-])(20\d\d)-(\d\d)-(\d\d)(?![\d-])")
_NUMBERS_ONLY = re.compile(r"\d\.\d{1,2}\.20\d\d")
_WORD = re.compile(r"[^\W\d_]+")


class Day(Struct, frozen=True, order=True):
    """From `first` to `last`, both included; one day where they are the same."""

    first: date
    last: date
    words: str
    """As the text says it."""


class Tongue(Struct, frozen=True):
    """How one language names days. `{weekday}`, `{month}`, `{number}` and `{unit}` stand for its names."""

    months: tuple[str, ...]
    weekdays: tuple[str, ...]
    fixed: Mapping[str, int]
    """Days after the one on which it was said."""
    numbers: Mapping[str, int]
    units: Mapping[str, int]
    """In days; 30 stands for a month of the calendar."""
    on: str
    following: str
    """The weekday of the next week."""
    ahead: str
    next_week: str
    next_month: str
    day_of_month: tuple[str, ...]
    month_alone: str
    past: str
    words: str
    """A sentence with none of these (casefolded) names no day in this language."""


_ENGLISH = Tongue(
    months=("jan(?:uary)?", "feb(?:ruary)?", "mar(?:ch)?", "apr(?:il)?", "may", "june?", "july?", "aug(?:ust)?",
            "sept?(?:ember)?", "oct(?:ober)?", "nov(?:ember)?", "dec(?:ember)?"),
    weekdays=("mon(?:day)?", "tue(?:s(?:day)?)?", "wed(?:nesday)?", "thu(?:rs(?:day)?)?", "fri(?:day)?", "sat(?:urday)?", "sun(?:day)?"),
    fixed={"the day after tomorrow": 2, "day after tomorrow": 2, "tomorrow": 1, "tonight": 0},
    numbers={"a": 1, "an": 1, "one": 1, "two": 2, "a couple of": 2, "three": 3, "a few": 3, "four": 4, "five": 5, "six": 6,
             "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12},
    units={"days?": 1, "weeks?": 7, "months?": 30},
    on=r"(?:on|by|this|this coming|coming|until|till|before|for|due) {weekday}\b",
    following=r"next {weekday}\b",
    ahead=r"(?:in|within) (?:about )?{number} {unit}\b(?! (?:ago|of\b))|{number} {unit} from (?:now|today)\b",
    next_week=r"(?:next|the coming) week(?:end)?\b|this(?: coming)? weekend\b",
    next_month=r"next month\b",
    day_of_month=(r"(?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {month}\.?(?:,? (?P<year>20\d\d))?\b(?!\s?%)",
                  r"{month}\.? (?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<year>20\d\d))?(?![\d:%])"),
    month_alone=r"(?:in|by|until|this|next|end of|early|late|mid) {month}(?: (?P<year>20\d\d))?\b(?! \d)",
    past=r"\b(?:was|were|went|had|did|last|ago|since|born|happened|started|ended|yesterday|got|came|took|made|saw|met|been|finished|completed)\b",
    words="jan january feb february mar march apr april may jun june jul july aug august sep sept september oct "
          "october nov november dec december mon monday tue tues tuesday wed wednesday thu thurs thursday fri "
          "friday sat saturday sun sunday tomorrow tonight day days week weeks weekend month months",
)  # fmt: skip
_GERMAN = Tongue(
    months=("januar|jänner", "februar", "märz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november", "dezember"),
    weekdays=("montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag|sonnabend", "sonntag"),
    fixed={"übermorgen": 2, "(?<!guten )(?<!am )(?<!jeden )(?<!heute )(?-i:morgen)": 1, "heute abend": 0},
    numbers={"einem": 1, "einer": 1, "zwei": 2, "drei": 3, "vier": 4, "fünf": 5, "sechs": 6, "sieben": 7, "acht": 8, "zehn": 10},
    units={"tag(?:en)?": 1, "wochen?": 7, "monat(?:en)?": 30},
    on=r"(?:am|bis|bis zum|diesen|kommenden|vor) {weekday}\b",
    following=r"nächste[nr]? {weekday}\b",
    ahead=r"in {number} {unit}\b",
    next_week=r"(?:nächste|kommende|nächster|kommender) woche\b|(?:nächstes|kommendes|dieses|am) wochenende\b",
    next_month=r"nächsten monat\b",
    day_of_month=(r"(?P<day>\d{{1,2}})\. {month}(?: (?P<year>20\d\d))?\b",
                  r"(?P<day>\d{{1,2}})\.(?P<number>\d{{1,2}})\.(?P<year>20\d\d)\b"),
    month_alone=r"(?:im|bis|ende|anfang|mitte) {month}(?: (?P<year>20\d\d))?\b",
    past=r"\b(?:war|waren|wurde|ging|hatte|habe|haben|letzte[nrs]?|seit|geboren|gestern|vor)\b",
    words="januar jänner februar märz april mai juni juli august september oktober november dezember montag "
          "dienstag mittwoch donnerstag freitag samstag sonnabend sonntag morgen übermorgen abend tag tage "
          "tagen woche wochen wochenende monat monaten",
)  # fmt: skip
_FRENCH = Tongue(
    months=("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"),
    weekdays=("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    fixed={"après-demain": 2, "demain": 1, "ce soir": 0},
    numbers={"un": 1, "une": 1, "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "six": 6, "sept": 7, "huit": 8, "dix": 10},
    units={"jours?": 1, "semaines?": 7, "mois": 30},
    on=r"(?:ce|avant|d'ici|pour|jusqu'à) {weekday}\b(?! prochain)",
    following=r"{weekday} prochain\b",
    ahead=r"dans {number} {unit}\b",
    next_week=r"la semaine prochaine\b|(?:ce|le) week-end(?: prochain)?\b",
    next_month=r"le mois prochain\b",
    day_of_month=(r"(?:le )?(?P<day>\d{{1,2}})(?:er)? {month}(?: (?P<year>20\d\d))?\b",),
    month_alone=r"(?:en|fin|début|mi) {month}(?: (?P<year>20\d\d))?\b",
    past=r"\b(?:était|étaient|dernier|dernière|depuis|hier|né|née|avait|a eu|suis allée?|il y a)\b",
    words="janvier février mars avril mai juin juillet août septembre octobre novembre décembre lundi mardi "
          "mercredi jeudi vendredi samedi dimanche demain soir jour jours semaine semaines mois week",
)  # fmt: skip
_SPANISH = Tongue(
    months=("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "sep?tiembre", "octubre", "noviembre", "diciembre"),
    weekdays=("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
    fixed={"pasado mañana": 2, "(?<!la )(?<!esta )mañana": 1, "esta noche": 0},
    numbers={"un": 1, "una": 1, "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5, "seis": 6, "siete": 7, "ocho": 8, "diez": 10},
    units={"días?": 1, "semanas?": 7, "mes(?:es)?": 30},
    on=r"(?:este|antes del|hasta el|para el) {weekday}\b",
    following=r"(?:el )?próximo {weekday}\b|el {weekday} que viene\b",
    ahead=r"(?:en|dentro de) {number} {unit}\b",
    next_week=r"la (?:próxima semana|semana que viene)\b|(?:este|el próximo) fin de semana\b",
    next_month=r"(?:el )?(?:próximo mes|mes que viene)\b",
    day_of_month=(r"(?:el )?(?P<day>\d{{1,2}}) de {month}(?: (?:de|del) (?P<year>20\d\d))?\b",),
    month_alone=r"(?:en|a finales de|a principios de) {month}(?: de (?P<year>20\d\d))?\b",
    past=r"\b(?:era|fue|fui|fueron|pasado|pasada|ayer|desde|nací|nació|hace)\b",
    words="enero febrero marzo abril mayo junio julio agosto setiembre septiembre octubre noviembre diciembre "
          "lunes martes miércoles jueves viernes sábado domingo mañana noche día días semana semanas mes meses",
)  # fmt: skip


class _Reader(Struct, frozen=True):
    """A tongue's expressions, ready to search."""

    tongue: Tongue
    words: frozenset[str]
    found: tuple[tuple[str, re.Pattern[str]], ...]
    past: re.Pattern[str]


def days_ahead(sentence: str, said: date) -> list[Day]:
    """The days that one sentence, said on a day, names on that day or later, in the order of the calendar."""
    found = [day for day in _named(sentence, said) if day.last >= said]
    return sorted(set(found))


def names_a_day(sentence: str) -> bool:
    """Whether a sentence names a day that may lie ahead, whenever it was said."""
    return next(_matches(sentence), None) is not None


def _named(sentence: str, said: date) -> Iterator[Day]:
    for number, (how, match, reader) in enumerate(_matches(sentence)):
        if number >= NAMED_MAX:
            return
        span = _resolved(how, match, reader, said)
        if span is not None:
            yield Day(*span, match.group())


def _matches(sentence: str) -> Iterator[tuple[str, re.Match[str], "_Reader | None"]]:
    if "20" in sentence:  # spares most sentences a search
        for match in _ISO.finditer(sentence):
            yield "iso", match, None
    words = set(_WORD.findall(sentence.casefold()))
    for reader in _readers():
        if words.isdisjoint(reader.words) and not (
            ".20" in sentence and _NUMBERS_ONLY.search(sentence)
        ):
            continue
        past = reader.past.search(sentence) is not None
        taken: list[tuple[int, int]] = []
        for how, expression in reader.found:
            for match in expression.finditer(sentence):
                begin, end = match.span()
                year = match.groupdict().get("year")
                if (past and year is None) or any(begin < e and s < end for s, e in taken):
                    continue
                taken.append((begin, end))
                yield how, match, reader


def _resolved(
    how: str, match: re.Match[str], reader: "_Reader | None", said: date
) -> tuple[date, date] | None:
    try:
        if reader is None:
            day = date(*(int(part) for part in match.groups()))
            return day, day
        return _RESOLVE[how](match, reader.tongue, said)
    except (ValueError, OverflowError):  # no such day, or beyond the calendar
        return None


def _on(match: re.Match[str], tongue: Tongue, said: date) -> tuple[date, date]:
    ahead = (_index(match["weekday"], tongue.weekdays) - said.weekday()) % 7 or 7
    return _day(said + timedelta(days=ahead))


def _following(match: re.Match[str], tongue: Tongue, said: date) -> tuple[date, date]:
    name = match.groupdict().get("weekday") or match["weekday2"]
    monday = said - timedelta(days=said.weekday()) + timedelta(days=7)
    return _day(monday + timedelta(days=_index(name, tongue.weekdays)))


def _ahead(match: re.Match[str], tongue: Tongue, said: date) -> tuple[date, date] | None:
    groups = match.groupdict()
    number, unit = groups.get("number") or groups["number2"], groups.get("unit") or groups["unit2"]
    count = int(number) if number.isdigit() else tongue.numbers[number.casefold()]
    days = next(
        days for name, days in tongue.units.items() if re.fullmatch(name, unit, re.IGNORECASE)
    )
    if count > _AHEAD_MAX:
        return None
    return _day(_months_later(said, count) if days == 30 else said + timedelta(days=days * count))


def _fixed(match: re.Match[str], tongue: Tongue, said: date) -> tuple[date, date]:
    for words, days in tongue.fixed.items():
        if re.fullmatch(re.sub(r"\(\?<!.*?\)", "", words), match.group(), re.IGNORECASE):
            return _day(said + timedelta(days=days))
    raise AssertionError(match.group())


def _next_week(match: re.Match[str], tongue: Tongue, said: date) -> tuple[date, date]:
    monday = said - timedelta(days=said.weekday())
    words = match.group().casefold()
    if "end" not in words and "fin de" not in words:
        return monday + timedelta(days=7), monday + timedelta(days=13)
    saturday = monday + timedelta(days=12 if words.startswith(("next", "nächst")) else 5)
    return saturday, saturday + timedelta(days=1)


def _next_month(match: re.Match[str], tongue: Tongue, said: date) -> tuple[date, date]:
    return _whole_month(_months_later(said.replace(day=1), 1))


def _day_of_month(match: re.Match[str], tongue: Tongue, said: date) -> tuple[date, date]:
    groups = match.groupdict()
    month = (
        int(groups["number"]) if "number" in groups else _index(match["month"], tongue.months) + 1
    )
    if groups["year"]:
        return _day(date(int(groups["year"]), month, int(match["day"])))
    day = date(said.year, month, int(match["day"]))
    return _day(day if day >= said else day.replace(year=said.year + 1))


def _month_alone(match: re.Match[str], tongue: Tongue, said: date) -> tuple[date, date]:
    month = _index(match["month"], tongue.months) + 1
    year = int(match["year"]) if match["year"] else said.year + (month < said.month)
    return _whole_month(date(year, month, 1))


_RESOLVE = {
    "day of month": _day_of_month,
    "fixed": _fixed,
    "following": _following,
    "on": _on,
    "ahead": _ahead,
    "next week": _next_week,
    "next month": _next_month,
    "month alone": _month_alone,
}


def _day(day: date) -> tuple[date, date]:
    return day, day


def _whole_month(first: date) -> tuple[date, date]:
    return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])


def _months_later(day: date, months: int) -> date:
    """The 31st becomes the last day of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _index(name: str, names: tuple[str, ...]) -> int:
    return next(place for place, one in enumerate(names) if re.fullmatch(one, name, re.IGNORECASE))


def _reader(tongue: Tongue) -> _Reader:
    weekdays, months = "|".join(tongue.weekdays), "|".join(tongue.months)
    numbers, units = "|".join(sorted(tongue.numbers, key=len, reverse=True)), "|".join(tongue.units)

    def compiled(expression: str) -> re.Pattern[str]:
        filled = expression.format(
            weekday=f"(?P<weekday>{weekdays})",
            month=f"(?P<month>{months})",
            number=rf"(?P<number>\d{{1,3}}|{numbers})",
            unit=f"(?P<unit>{units})",
        )
        # A name may stand once in an expression; its second place gets a second one.
        for name in ("weekday", "number", "unit"):
            first, mark, rest = filled.partition(f"(?P<{name}>")
            filled = first + mark + rest.replace(f"(?P<{name}>", f"(?P<{name}2>")
        return re.compile(rf"(?<![\w-])(?:{filled})", re.IGNORECASE)

    fixed = "|".join(tongue.fixed)
    return _Reader(
        tongue=tongue,
        words=frozenset(tongue.words.split()),
        found=(
            *(("day of month", compiled(each)) for each in tongue.day_of_month),
            ("fixed", re.compile(rf"(?<![\w-])(?:{fixed})(?![\w-])", re.IGNORECASE)),
            ("following", compiled(tongue.following)),
            ("on", compiled(tongue.on)),
            ("ahead", compiled(tongue.ahead)),
            ("next week", compiled(tongue.next_week)),
            ("next month", compiled(tongue.next_month)),
            ("month alone", compiled(tongue.month_alone)),
        ),
        past=re.compile(tongue.past, re.IGNORECASE),
    )


@cache
def _readers() -> tuple[_Reader, ...]:
    """Made when the first text is read: most commands read none."""
    return tuple(_reader(tongue) for tongue in (_ENGLISH, _GERMAN, _FRENCH, _SPANISH))
