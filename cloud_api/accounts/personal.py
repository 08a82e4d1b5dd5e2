"""What accounts hold of a person. Nearly everything goes with the row of the account itself, by foreign keys."""

from cloud_api.personal import INTERNAL, SECRET, PersonalTable

_SHORT_LIVED = "part of a log-in that is under way, gone within the hour"

PERSONAL = (
    PersonalTable(
        name="sessions",
        shown=(
            "id",
            "device",
            "network",
            "started_at",
            "used_at",
            "expires_at",
            "proved_at",
            "factor_at",
            "ended_at",
            "ended_why",
        ),
        withheld={"account_id": INTERNAL},
        deletion="with_account",
    ),
    PersonalTable(
        name="passkeys",
        shown=(
            "id",
            "name",
            "credential_id",
            "public_key",
            "sign_count",
            "needs_password",
            "created_at",
            "used_at",
        ),
        withheld={"account_id": INTERNAL},
        deletion="with_account",
    ),
    PersonalTable(
        name="totp_secrets",
        shown=("created_at", "confirmed_at"),
        withheld={"account_id": INTERNAL, "sealed": SECRET, "last_step": INTERNAL},
        deletion="with_account",
    ),
    PersonalTable(
        name="recovery_codes",
        shown=("created_at",),
        withheld={"account_id": INTERNAL, "digest": SECRET},
        deletion="with_account",
    ),
    PersonalTable(
        name="account_roles",
        shown=("role", "granted_at"),
        withheld={"account_id": INTERNAL},
        deletion="with_account",
    ),
    PersonalTable(
        name="account_tokens",
        shown=("purpose", "created_at", "expires_at"),
        withheld={"account_id": INTERNAL, "digest": SECRET, "detail": _SHORT_LIVED},
        deletion="with_account",
    ),
    PersonalTable(
        name="refresh_tokens",
        shown=("session_id", "issued_at", "expires_at", "used_at"),
        withheld={
            "account_id": INTERNAL,
            "digest": SECRET,
            "successor_digest": SECRET,
            "successor_sealed": SECRET,
        },
        deletion="with_account",
    ),
    # Seen by who holds its digest, and by who approved it for a quarter of an hour.
    PersonalTable(
        name="device_grants",
        withheld=dict.fromkeys(
            (
                "digest",
                "user_code",
                "account_id",
                "device",
                "network",
                "created_at",
                "expires_at",
                "interval_seconds",
                "polled_at",
                "approved",
                "redeemed_at",
            ),
            _SHORT_LIVED,
        ),
        deletion="with_account",
    ),
    PersonalTable(
        name="accounts",
        shown=("id", "mail", "name", "language", "password_changed_at", "created_at"),
        withheld={"mail_key": INTERNAL, "password_hash": SECRET},
        whose="id = %(account)s",
        deletion="deleted",
    ),
)
