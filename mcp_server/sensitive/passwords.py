"""Passwords: said in a sentence, assigned in a file, or inside of an address. What only talks about passwords is left alone.

A value is taken for a password by its look, never by looking it up anywhere.
"""

import re
from collections.abc import Iterator

from mcp_server.sensitive.plain import small_letters
from mcp_server.sensitive.spans import Span

_SAID = re.compile(
    r"""(?P<name>pass(?:word|wd|phrase|code)s?|pwd|(?<![a-z0-9])pw(?![a-z0-9])|secret(?:[_ -]?key)?|(?:api|access|private|account)[_ -]?key|
        (?:access|auth|api|bot|refresh)[_ -]?token|client[_ -]?secret)["'`]?
        (?:\s(?:for|to|of|on|at)\s[^\s:=]{1,24}(?:\s[^\s:=]{1,16}){0,2})?
        (?P<how>\s{0,3}[:=]{1,2}\s{0,3}|\s{1,2}(?:is|was)(?:\snow|:)?\s{1,2})
        ["'`]?(?P<value>[^\s"'`]{4,200})""",
    re.VERBOSE,
)

# What a password is called elsewhere: by what is looked for first, how it is written, and the words that may stand between it and its value.
_LATIN_NAMES = tuple(
    (names.split(), name, joined)
    for names, name, joined in (
        ("passwort kennwort", r"(?:pass|kenn)w[oö]rt(?:es|s)?", "ist|lautet|war"),
        ("passe mdp", r"mots? de passe|mdp", "est|était|c'est"),
        ("contraseña contrasena clave", r"contrase[ñn]as?|(?<!palabra )(?<!palabras )clave", "es|era"),
        ("parola", r"parola (?:d'ordine|chiave)", "è|era|e'"),
        ("parola parolă", r"parol[aă]", "este"),
        ("senha palavra", r"senha|palavra[ -]passe", "é|era"),
        ("wachtwoord", r"wachtwoord", "is|was"),
        ("hasło hasła haslo", r"has[łl]o|hasła", "to|jest|brzmi"),
        ("heslo", r"heslo", "je|bylo"),
        ("şifre sifre", r"(?:ş|s)ifre(?:m|si|miz)?", "şu"),
        ("lösenord passord adgangskode salasana", r"lösenord(?:et)?|passord(?:et)?|adgangskode[nr]?|salasana(?:ni)?", "är|er|on"),
        ("password", r"password", "è|é|es|est|ist|lautet|jest|to|är"),
        ("пароль пароля паролі κωδικός", r"парол[ьяіе]|κωδικός", "это|—|–|-|такой|είναι"),
    )
)  # fmt: skip
# Written without spaces, or with endings: the value is what stands there in Latin letters, digits and signs.
_OTHER_NAMES = tuple(
    (names.split(), name, joined)
    for names, name, joined in (
        ("密码 密碼 口令", "密码|密碼|口令", r"是|为|為|就是|改成了?|设为|\s"),
        ("パスワード 暗証番号 合言葉", "パスワード|暗証番号|合言葉", "は、?|が"),
        ("비밀번호 패스워드 암호", "비밀번호|패스워드|암호", "[는은가이]"),
        ("المرور السر السري", "كلمة (?:المرور|السر)|الرقم السري", "هي|هو"),
        ("पासवर्ड", "पासवर्ड", "है"),
        ("סיסמה סיסמא הסיסמה", "סיסמ[הא]", "היא"),
        ("รหัสผ่าน", "รหัสผ่าน", "คือ"),
        ("khẩu", "mật khẩu", "là"),
    )
)
_FOR = (
    r"(?:\s(?:for|to|of|on|at|für|vom|von|zum|zur|beim|im|de|du|des|del|della|do|da|para|per|pour|voor|van|od|do|для|от|к)"
    r"\s[^\s:=]{1,24}(?:\s[^\s:=]{1,16}){0,2})?"
)
_ASSIGNS = r"\s{0,3}[:=]{1,2}\s{0,3}"
_QUOTE = r"""["'`“”„«»「『]?"""
_LATIN = tuple(
    (
        names,
        re.compile(
            rf"(?<![^\W_])(?:{name}){_FOR}(?:{_ASSIGNS}|,?\s{{1,2}}(?:{joined})\s?:?\s{{1,2}}){_QUOTE}"
            r"""(?P<value>[^\s"'`“”„«»]{4,200})"""
        ),
    )
    for names, name, joined in _LATIN_NAMES
)
_OTHER = tuple(
    (
        names,
        re.compile(
            rf"(?:{name})(?:{_ASSIGNS}|\s{{0,2}}(?:{joined})[:,]?\s{{0,2}}){_QUOTE}(?P<value>[!#-&(-_a-~]{{4,200}})"
        ),
    )
    for names, name, joined in _OTHER_NAMES
)
# In the year, of so many places: what is counted is no password.
_COUNTS = re.compile(r"\s?[年月日位个個桁文字자년월일]")

