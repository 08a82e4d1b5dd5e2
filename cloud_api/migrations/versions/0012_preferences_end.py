"""What mails somebody wants ends with their account: a link to unsubscribe works for ever, and must not leave a row of nobody."""

from cloud_api.migrations.statements import run

revision = "0012"
down_revision = "0011"
PHASE = "before"

_UP = """
DELETE FROM mail_preferences AS p WHERE NOT EXISTS (SELECT FROM accounts WHERE id = p.account_id);
ALTER TABLE mail_preferences ADD CONSTRAINT mail_preferences_account_id_fkey
    FOREIGN KEY (account_id) REFERENCES accounts ON DELETE CASCADE;
"""

_DOWN = "ALTER TABLE mail_preferences DROP CONSTRAINT mail_preferences_account_id_fkey;"


def upgrade() -> None:
    run(_UP)


def downgrade() -> None:
    run(_DOWN)
