"""What somebody agrees to when they sign up waits with the sign-up until its mail is answered."""

from cloud_api.migrations.statements import run

revision = "0007"
down_revision = "0006"
PHASE = "before"

# None in those that processes of the former version write.
_UP = """
ALTER TABLE sign_ups
    ADD COLUMN terms text CHECK (length(terms) BETWEEN 1 AND 40),
    ADD COLUMN privacy text CHECK (length(privacy) BETWEEN 1 AND 40);
"""

_DOWN = "ALTER TABLE sign_ups DROP COLUMN terms, DROP COLUMN privacy;"


def upgrade() -> None:
    run(_UP)


def downgrade() -> None:
    run(_DOWN)
