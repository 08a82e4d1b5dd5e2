"""What is left of pairing and of log-ins of devices goes in pieces as well: after a worker was away, all of it at once would take longer
than a statement may, each time.

The function without a limit stays for processes of the former version.
"""

from cloud_api.migrations.statements import run

revision = "0014"
down_revision = "0013"
PHASE = "before"

_UP = """
-- A piece is chosen by its keys.
GRANT SELECT (account_id, name, slot) ON mailboxes TO sunaiva_lookup;
GRANT SELECT (digest) ON spent_challenges TO sunaiva_lookup;

-- Retention deletes for everybody at once, and no request may see them. Up to `most` rows of each table; gives the sum.
CREATE FUNCTION forget_pairing(moment timestamptz, most integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        WITH letters AS (DELETE FROM mailboxes WHERE (account_id, name, slot) IN (
                 SELECT account_id, name, slot FROM mailboxes WHERE expires_at <= moment ORDER BY expires_at LIMIT most)
                 RETURNING 1),
             spent AS (DELETE FROM spent_challenges WHERE digest IN (
                 SELECT digest FROM spent_challenges WHERE expires_at <= moment ORDER BY expires_at LIMIT most)
                 RETURNING 1)
        SELECT (SELECT count(*) FROM letters) + (SELECT count(*) FROM spent);
    END;
SELECT as_lookup('forget_pairing(timestamptz, integer)');
"""

_DOWN = """
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION forget_pairing(timestamptz, integer);
SET LOCAL ROLE sunaiva_owner;
REVOKE SELECT (digest) ON spent_challenges FROM sunaiva_lookup;
REVOKE SELECT (account_id, name, slot) ON mailboxes FROM sunaiva_lookup;
"""


def upgrade() -> None:
    run(_UP)


def downgrade() -> None:
    run(_DOWN)
