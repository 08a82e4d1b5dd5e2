"""Whether the work under an Idempotency-Key was committed: its own transaction says so, and then it is never done again."""

from cloud_api.migrations.statements import run

revision = "0008"
down_revision = "0007"
PHASE = "before"

_UP = """
ALTER TABLE idempotency_keys ADD COLUMN done_at timestamptz;
COMMENT ON COLUMN idempotency_keys.done_at IS 'Set in the transaction that does the work; none means that nothing was done.';
COMMENT ON COLUMN idempotency_keys.answer IS 'Sealed: an answer may hold a secret that is shown once.';
"""

_DOWN = """
COMMENT ON COLUMN idempotency_keys.answer IS NULL;
ALTER TABLE idempotency_keys DROP COLUMN done_at;
"""


def upgrade() -> None:
    run(_UP)


def downgrade() -> None:
    run(_DOWN)
