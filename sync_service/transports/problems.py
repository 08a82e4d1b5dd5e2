"""What a server says when it refuses something, as the errors that the engine knows.

Whatever else it says is no reason to believe anything: a refusal without a code that is known here is just that.
"""

from collections.abc import Mapping
from typing import NoReturn

import msgspec
from msgspec import Struct

from shared.errors import ConflictError
from sync_service.transport import (
    POSITION_MAX,
    CompactedError,
    ControlConflictError,
    ForkError,
    GenerationChangedError,
    NoSegmentError,
    NotEntitledError,
    NoVaultError,
    QuotaError,
    RefusedError,
    RevokedError,
    SeqGapError,
    TooLargeError,
    UnreadableAnswerError,
    VaultDeletedError,
)


class _Problem(Struct, frozen=True):
    code: str = ""
    detail: str = ""
    about: dict[str, str | int] = {}


def refuse(status: int, content: bytes) -> NoReturn:
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem()
    sentence = problem.detail or f"The server refused this ({status})."
    moved = _moved_on(problem, sentence)
    if moved is not None:
        raise moved
    named = _BY_CODE.get(problem.code)
    if named is not None:
        raise named(sentence)
    if status == 413:
        raise TooLargeError(sentence)
    if status in (401, 403):
        raise RevokedError(sentence)
    if status < 400 or status == 404:
        raise unreadable()
    raise RefusedError(sentence)


def _moved_on(problem: _Problem, sentence: str) -> ConflictError | None:
    """That things stand otherwise than the device thought, and how."""
    about = problem.about
    match problem.code:
        case "batch_fork":
            return ForkError(_stream(about), _number(about, "seq"))
        case "batch_gap":
            return SeqGapError(_stream(about), _number(about, "expected_seq"))
        case "generation_changed":
            return GenerationChangedError(str(about.get("generation", "")))
        case "compacted":
            return CompactedError(_number(about, "min_pos") + 1)
        case "control_conflict" | "batch_ahead_of_control":
            return ControlConflictError(sentence)
        case _:
            return None


_Named = (
    type[NoVaultError]
    | type[VaultDeletedError]
    | type[NoSegmentError]
    | type[RevokedError]
    | type[NotEntitledError]
    | type[QuotaError]
    | type[RefusedError]
)
_BY_CODE: dict[str, _Named] = {
    "vault_not_found": NoVaultError,
    "vault_deleted": VaultDeletedError,
    "segment_not_found": NoSegmentError,
    "device_revoked": RevokedError,
    "not_entitled": NotEntitledError,
    "vault_full": QuotaError,
    "manifests_full": QuotaError,
    "control_full": QuotaError,
    "batch_malformed": RefusedError,
    "batch_wrong_vault": RefusedError,
    "batch_forged": RefusedError,
    "batch_unknown_device": RefusedError,
    "batch_revoked": RevokedError,
    "batch_downgrade": RefusedError,
    "batch_chain_broken": RefusedError,
    "control_refused": RefusedError,
}


def _stream(about: Mapping[str, str | int]) -> bytes:
    try:
        return bytes.fromhex(str(about.get("stream", "")))
    except ValueError:
        return b""


def _number(about: Mapping[str, str | int], name: str) -> int:
    number = about.get(name, 0)
    return number if isinstance(number, int) and 0 <= number < POSITION_MAX else 0


def unreadable() -> UnreadableAnswerError:
    return UnreadableAnswerError(
        "The answer is none that a Sunaiva server gives. Is something in between, like a hotel's log-in page?"
    )
