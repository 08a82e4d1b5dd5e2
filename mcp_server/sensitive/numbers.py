"""Numbers and addresses that belong to a person. What carries check digits counts only if they are right.

Payment cards are secrets: who has the number can pay. The others say who somebody is, and people want to find them again.
"""

import re
from collections.abc import Callable, Iterator

from mcp_server.sensitive.spans import Span, said_before, stands_alone

_DIGITS = re.compile(r"\d[\d -]{11,}")
_DIGITS_MAX = 400  # longer stretches are tables and dumps
_CARD = re.compile(r"(?:\d[ -]?){12,18}\d")
_CARD_GROUPS = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3))
_NO_CARD = re.compile(
    r"(?:order|tracking|invoice|isbn|imei|ref\w*|ticket|case|serial|parcel)\W{0,3}\w{0,6}\W{0,3}$"
)
# Brands by the beginning of the number and its lengths.
_BRANDS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6(?:011|4[4-9]|5)"), (16, 19)),
    (re.compile(r"35(?:2[89]|[3-8]\d)"), (16,)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14,)),
    (re.compile(r"62"), (16, 17, 18, 19)),
)

_IBAN = re.compile(r"[A-Z]{2}\d{2} ?[A-Z0-9](?: ?[A-Z0-9]){10,29}")
_IBAN_CHARS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "CH": 21, "CR": 22,
    "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22,
    "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27,
    "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MT": 31, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SE": 24, "SI": 19,
    "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "XK": 20,
}  # fmt: skip

_MAIL_NAME = re.compile(r"[A-Za-z0-9._%+-]{1,64}$")
_MAIL_HOST = re.compile(r"@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9])")
_PHONE = re.compile(
    r"\+\d[\d ().-]{6,18}\d|\(\d{3}\)[ .-]?\d{3}[ .-]\d{4}|\d{3}[ .-]\d{3}[ .-]\d{4}"
)


def cards(text: str) -> Iterator[Span]:
    for stretch in _DIGITS.finditer(text):
        if len(stretch.group()) > _DIGITS_MAX:
            continue
        for match in _CARD.finditer(text, stretch.start(), stretch.end()):
            if _is_card(text, match):
                yield Span(match.start(), match.end(), "card number", "secret")


def accounts(text: str) -> Iterator[Span]:
    """Bank accounts in the international form."""
    for match in _IBAN.finditer(text):
        said = match.group()
        size = _IBAN_CHARS.get(said[:2])
        number = said.replace(" ", "")[:size]
        if size is None or len(number) != size or not _iban(number):
            continue
        places = [at for at in range(match.start(), match.end()) if text[at] != " "]
        end = places[size - 1] + 1
        if stands_alone(text, match.start(), end):
            yield Span(match.start(), end, "bank account", "personal")


def addresses(text: str) -> Iterator[Span]:
    """E-mail addresses and telephone numbers."""
    for match in _MAIL_HOST.finditer(text):
        name = _MAIL_NAME.search(text[max(0, match.start() - 64) : match.start()])
        if name:
            yield Span(match.start() - len(name.group()), match.end(), "e-mail address", "personal")
    for match in _PHONE.finditer(text):
        digits = sum(c.isdigit() for c in match.group())
        # A plus begins a number wherever it stands.
        first = match.start() + (1 if match.group()[0] == "+" else 0)
        if 8 <= digits <= 15 and stands_alone(text, first, match.end()):
            yield Span(match.start(), match.end(), "phone number", "personal")


def national_ids(text: str) -> Iterator[Span]:
    for match in _NATIONAL_ID.finditer(text):
        _, holds = _NATIONAL[(match.lastindex or 1) - 1]
        if holds(match.group()):
            yield Span(match.start(), match.end(), "national id", "personal")


def _is_card(text: str, match: re.Match[str]) -> bool:
    said = match.group()
    digits = re.sub(r"\D", "", said)
    groups = tuple(len(group) for group in re.split(r"[ -]", said))
    return (
        stands_alone(text, match.start(), match.end())
        and (len(groups) == 1 or groups in _CARD_GROUPS)
        and any(brand.match(digits) and len(digits) in sizes for brand, sizes in _BRANDS)
        and len(set(digits)) > 1
        and _luhn(digits)
        and not _NO_CARD.search(said_before(text, match.start(), 24))
    )


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _iban(number: str) -> bool:
    return int("".join(str(int(each, 36)) for each in number[4:] + number[:4])) % 97 == 1


def _us(said: str) -> bool:
    area, group, serial = said.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _spain(said: str) -> bool:
    number = said[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == said[-1]


def _italy(said: str) -> bool:
    odd = dict(
        zip(
            "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
            strict=True,
        )
    )  # fmt: skip
    total = sum(
        odd[each] if place % 2 == 0 else (int(each) if each.isdigit() else ord(each) - 65)
        for place, each in enumerate(said[:15])
    )
    return chr(65 + total % 26) == said[15]


def _france(said: str) -> bool:
    digits = said.replace(" ", "")
    return 97 - int(digits[:13]) % 97 == int(digits[13:])


def _brazil(said: str) -> bool:
    digits = [int(each) for each in said if each.isdigit()]
    for size in (9, 10):
        total = sum(digit * (size + 1 - place) for place, digit in enumerate(digits[:size]))
        if total * 10 % 11 % 10 != digits[size]:
            return False
    return len(set(digits)) > 1


def _china(said: str) -> bool:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(said, weights, strict=False))
    return "10X98765432"[total % 11] == said[17]


def _india(said: str) -> bool:
    """Verhoeff's check digit: the group of a pentagon's symmetries."""
    check = 0
    for place, digit in enumerate(reversed([int(each) for each in said if each.isdigit()])):
        check = _turned(check, int(_PERMUTED[place % 8][digit]))
    return check == 0 and said[0] not in "01"


def _turned(one: int, two: int) -> int:
    flipped = one >= 5
    rest = (one % 5 - two % 5 if flipped else one % 5 + two % 5) % 5
    return rest + 5 * (flipped != (two >= 5))


_PERMUTED = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip

_NATIONAL: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (r"\d{3}-\d{2}-\d{4}", _us),
    (r"(?:\d{8}|[XYZ]\d{7})[A-HJ-NP-TV-Z]", _spain),
    (r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", _italy),
    (r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?\d{2} ?\d{3} ?\d{3} ?\d{2}", _france),
    (r"\d{3}\.\d{3}\.\d{3}-\d{2}", _brazil),
    (r"\d{6}(?:19|20)\d{2}(?:0[1-9]|1[0-2])[0-3]\d\d{3}[\dX]", _china),
    (r"\d{4} \d{4} \d{4}(?! ?\d)", _india),
)
# The look ahead turns away most places before the seven forms are tried.
_NATIONAL_ID = re.compile(
    r"\b(?=[0-9A-Z]{3}|[12] \d)(?:" + "|".join(f"({form})" for form, _ in _NATIONAL) + r")\b"
)
