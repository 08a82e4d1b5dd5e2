"""A device that was approved and has not come for its session is, to its owner, a session: it ends with them."""

from cloud_api.migrations.statements import run

revision = "0011"
down_revision = "0010"
PHASE = "before"

_UP = """
-- Whoever ends all sessions holds neither code: the row is theirs from the moment they approved it.
CREATE POLICY own_approvals ON device_grants TO sunaiva_app USING (account_id = (SELECT current_account()));
CREATE INDEX device_grants_by_account ON device_grants (account_id) WHERE account_id IS NOT NULL;
"""

_DOWN = """
DROP INDEX device_grants_by_account;
DROP POLICY own_approvals ON device_grants;
"""


def upgrade() -> None:
    run(_UP)


def downgrade() -> None:
    run(_DOWN)
