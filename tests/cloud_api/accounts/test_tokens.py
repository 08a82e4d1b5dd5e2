"""Access tokens: whatever is not exactly ours speaks for nobody."""

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from cloud_api.accounts.signed import Issuer, Known, SigningKey, claims_of, key_id_of, key_of
from cloud_api.accounts.tokens import (
    ACCESS,
    ACCESS_TOKEN_CHARS_MAX,
    Bearer,
    NotLoggedInError,
    SessionId,
    bearer_now,
    digest_of,
    new_token,
    sign_access_token,
)
from cloud_api.db import AccountId
from shared import crypto
from tests.cloud_api.accounts.people import NOON

ISSUER = Issuer("https://cloud.example.org", "sunaiva-api")
ADA = Bearer(AccountId(UUID(int=1)), SessionId(UUID(int=2)))


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def key(seed: bytes = b"s" * 32, kid: str = "first-key") -> SigningKey:
    x = b64(crypto.signing_public_key(seed))
    return SigningKey(kid, {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "d": b64(seed)})


def public(signer: SigningKey) -> dict[str, str]:
    return {name: value for name, value in signer.jwk.items() if name != "d"}


def claims(**changes: Any) -> dict[str, Any]:
    moment = int(NOON.timestamp())
    given = {
        "iss": ISSUER.issuer,
        "aud": ISSUER.audience,
        "sub": str(ADA.account),
        "sid": str(ADA.session),
        "jti": "x",
        "iat": moment,
        "exp": moment + 900,
    } | changes
    return {name: value for name, value in given.items() if value is not None}


def signed(payload: dict[str, Any], **headers: Any) -> str:
    private = jwt.PyJWK.from_dict(dict(key().jwk), algorithm="EdDSA").key
    return jwt.encode(
        payload, private, algorithm="EdDSA", headers={"kid": "first-key", "typ": "at+jwt"} | headers
    )


def bearer(token: str, *, issuer: Issuer = ISSUER, later: timedelta = timedelta(0)) -> Bearer:
    assert key_id_of(ACCESS, token) == "first-key"
    return bearer_now(claims_of(ACCESS, token, key_of(public(key())), issuer), now=NOON + later)


def test_a_token_speaks_for_whom_it_was_made() -> None:
    token = sign_access_token(key(), ISSUER, ADA, token_id="x", now=NOON)
    assert bearer(token) == ADA
    assert bearer(token, later=timedelta(minutes=14, seconds=59)) == ADA


def test_a_token_ends_after_a_quarter_of_an_hour_and_what_clocks_differ() -> None:
    token = sign_access_token(key(), ISSUER, ADA, token_id="x", now=NOON)
    assert bearer(token, later=timedelta(minutes=15, seconds=29)) == ADA
    with pytest.raises(NotLoggedInError):
        bearer(token, later=timedelta(minutes=15, seconds=30))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-api"},
        {"aud": ["sunaiva-api", "another-api"]},
        {"iss": "https://staging.example.org"},
        {"iat": int(NOON.timestamp()) + 3600, "exp": int(NOON.timestamp()) + 4000},
        {"exp": int(NOON.timestamp()) + 86_400},
        {"exp": None},
        {"aud": None},
        {"sid": None},
        {"sub": "ada"},
        {"sub": 1},
        {"exp": "tomorrow"},
        {"iat": True},
    ],
    ids=str,
)
def test_a_token_with_other_claims_is_refused_also_when_it_is_signed(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(NotLoggedInError):
        bearer(signed(claims(**changes)))


def test_a_token_signed_by_another_key_is_refused() -> None:
    token = sign_access_token(key(b"t" * 32), ISSUER, ADA, token_id="x", now=NOON)
    with pytest.raises(NotLoggedInError):
        bearer(token)


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims()).encode(), signature)
    return ".".join(b64(part) for part in parts)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "RS256", "ES256"])
