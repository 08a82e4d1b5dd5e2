"""The texts that nobody has an account without agreeing to, as they are at the moment of signing up."""

from msgspec import Struct

from cloud_api.http.refusals import InvalidFieldError


class Agreements(Struct, frozen=True, kw_only=True):
    """A version of each text."""

    terms: str
    privacy: str


class AgreementUnknownError(InvalidFieldError):
    code = "agreement_unknown"

    def __init__(self, field: str, present: str) -> None:
        super().__init__(
            field,
            f"{field}: there is no such version to agree to. The present one is {present}; show that text, which "
            "/api/v1/consents names, then send its version.",
        )


def check_agreements(agreed: Agreements, present: Agreements) -> None:
    """
    Raises:
        AgreementUnknownError: somebody was shown another text than the one that counts now.
    """
    if agreed.terms != present.terms:
        raise AgreementUnknownError("terms", present.terms)
    if agreed.privacy != present.privacy:
        raise AgreementUnknownError("privacy", present.privacy)
