"""What sync is refused for, each with a code that devices know and a sentence for whoever reads it."""

from cloud_api.http.refusals import ExplainedError, GoneError, RateLimitedError, StorageFullError
from shared.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    QuotaExceededError,
    SunaivaError,
)
from sync_service.relay import Fork, Gap, Refused


class VaultNotFoundError(NotFoundError):
    code = "vault_not_found"

    def __init__(self) -> None:
        super().__init__(
            "There is no such vault in this account. Nothing on your devices is affected; they can set it up here anew."
        )


class VaultTakenError(ConflictError):
    code = "vault_taken"


class TooManyVaultsError(QuotaExceededError):
    code = "vaults_too_many"


class DeviceRevokedError(ForbiddenError):
    code = "device_revoked"

    def __init__(self) -> None:
        super().__init__(
            "This device was removed from the vault. What it holds stays on it; pair it again to sync."
        )


class NotEntitledError(ExplainedError, ForbiddenError):
    """Only storing needs it: reading, exporting and deleting never do."""

    code = "not_entitled"


class VaultFullError(ExplainedError, StorageFullError):
    code = "vault_full"


class GenerationChangedError(ExplainedError, ConflictError):
    code = "generation_changed"


class CompactedError(ExplainedError, GoneError):
    code = "compacted"


class BatchMalformedError(InvalidError):
    code = "batch_malformed"


class BatchWrongVaultError(InvalidError):
    code = "batch_wrong_vault"


class BatchForgedError(ForbiddenError):
    code = "batch_forged"


class BatchUnknownDeviceError(ForbiddenError):
    code = "batch_unknown_device"


class BatchRevokedError(ForbiddenError):
    code = "batch_revoked"


class BatchDowngradeError(ForbiddenError):
    code = "batch_downgrade"


class BatchChainError(ConflictError):
    code = "batch_chain_broken"


class BatchAheadError(ExplainedError, ConflictError):
    code = "batch_ahead_of_control"


class BatchGapError(ExplainedError, ConflictError):
    code = "batch_gap"


class BatchForkError(ExplainedError, ConflictError):
    code = "batch_fork"


class ControlConflictError(ExplainedError, ConflictError):
    """Somebody was faster: read what they wrote, then decide again."""

    code = "control_conflict"


class ControlRefusedError(ExplainedError, InvalidError):
    code = "control_refused"


class ControlFullError(QuotaExceededError):
    code = "control_full"


class SegmentTakenError(ConflictError):
    code = "segment_taken"


class SegmentNotFoundError(NotFoundError):
    code = "segment_not_found"


class SegmentMalformedError(InvalidError):
    code = "segment_malformed"


class ManifestRefusedError(InvalidError):
    code = "manifest_refused"


class ManifestForgedError(ForbiddenError):
    code = "manifest_forged"


class ManifestAheadError(ConflictError):
    code = "manifest_ahead"


class ManifestNotFoundError(NotFoundError):
    code = "manifest_not_found"


class ManifestsFullError(QuotaExceededError):
    code = "manifests_full"


class TooManyListenersError(RateLimitedError):
    code = "listeners_too_many"


def error_of(verdict: Gap | Fork | Refused, *, stream: bytes) -> SunaivaError:
    """What a push is refused with for the first of its batches that cannot be stored."""
    match verdict:
        case Gap(expected):
            return BatchGapError(
                f"Batches are missing: number {expected} of this stream comes next. Send from there on.",
                stream=stream.hex(),
                expected_seq=expected,
            )
        case Fork(_, seq):
            return BatchForkError(
                "Another batch has this number already: the device runs twice, or was put back from a backup. It has to go on "
                "under a new stream.",
                stream=stream.hex(),
                seq=seq,
            )
        case Refused(reason):
            kind, sentence = _REFUSED[reason]
            return kind(sentence)


_REFUSED: dict[str, tuple[type[SunaivaError], str]] = {
    "wrong_vault": (BatchWrongVaultError, "A batch belongs to another vault. Nothing was stored."),
    "unknown_device": (
        BatchUnknownDeviceError,
        "A batch comes from a device that the vault's device list does not know. Nothing was stored.",
    ),
    "forged": (
        BatchForgedError,
        "The signature of a batch does not fit its device. Nothing was stored.",
    ),
    "revoked_device": (
        BatchRevokedError,
        "A batch comes from a device after it was removed from the vault. Nothing was stored.",
    ),
    "reordered": (
        BatchChainError,
        "A batch does not follow the one that is stored before it. Nothing was stored.",
    ),
    "downgrade": (
        BatchDowngradeError,
        "A batch is encrypted in an older way than this vault demands. Update Sunaiva on that device.",
    ),
    "device_list_withheld": (
        BatchAheadError,
        "A batch was made under a device list that is not here yet. Send the device list first.",
    ),
}