def test_no_other_algorithm_is_obeyed(algorithm: str) -> None:
    token = unsigned({"alg": algorithm, "typ": "at+jwt", "kid": "first-key"})
    with pytest.raises(NotLoggedInError):
        key_id_of(ACCESS, token)


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    secret = base64.urlsafe_b64decode(key().jwk["x"] + "==")
    token = jwt.encode(
        claims(), secret, algorithm="HS256", headers={"kid": "first-key", "typ": "at+jwt"}
    )
    with pytest.raises(NotLoggedInError):
        bearer_now(claims_of(ACCESS, token, key_of(public(key())), ISSUER), now=NOON)


def test_a_token_of_another_kind_of_key_is_refused() -> None:
    other = generate_private_key(65537, 2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    token = jwt.encode(
        claims(), pem, algorithm="RS256", headers={"kid": "first-key", "typ": "at+jwt"}
    )
    with pytest.raises(NotLoggedInError):
        key_id_of(ACCESS, token)


@pytest.mark.parametrize("kind", ["JWT", "id+jwt", None], ids=str)
def test_a_token_made_for_something_else_is_no_access_token(kind: str | None) -> None:
    with pytest.raises(NotLoggedInError):
        key_id_of(ACCESS, signed(claims(), typ=kind))


@given(st.text(max_size=300) | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}"))
def test_no_text_that_is_no_token_does_anything_else_than_be_refused(text: str) -> None:
    with pytest.raises(NotLoggedInError):
        key_id_of(ACCESS, text)


def test_a_huge_token_is_not_even_read() -> None:
    with pytest.raises(NotLoggedInError):
        key_id_of(ACCESS, signed(claims(padding="x" * ACCESS_TOKEN_CHARS_MAX)))


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_token_with_any_byte_altered_is_refused(place: int, change: int) -> None:
    token = sign_access_token(key(), ISSUER, ADA, token_id="x", now=NOON)
    header, payload, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    raw[place % len(raw)] ^= change
    with pytest.raises(NotLoggedInError):
        bearer(f"{header}.{b64(bytes(raw))}.{signature}")


def test_an_opaque_token_is_found_by_its_digest_and_of_its_kind_only() -> None:
    token = new_token("refresh")
    assert digest_of("refresh", token.text) == token.digest
    assert digest_of("reset", token.text) is None
    assert token.text not in repr(token)


@pytest.mark.parametrize("text", ["", "sunaiva_refresh_", "sunaiva_refresh_" + "x" * 100, "é" * 20])
def test_what_is_no_token_has_no_digest_that_is_known(text: str) -> None:
    assert digest_of("refresh", text) != new_token("refresh").digest


def test_a_token_that_was_verified_once_is_judged_by_its_time_key_and_issuer_again() -> None:
    token = sign_access_token(key(), ISSUER, ADA, token_id="x", now=NOON)
    known = Known(ACCESS)
    said = known.claims(token, public(key()), ISSUER)
    assert known.claims(token, public(key()), ISSUER) is said
    with pytest.raises(NotLoggedInError):
        bearer_now(said, now=NOON + timedelta(hours=1))
    with pytest.raises(NotLoggedInError):
        known.claims(token, public(key(b"t" * 32)), ISSUER)
    with pytest.raises(NotLoggedInError):
        known.claims(token, public(key()), Issuer("https://staging.example.org", ISSUER.audience))


def test_of_the_known_tokens_the_least_recently_used_go_first() -> None:
    tokens = [
        sign_access_token(key(), ISSUER, ADA, token_id=str(number), now=NOON) for number in range(3)
    ]
    known = Known(ACCESS, most=2)
    first = known.claims(tokens[0], public(key()), ISSUER)
    second = known.claims(tokens[1], public(key()), ISSUER)
    assert known.claims(tokens[0], public(key()), ISSUER) is first
    known.claims(tokens[2], public(key()), ISSUER)
    assert known.claims(tokens[0], public(key()), ISSUER) is first
    assert known.claims(tokens[1], public(key()), ISSUER) is not second
