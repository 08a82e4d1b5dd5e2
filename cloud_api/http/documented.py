"""Refusals as the OpenAPI document names them: a route that does not say what it may answer would be taken at its word."""

from litestar.openapi.datastructures import ResponseSpec

from cloud_api.http.problems import MEDIA_TYPE, Problem

_DESCRIPTIONS = {
    400: "Something in the request cannot be used; nothing was changed.",
    401: "Nobody known: a token, password or code is missing, wrong or over.",
    403: "Known, and not allowed to do this now.",
    404: "There is nothing of this name that is the caller's.",
    409: "It collides with what there is already.",
    412: "It was changed since it was read.",
    413: "The body is too large.",
    415: "The body is of a kind that is not understood.",
    422: "This Idempotency-Key was used for another request.",
    428: "If-Match is missing.",
    429: "Too many requests or attempts; Retry-After says when to go on.",
    503: "Not now; Retry-After says when.",
}


def refusals(*statuses: int) -> dict[int, ResponseSpec]:
    """For a route's `responses`: what it may answer besides its own answer, on top of what every route may."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            description=_DESCRIPTIONS[status],
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
        for status in sorted({400, 413, 415, 429, 503, *statuses})
    }
