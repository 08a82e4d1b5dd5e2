"""What is found of the secrets and personal details in sentences made for it, and what is wrongly taken for one.

Everything is made by a seeded generator, checksums included, and put into sentences as people and tools write them; the
hard negatives are what scanners trip over. No key here ever opened anything.
"""

import argparse
import base64
import hashlib
import random
import string
import uuid
from collections.abc import Callable
from typing import Any

from mnemonic import Mnemonic

from bench.progress import Progress
from bench.report import Bar, at_least
from mcp_server import sensitive

EACH_DEFAULT = 40
_SENTENCES = (
    "{}",
    "Here it is: {}",
    "I found {} in the settings yesterday.",
    'config = {{"value": "{}"}}',
    "we talked about the trip to Porto ({}) and then about lunch",
    "- {}\n- buy milk",
)
_LETTERS = string.ascii_letters + string.digits
Maker = Callable[[random.Random], str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--each", type=int, default=EACH_DEFAULT, help="sentences of each sort")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    rng = random.Random(options.seed)
    each = min(options.each, options.max or options.each)
    results: dict[str, Any] = {}
    right = wrong = missed = 0
    for family, makers in (("secret", SECRETS), ("personal", PERSONAL)):
        for name, maker in makers.items():
            hits = sum(finds(rng, maker, family) for _ in range(each))
            results.setdefault(f"{family}, found", {})[name] = hits / each
            right, missed = right + hits, missed + each - hits
    for name, maker in HARMLESS.items():
        false = sum(bool(sensitive.found(said(rng, maker(rng)))) for _ in range(each))
        results.setdefault("harmless, taken for one", {})[name] = false / each
        wrong += false
    precision, recall = right / max(1, right + wrong), right / max(1, right + missed)
    results |= {"precision": precision, "recall": recall}
    return results, [at_least("precision", precision, 0.95), at_least("recall", recall, 0.95)]


def said(rng: random.Random, value: str) -> str:
    return rng.choice(_SENTENCES).format(value)


def finds(rng: random.Random, maker: Maker, family: str) -> bool:
    """All of the secret part, and nothing of the sentence around it."""
    value = maker(rng)
    text = said(rng, value)
    place = text.index(value)
    spans = [span for span in sensitive.found(text) if span.family == family]
    return bool(spans) and all(
        place <= span.start and span.end <= place + len(value) for span in spans
    )


def _some(rng: random.Random, letters: str, size: int) -> str:
    return "".join(rng.choices(letters, k=size))


def _card(rng: random.Random) -> str:
    body = rng.choice(("4", "51", "55", "6011")) + _some(rng, string.digits, 14)
    body = body[:15]
    total = sum(
        sum(divmod(int(digit) * (2 if place % 2 == 0 else 1), 10))
        for place, digit in enumerate(body)
    )
    number = body + str(-total % 10)
    return rng.choice((number, " ".join(number[at : at + 4] for at in range(0, 16, 4))))


def _iban(rng: random.Random) -> str:
    country, size = rng.choice((("DE", 18), ("PT", 21), ("ES", 20), ("BE", 12)))
    body = _some(rng, string.digits, size)
    digits = "".join(str(int(each, 36)) for each in f"{body}{country}00")
    number = f"{country}{98 - int(digits) % 97:02d}{body}"
    return rng.choice((number, " ".join(number[at : at + 4] for at in range(0, len(number), 4))))


def _jwt(rng: random.Random) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    header, body = b'{"alg":"HS256","typ":"JWT"}', f'{{"sub":"{rng.random()}"}}'.encode()
    return ".".join((part(header), part(body), part(rng.randbytes(32))))


def _pem(rng: random.Random) -> str:
    lines = [base64.b64encode(rng.randbytes(48)).decode() for _ in range(6)]
    kind = rng.choice(("RSA ", "EC ", "OPENSSH ", ""))
    return "\n".join(
        [f"-----BEGIN {kind}PRIVATE KEY-----", *lines, f"-----END {kind}PRIVATE KEY-----"]
    )


def _password(rng: random.Random) -> str:
    word = rng.choice(("harbour", "Velvet", "copper", "Quince"))
    return word + rng.choice("!#%&") + _some(rng, string.digits, 3) + _some(rng, _LETTERS, 3)


def _mixed(rng: random.Random, size: int) -> str:
    """A random token as machines make them: some of everything."""
    while True:
        token = _some(rng, _LETTERS, size)
        kinds = (str.isdigit, str.islower, str.isupper)
        if all(sum(kind(each) for each in token) >= 3 for kind in kinds):
            return token


def _elsewhere(rng: random.Random) -> str:
    said = rng.choice(
        ("Passwort: {}", "das Passwort vom WLAN ist {}", "mot de passe : {}", "le mot de passe est {}", "contraseña: {}",
         "la contraseña del wifi es {}", "la password è {}", "palavra-passe: {}", "a senha é {}", "het wachtwoord is {}", "hasło to {}",
         "пароль: {}", "пароль от почты — {}", "密码是{}", "密碼：{}", "パスワードは{}です", "비밀번호는 {}", "كلمة المرور هي {}", "पासवर्ड: {}",
         "lösenord: {}", "şifre: {}", "the Wi-Fi pw is {}")
    )  # fmt: skip
    return str(said.format(_password(rng)))


def _wide(rng: random.Random) -> str:
    """As it is typed on an East Asian keyboard."""
    text = f"password: {_password(rng)}"
    return "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)


def _aws(rng: random.Random) -> str:
    letters = string.ascii_letters + "/+"
    access = "AKIA" + _some(rng, string.ascii_uppercase + "234567", 15) + "7"
    return f"AWS key {access} secret {'aB' + _some(rng, letters, 38)}"


SECRETS: dict[str, Maker] = {
    "AWS": lambda rng: "AKIA" + _some(rng, string.ascii_uppercase + "234567", 15) + "7",
    "AWS, with its secret": _aws,
    "GitHub": lambda rng: "ghp_" + _mixed(rng, 36),
    "GitHub, fine-grained": lambda rng: f"github_pat_{_mixed(rng, 22)}_{_mixed(rng, 59)}",
    "Slack": lambda rng: f"xoxb-{_some(rng, string.digits, 12)}-{_mixed(rng, 24)}",
    "Stripe": lambda rng: rng.choice(("sk_live_", "rk_test_")) + _mixed(rng, 24),
    "OpenAI": lambda rng: "sk-proj-" + _mixed(rng, 48),
    "Anthropic": lambda rng: "sk-ant-api03-" + _mixed(rng, 93) + "AA",
    "Google": lambda rng: "AIza" + _mixed(rng, 35),
    "Hugging Face": lambda rng: "hf_" + _mixed(rng, 34),
    "npm": lambda rng: "npm_" + _mixed(rng, 36),
    "JSON web token": _jwt,
    "private key": _pem,
    "password: …": lambda rng: f"password: {_password(rng)}",
    "my password is …": lambda rng: f"my password for the shop is {_password(rng)}",
    "password, in other languages": _elsewhere,
    "password, full-width": _wide,
    "PIN": lambda rng: f"the PIN of my card is {_some(rng, string.digits, 4)}",
    "CVV": lambda rng: f"cvv {_some(rng, string.digits, 3)}",
    "DB_PASSWORD=…": lambda rng: f"DB_PASSWORD={_password(rng)}",
    "api key assigned": lambda rng: f"api_key = {_mixed(rng, 32)}",
    "address with password": lambda rng: f"postgres://app:{_mixed(rng, 12)}@db.example.org/app",
    "bearer": lambda rng: f"Authorization: Bearer {_mixed(rng, 40)}",
    "random token": lambda rng: _mixed(rng, 43),
    "payment card": _card,
    "seed phrase": lambda rng: Mnemonic("english").to_mnemonic(rng.randbytes(16)),
}
PERSONAL: dict[str, Maker] = {
    "e-mail": lambda rng: f"{_some(rng, string.ascii_lowercase, 7)}@example.org",
    "phone": lambda rng: f"+351 9{_some(rng, string.digits, 2)} {_some(rng, '123456789', 3)} {_some(rng, '123456789', 3)}",
    "bank account": _iban,
    "US social security": lambda rng: f"{rng.randint(101, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}",
    "Spanish id": lambda rng: (lambda n: f"{n:08d}" + "TRWAGMYFPDXBNJZSQVHLCKE"[n % 23])(rng.randrange(10**8)),
}  # fmt: skip
HARMLESS: dict[str, Maker] = {
    "git hash": lambda rng: f"commit {hashlib.sha1(rng.randbytes(8)).hexdigest()}",
    "SHA-256": lambda rng: f"sha256:{rng.randbytes(32).hex()}",
    "npm integrity": lambda rng: "sha512-" + base64.b64encode(rng.randbytes(64)).decode(),
    "UUID": lambda rng: str(uuid.UUID(bytes=rng.randbytes(16), version=4)),
    "base64 image": lambda rng: "data:image/png;base64," + base64.b64encode(rng.randbytes(600)).decode(),
    "certificate": lambda rng: "-----BEGIN CERTIFICATE-----\n"
    + "\n".join(base64.b64encode(rng.randbytes(48)).decode() for _ in range(8))
    + "\n-----END CERTIFICATE-----",
    "ssh public key": lambda rng: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + base64.b64encode(rng.randbytes(31)).decode(),
    "ISBN": lambda rng: f"ISBN 978-{rng.randint(0, 9)}-{_some(rng, string.digits, 4)}-{_some(rng, string.digits, 4)}-7",
    "order number": lambda rng: f"order no. {rng.randint(4 * 10**15, 5 * 10**15)}",
    "timestamp": lambda rng: str(rng.randint(1_600_000_000_000, 1_900_000_000_000)),
    "hex colour": lambda rng: f"#{rng.randrange(16**6):06x}",
    "document link": lambda rng: f"https://docs.example.org/d/{_mixed(rng, 44)}/edit?usp=sharing",
    "talk of passwords": lambda rng: rng.choice(
        (
            "the password is required at every start",
            "password: required",
            "I forgot my password again, secret santa is on Friday",
            "the secret is out: we are moving",
            "password: ${DB_PASSWORD}",
            "api_key = os.environ['API_KEY']",
            "my password manager is great",
            "passwords: see the manager",
        )
    ),
    "talk of passwords elsewhere": lambda rng: rng.choice(
        (
            "Passwort: vergessen",
            "das Passwort ist im Tresor",
            "le mot de passe est oublié",
            "palabras clave: SEO2024 y marketing",
            "la clave es la paciencia",
            "密码是在保险箱里，钥匙在桌上",
            "密码是2024年设的",
            "パスワードは忘れました",
            "пароль: спроси у Анны",
            "a senha é fácil de lembrar",
            "het wachtwoord is vergeten",
            "비밀번호는 기억이 안 나요",
        )
    ),
    "other pins": lambda rng: rng.choice(
        (
            f"PIN code {rng.randint(110001, 855117)}",
            f"GPIO pin {rng.randint(2, 27)} is high",
            "we pinned version 2.13.0 of it",
            "pin 4.5 cm from the edge",
            "a spin of 1200 turns",
        )
    ),
    "long names": lambda rng: "_".join(
        rng.choice(("get", "user", "memory", "index", "settings", "from", "environment"))
        for _ in range(7)
    ),
    "prose": lambda rng: " ".join(
        rng.choice("we about abandon orange river always keep market the train into window".split())
        for _ in range(20)
    ),
    "amount and date": lambda rng: f"{rng.randint(1000, 99999)} euros on 2026-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}",
    "version": lambda rng: f"v{rng.randint(1, 9)}.{rng.randint(0, 99)}.{rng.randint(0, 99)}-rc.{rng.randint(1, 9)}+build.{rng.randint(1, 999)}",
    "coordinates": lambda rng: f"{rng.uniform(-90, 90):.6f}, {rng.uniform(-180, 180):.6f}",
}  # fmt: skip
