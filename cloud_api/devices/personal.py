"""What is held of a person's devices."""

from cloud_api.personal import INTERNAL, PersonalTable

_OF_VAULTS = "vault_id IN (SELECT id FROM vaults WHERE account_id = %(account)s)"
_SHORT_LIVED = "part of a pairing or a log-in that is under way, gone within the hour"

PERSONAL = (
    PersonalTable(
        name="mailboxes",
        withheld=dict.fromkeys(
            ("account_id", "name", "slot", "message", "expires_at"), _SHORT_LIVED
        ),
        deletion="deleted",
    ),
    PersonalTable(
        name="spent_challenges",
        withheld=dict.fromkeys(("account_id", "digest", "expires_at"), _SHORT_LIVED),
        deletion="deleted",
    ),
    PersonalTable(
        name="devices",
        shown=("vault_id", "id", "sign_public", "added_at", "revoked_at", "seen_at"),
        withheld={"account_id": INTERNAL},
        whose=_OF_VAULTS,
        deletion="with_account",
    ),
)