# Numbers that open something only together with their name. An Indian "PIN code" of six digits is a postal code.
_PIN = re.compile(
    r"(?<![^\W_])(?P<name>pin(?:[ -]?(?:code|nummer|number))?|cv[vc]2?|card security code|security code)"
    + _FOR
    + rf"(?:{_ASSIGNS}|\s{{1,2}}(?:is|was|ist|lautet|est|es|è|é|to)(?:\snow|:)?\s{{1,2}}|\s{{1,2}}){_QUOTE}"
    r"(?P<value>\d{3,8})(?![\w%€$-]|[.,:/]\d)"
)
_IN_ADDRESS = re.compile(r"://([^\s/:@]{0,100}):([^\s/@]{3,200})@")

_CLOSING = ".,;:!?)]}>"
_PLACEHOLDER = re.compile(
    r"[$<{\[(%*•…#]|(?:os|process|env|self|settings|config|secrets|vault|import|getenv)\b\.?|[*xX.•_-]+$|"
    r"\d{1,4}[/-]\d{1,2}[/-]\d{1,4}$|your[_-]|my[_-]|example|changeme$|redacted",
    re.IGNORECASE,
)
_NO_PASSWORD = frozenset(
    "required optional string none null true false undefined changed reset hidden missing wrong incorrect expired invalid "
    "unknown empty default manager protected managers stored encrypted different correct forgotten nothing something".split()
)
# What code assigns: a variable, an attribute, a call. No quote stands inside of a value, so `form["x"]` ends at its bracket.
_IDENTIFIER = re.compile(r"[A-Za-z_.]*[_.\[({][A-Za-z_.]*[\[({]?")
_KEY_CHARS_MIN = 12


def passwords(text: str) -> Iterator[Span]:
    # Not `IGNORECASE`, which would try the pattern at every letter.
    small = small_letters(text)
    for match in _SAID.finditer(small):
        start = match.start("value")
        value = text[start : match.end("value")].rstrip(_CLOSING)
        if _is_one(value, match, rest=text[match.end() : match.end() + 2]):
            label = "password" if match["name"][0] == "p" and not _is_key(match["name"]) else "key"
            yield Span(start, start + len(value), label, "secret")
    for match in _IN_ADDRESS.finditer(text):
        if not _PLACEHOLDER.match(match.group(2)):
            yield Span(match.start(2), match.end(2), "password", "secret")
    yield from _elsewhere(text, small)


def pins(text: str) -> Iterator[Span]:
    """Numbers said to be a PIN or what stands on the back of a card."""
    for match in _PIN.finditer(small_letters(text)):
        digits = len(match["value"])
        of_card = match["name"].startswith("cv") or "security" in match["name"]
        postal = match["name"] in ("pin code", "pin-code", "pincode") and digits == 6
        if (
            digits <= 4 if match["name"].startswith("cv") else digits >= 3 + (not of_card)
        ) and not postal:
            yield Span(match.start("value"), match.end("value"), "PIN", "secret")


def _elsewhere(text: str, small: str) -> Iterator[Span]:
    """Passwords called by their name in another language than English; a plain word is never taken for one there."""
    for names, form in (*_LATIN, *_OTHER):
        if not any(name in small for name in names):
            continue
        for match in form.finditer(small):
            start = match.start("value")
            value = text[start : match.end("value")].rstrip(_CLOSING)
            counted = value.isdigit() and _COUNTS.match(text, start + len(value))
            if not counted and _looks_chosen(value):
                yield Span(start, start + len(value), "password", "secret")


def _is_key(name: str) -> bool:
    return name.endswith(("key", "token", "secret"))


def _is_one(value: str, match: re.Match[str], *, rest: str) -> bool:
    if _is_code(value):
        return False
    if _is_key(match["name"]):
        return (
            len(value) >= _KEY_CHARS_MIN
            and any(c.isdigit() for c in value)
            and any(c.isalpha() for c in value)
        )
    # A single plain word is a password only where nothing else can be meant: alone after a colon.
    assigned = "is" not in match["how"] and "was" not in match["how"]
    alone = (
        assigned
        and len(value) >= 8
        and value.islower()
        and value.isalpha()
        and value not in _NO_PASSWORD
        and rest.strip(" .,;!?)") == ""
        and not rest.startswith(" ")
    )
    return alone or _looks_chosen(value)


def _is_code(value: str) -> bool:
    return (
        _PLACEHOLDER.match(value) is not None
        or "(" in value
        or "://" in value
        or _IDENTIFIER.fullmatch(value) is not None
    )


def _looks_chosen(value: str) -> bool:
    """Whether it has what people put into passwords and not into words: digits, signs, capitals in the middle."""
    if len(value) < 4 or _is_code(value):
        return False
    has_letter = any(c.isalpha() for c in value)
    if any(c.isdigit() for c in value):
        return has_letter or len(value) >= 4
    odd = any(not c.isalnum() and c not in "-'/’" for c in value)
    mixed = not (value.islower() or value.isupper() or value.istitle() or value[1:].islower())
    return (odd or mixed) and has_letter and len(value) >= 6
