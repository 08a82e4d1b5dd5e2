"""What sync holds of a person: names, sizes and times; and what is sealed, which only their devices can open.

The sealed bytes are not in an export, because nobody without the devices could read them, and the devices have all of it: `sunaiva
export` writes it out. What the bytes are like is: how many, how large, when.
"""

from cloud_api.personal import INTERNAL, PersonalTable

_OF_VAULTS = "vault_id IN (SELECT id FROM vaults WHERE account_id = %(account)s)"
_SEALED = (
    "sealed on your devices, which alone can open it: `sunaiva export` writes out what it says"
)

PERSONAL = (
    PersonalTable(
        name="vaults_deleted",
        shown=("vault_id", "deleted_at"),
        withheld={"account_id": INTERNAL},
        deletion="with_account",
    ),
    PersonalTable(
        name="batches",
        shown=("vault_id", "pos", "stream_id", "seq", "bytes", "received_at"),
        withheld={"account_id": INTERNAL, "hash": INTERNAL, "frame": _SEALED},
        whose=_OF_VAULTS,
        deletion="deleted",
    ),
    PersonalTable(
        name="streams",
        shown=("vault_id", "id", "device_id", "seq"),
        withheld={"account_id": INTERNAL, "hash": INTERNAL},
        whose=_OF_VAULTS,
        deletion="with_account",
    ),
    PersonalTable(
        name="control_entries",
        shown=("vault_id", "seq", "entry", "received_at"),
        withheld={"account_id": INTERNAL, "hash": INTERNAL},
        whose=_OF_VAULTS,
        deletion="with_account",
    ),
    PersonalTable(
        name="segments",
        shown=("vault_id", "name", "bytes", "begun_at", "stored_at"),
        withheld={"account_id": INTERNAL, "hash": INTERNAL, "blob": INTERNAL},
        whose=_OF_VAULTS,
        deletion="with_account",
        blob="blob",
    ),
    PersonalTable(
        name="manifests",
        shown=(
            "vault_id",
            "id",
            "device_id",
            "manifest",
            "segments",
            "received_at",
            "vouched_at",
            "applied_at",
        ),
        withheld={"account_id": INTERNAL},
        whose=_OF_VAULTS,
        deletion="with_account",
    ),
    PersonalTable(
        name="cosignatures",
        shown=("vault_id", "manifest_id", "device_id", "signature", "received_at"),
        withheld={"account_id": INTERNAL},
        whose=_OF_VAULTS,
        deletion="with_account",
    ),
    PersonalTable(
        name="compactions",
        shown=("vault_id", "id", "manifest_id", "up_to_pos", "batches", "bytes", "done_at"),
        withheld={"account_id": INTERNAL},
        whose=_OF_VAULTS,
        deletion="with_account",
    ),
    PersonalTable(
        name="vaults",
        shown=(
            "id",
            "generation",
            "head_pos",
            "min_pos",
            "control_seq",
            "quota_bytes",
            "used_bytes",
            "created_at",
            "pushed_at",
        ),
        withheld={"account_id": INTERNAL, "control_hash": INTERNAL},
        deletion="deleted",
    ),
)
