"""Keys and tokens: those whose makers gave them a form to be known by, and random strings that stand where a secret would.

Every pattern begins with a literal or a bounded class and is followed by fixed or maximal runs: linear in the text, whatever it is.
"""

import base64
import binascii
import re
from collections.abc import Iterator

from mcp_server.sensitive.spans import (
    Span,
    bits_per_character,
    in_address,
    said_before,
    stands_alone,
)

# Makers publish these forms so that scanners can find them. Each begins with one of its literals, which are looked for first:
# a text without any of them, nearly every text, costs next to nothing. What begins like another but is longer comes first.
_FORMS = tuple(
    (label, tuple(beginnings.split()), re.compile(form))
    for label, beginnings, form in (
        ("AWS access key", "AKIA ASIA", r"A[KS]IA[A-Z0-9]{16}"),
        ("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{36,251}"),
        ("GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9_]{60,93}"),
        ("GitLab token", "glpat- gldt- glrt- glptt-", r"gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,64}"),
        ("Slack token", "xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,250}"),
        ("Slack token", "xapp-", r"xapp-\d-[A-Za-z0-9-]{20,250}"),
        ("Stripe key", "sk_live_ sk_test_", r"sk_(?:live|test)_[A-Za-z0-9]{16,247}"),
        ("Stripe key", "rk_live_ rk_test_", r"rk_(?:live|test)_[A-Za-z0-9]{16,247}"),
        ("Stripe key", "whsec_", r"whsec_[A-Za-z0-9+/=]{24,128}"),
        ("Anthropic key", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{20,200}"),
        ("OpenAI key", "sk-", r"sk-(?!ant-)[A-Za-z0-9_-]{20,200}"),
        ("Google key", "AIza", r"AIza[A-Za-z0-9_-]{35}"),
        ("Google key", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
        ("Google key", "ya29.", r"ya29\.[A-Za-z0-9_-]{20,2000}"),
        ("Hugging Face token", "hf_", r"hf_[A-Za-z0-9]{30,40}"),
        ("npm token", "npm_", r"npm_[A-Za-z0-9]{36}"),
        ("PyPI token", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{50,400}"),
        ("SendGrid key", "SG.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
        ("DigitalOcean token", "_v1_", r"do[opr]_v1_[a-f0-9]{64}"),
        ("Shopify token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
        ("Databricks token", "dapi", r"dapi[a-f0-9]{32}"),
        ("Groq key", "gsk_", r"gsk_[A-Za-z0-9]{40,64}"),
        ("xAI key", "xai-", r"xai-[A-Za-z0-9]{60,100}"),
        ("Docker token", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,64}"),
        ("Linear key", "lin_api_", r"lin_api_[A-Za-z0-9]{32,64}"),
        ("Notion token", "ntn_", r"ntn_[A-Za-z0-9]{40,60}"),
        ("Postman key", "PMAK-", r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
        ("Vault token", "hvs. hvb.", r"hv[sb]\.[A-Za-z0-9_-]{24,200}"),
        ("Replicate token", "r8_", r"r8_[A-Za-z0-9]{37,40}"),
        ("Twilio key", "SK", r"SK[a-f0-9]{32}"),
        ("age secret key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
        ("bot token", ":AA", r":AA[A-Za-z0-9_-]{33}"),
        (
            "webhook address",
            "hooks.slack.com/services/",
            r"hooks\.slack\.com/services/[\w/-]{20,200}",
        ),
        ("webhook address", "/api/webhooks/", r"/api/webhooks/[\w/-]{20,200}"),
        ("Azure key", "AccountKey=", r"AccountKey=[A-Za-z0-9+/]{80,90}={0,2}"),
    )
)
# An AWS secret has no form of its own but its length: it is known by the key id that stands near it, as in the file both are kept in.
_AWS_ID = re.compile(r"A[KS]IA[A-Z0-9]{16}")
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_AWS_NEAR_CHARS = 200
# What documentation writes in place of a key is one letter again and again.
_DISTINCT_MIN = 6

# The boundary before keeps a run from being looked through once for each of its places.
_JWT = re.compile(r"(?<![\w.-])eyJ[\w-]{8,4000}\.(?:eyJ)?[\w-]{8,8000}\.[\w-]{0,4000}")
_ARMOUR = re.compile(
    r"-----(?:BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|(?P<end>END )[A-Z0-9 ]{0,60}-----)"
)
_KEY_LINES = re.compile(r"(?:(?:\\n|\s){1,4}[A-Za-z0-9+/=]{16,}){0,400}")
_PRIVATE_KEY_CHARS_MAX = 20_000  # RSA with 16,384 bits has 12,000

_BEARER = re.compile(r"\b(?:bearer|basic)\s{1,3}([A-Za-z0-9._~+/=-]{16,4000})", re.IGNORECASE)

# Between these lengths lie keys and passwords made by machines; above are files, images and certificates.
_RANDOM = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}")
_RANDOM_CHARS_MAX = 128
_RANDOM_BITS_MIN = 4.2
_NO_SECRET = re.compile(
    r"(?:sha-?\d*|md5|hash|digest|checksum|integrity|commit|etag|cid|fingerprint|public key|base64|"
    r"\bid|ssh-\w{3,10}|nonce|signature)[\"'` :=,-]{0,3}$"
)
_WORDLIKE = re.compile(r"[a-z]{9,}|[A-Z]{9,}")


def known_keys(text: str) -> Iterator[Span]:
    """Keys in the form that their makers give them."""
    for label, beginnings, form in _FORMS:
        if not any(beginning in text for beginning in beginnings):
            continue
        for match in form.finditer(text):
            token = match.group()
            alone = token[0] in ":/" or not text[match.start() - 1 : match.start()].isalnum()
            varied = len(set(token[4:])) >= _DISTINCT_MIN and any(c.isdigit() for c in token)
            if alone and varied:
                yield _secret(match, label)
    for match in _JWT.finditer(text) if "eyJ" in text else ():
        if _is_jwt(match.group()):
            yield _secret(match, "JSON web token")


def aws_secrets(text: str) -> Iterator[Span]:
    """Secret access keys beside their key ids."""
    if "AKIA" not in text and "ASIA" not in text:
        return
    looked_at = 0
    for access in _AWS_ID.finditer(text):
        since = max(looked_at, access.start() - _AWS_NEAR_CHARS)
        until = min(len(text), access.end() + _AWS_NEAR_CHARS)
        for match in _AWS_SECRET.finditer(text, since, until):
            secret = match.group()
            looked_at = match.end()
            if any(c.islower() for c in secret) and any(c.isupper() for c in secret):
                yield _secret(match, "AWS secret key")


def private_keys(text: str) -> Iterator[Span]:
    """Private keys in PEM or PGP armour, whole, also where the end was cut off."""
    armour = list(_ARMOUR.finditer(text)) if "-----BEGIN " in text else []
    for number, match in enumerate(armour):
        if match["end"]:
            continue
        closing = armour[number + 1] if number + 1 < len(armour) else None
        limit = match.end() + _PRIVATE_KEY_CHARS_MAX
        if closing is not None and closing["end"] and closing.end() <= limit:
            yield Span(match.start(), closing.end(), "private key", "secret")
        else:
            lines = _KEY_LINES.match(text, match.end(), limit)
            yield Span(
                match.start(), lines.end() if lines else match.end(), "private key", "secret"
            )


def random_tokens(text: str) -> Iterator[Span]:
    """Random strings: after `Bearer`, or standing alone with nothing that says they are a hash, an id or a file."""
    for match in _BEARER.finditer(text):
        token = match.group(1)
        if any(c.isdigit() for c in token) and any(c.isalpha() for c in token):
            yield Span(match.start(1), match.end(1), "access token", "secret")
    before = -_RANDOM_CHARS_MAX
    candidates = list(_RANDOM.finditer(text))
    for number, match in enumerate(candidates):
        following = candidates[number + 1].start() if number + 1 < len(candidates) else -2
        in_block = match.start() - before <= 2 or following - match.end() in (1, 2)
        before = match.end()
        if not in_block and _is_random(match.group()) and _may_be_secret(text, match):
            yield _secret(match, "access token")


def _is_jwt(token: str) -> bool:
    header = token.split(".", 1)[0]
    try:
        return b'"alg"' in base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
    except binascii.Error:
        return False


def _is_random(token: str) -> bool:
    body = token.rstrip("=")
    # `AAAA` is how public keys of ssh begin, `sha512-` what package managers put before a digest.
    if len(body) > _RANDOM_CHARS_MAX or body.startswith(
        ("AAAA", "sha1-", "sha256-", "sha384-", "sha512-")
    ):
        return False
    digits = sum(c.isdigit() for c in body)
    return (
        digits >= 3
        and any(c.islower() for c in body)
        and any(c.isupper() for c in body)
        and sum(not c.isalnum() for c in body) <= len(body) / 8
        and _WORDLIKE.search(body) is None
        and bits_per_character(body) >= _RANDOM_BITS_MIN
    )


def _may_be_secret(text: str, match: re.Match[str]) -> bool:
    return (
        stands_alone(text, match.start(), match.end())
        and not in_address(text, match.start())
        and _NO_SECRET.search(said_before(text, match.start(), 20)) is None
    )


def _secret(match: re.Match[str], label: str) -> Span:
    return Span(match.start(), match.end(), label, "secret")
