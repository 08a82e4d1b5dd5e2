"""What mail holds of a person."""

from cloud_api.personal import INTERNAL, PersonalTable

PERSONAL = (
    PersonalTable(
        name="mails",
        shown=("id", "kind", "language", "state", "created_at", "finished_at"),
        withheld={
            "account_id": INTERNAL,
            "once": INTERNAL,
            "sealed": "what a mail that waits says; it is on its way to you",
        },
        deletion="deleted",
    ),
    PersonalTable(
        name="mail_preferences",
        shown=("kind", "is_wanted", "changed_at"),
        withheld={"account_id": INTERNAL},
        deletion="deleted",
    ),
)
