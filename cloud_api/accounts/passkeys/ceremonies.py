"""The two ceremonies of WebAuthn (Level 3), over the `webauthn` library; no other module imports it.

What a browser sends is hostile until it is verified: every way in which it can be wrong ends in one sentence that does not say
which.
"""

import json
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from cloud_api.accounts.means import Site
from shared.errors import ForbiddenError

CHALLENGE_BYTES = 32
TIMEOUT_MS = 300_000
# Level 3 §5.8.5 recommends these three; the fourth and older ones are for attestation that nobody asked for.
ALGORITHMS = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]

Credential = dict[str, Any]
"""As `navigator.credentials` gives it, in JSON; its shape is the library's to check."""


class PasskeyRefusedError(ForbiddenError):
    code = "passkey_refused"

    def __init__(self) -> None:
        super().__init__(
            "This passkey was not accepted. Begin again; if that does not help, log in another way."
        )


class NewCredential(Struct, frozen=True):
    id: bytes
    public_key: bytes
    sign_count: int


def registration_options(
    site: Site, *, handle: bytes, name: str, challenge: bytes, known: Sequence[bytes]
) -> dict[str, Any]:
    options = generate_registration_options(
        rp_id=site.host,
        rp_name="Sunaiva",
        user_id=handle,
        user_name=name,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
        supported_pub_key_algs=ALGORITHMS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            # A passkey stands for both factors, so that it has to ask for its owner's finger or PIN.
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
    )
    return _plain(options_to_json(options))


def registered(site: Site, credential: Credential, challenge: bytes) -> NewCredential:
    """
    Raises:
        PasskeyRefusedError
    """
    try:
        found = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.public_url,
            require_user_verification=True,
            supported_pub_key_algs=ALGORITHMS,
        )
    except _REFUSED:
        raise PasskeyRefusedError from None
    return NewCredential(found.credential_id, found.credential_public_key, found.sign_count)


def login_options(site: Site, *, challenge: bytes) -> dict[str, Any]:
    options = generate_authentication_options(
        rp_id=site.host,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return _plain(options_to_json(options))


def credential_id(credential: Credential) -> bytes:
    """Which credential this claims to be.

    Raises:
        PasskeyRefusedError: it names none.
    """
    named = credential.get("id")
    if not isinstance(named, str) or len(named) > 1_400:
        raise PasskeyRefusedError
    try:
        return base64url_to_bytes(named)
    except ValueError:
        raise PasskeyRefusedError from None


def proved(
    site: Site, credential: Credential, challenge: bytes, *, public_key: bytes, sign_count: int
) -> int:
    """The new count of signatures; a count that goes back tells of a copied authenticator.

    Raises:
        PasskeyRefusedError
    """
    try:
        found = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=site.host,
            expected_origin=site.public_url,
            credential_public_key=public_key,
            credential_current_sign_count=sign_count,
            require_user_verification=True,
        )
    except _REFUSED:
        raise PasskeyRefusedError from None
    return found.new_sign_count


# The library names what it foresees; what hostile CBOR and JSON do besides comes as one of the others.
_REFUSED = (WebAuthnException, ValueError, TypeError, LookupError, AttributeError, RecursionError)


def _plain(text: str) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(text)
    return plain
