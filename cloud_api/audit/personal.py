"""What the audit log holds of a person. Entries stay, sealed; what is deleted is the row that says whose they are."""

from cloud_api.personal import INTERNAL, PersonalTable

PERSONAL = (
    PersonalTable(
        name="audit_entries",
        shown=("id", "noted_at", "action", "actor", "network", "detail"),
        documents=("detail",),
        withheld={
            "subject": INTERNAL,
            "staff": "who of the staff did it is theirs to keep; that it was staff is shown",
        },
        whose="subject = (SELECT subject FROM audit_subjects WHERE account_id = %(account)s)",
        deletion="kept",
        why="audit",
    ),
    PersonalTable(
        name="audit_subjects",
        withheld={"account_id": INTERNAL, "subject": INTERNAL},
        deletion="deleted",
    ),
)
