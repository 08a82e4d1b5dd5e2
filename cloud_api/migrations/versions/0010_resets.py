"""What a reset by mail leaves of second factors: they stay, a passkey opens nothing without the new password, and who has lost
all of them gets in after a week.
"""

from cloud_api.migrations.statements import run

revision = "0010"
down_revision = "0009"
PHASE = "before"

_UP = """
ALTER TABLE passkeys ADD COLUMN needs_password boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN passkeys.needs_password IS 'There was a reset by mail: it opens nothing alone until it was shown with the new password.';
ALTER TABLE account_tokens DROP CONSTRAINT account_tokens_purpose_check;
ALTER TABLE account_tokens ADD CONSTRAINT account_tokens_purpose_check
    CHECK (purpose IN ('reset', 'mail_change', 'second_factor', 'passkey', 'factors_lost'));
"""

_DOWN = """
DELETE FROM account_tokens WHERE purpose = 'factors_lost';
ALTER TABLE account_tokens DROP CONSTRAINT account_tokens_purpose_check;
ALTER TABLE account_tokens ADD CONSTRAINT account_tokens_purpose_check
    CHECK (purpose IN ('reset', 'mail_change', 'second_factor', 'passkey'));
ALTER TABLE passkeys DROP COLUMN needs_password;
"""


def upgrade() -> None:
    run(_UP)


def downgrade() -> None:
    run(_DOWN)
