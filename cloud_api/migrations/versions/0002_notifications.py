"""Mails that wait or were sent, and which kinds of mail a person does without."""

from cloud_api.migrations.statements import run

revision = "0002"
down_revision = "0001"
PHASE = "before"

_TABLES = """
-- `sealed` holds address and letter, links with their secrets included, under the installation's key; it is gone as soon as
-- nobody needs it any more. What stays says that a mail was sent, not what it said.
CREATE TABLE mails (
    id uuid PRIMARY KEY,
    account_id uuid,
    kind text NOT NULL CHECK (kind ~ '^[a-z][a-z_]{1,39}$'),
    language text NOT NULL CHECK (language ~ '^[a-z]{2}$'),
    once text CHECK (length(once) BETWEEN 1 AND 200),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'refused', 'unwanted', 'expired')),
    sealed bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((state = 'waiting') = (sealed IS NOT NULL)),
    CHECK ((state = 'waiting') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX mails_once ON mails (account_id, kind, once) NULLS NOT DISTINCT WHERE once IS NOT NULL;
CREATE INDEX mails_of_account ON mails (account_id, created_at);
CREATE INDEX mails_by_time ON mails (created_at);

ALTER TABLE mails ENABLE ROW LEVEL SECURITY;
ALTER TABLE mails FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON mails TO sunaiva_app, sunaiva_read
    USING (account_id IS NOT DISTINCT FROM (SELECT current_account()));
-- Who causes a mail need not be its account: a sign-up with an address that is known writes to that address's owner.
CREATE POLICY anybody_writes ON mails FOR INSERT TO sunaiva_app WITH CHECK (true);
CREATE POLICY lookup ON mails TO sunaiva_lookup USING (true) WITH CHECK (true);
REVOKE SELECT ON mails FROM sunaiva_read;
GRANT SELECT (id, account_id, kind, language, state, created_at, finished_at) ON mails TO sunaiva_read;
GRANT SELECT (id, state, created_at), UPDATE (state, sealed, finished_at), DELETE ON mails TO sunaiva_lookup;

CREATE TABLE mail_preferences (
    account_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind ~ '^[a-z][a-z_]{1,39}$'),
    is_wanted boolean NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, kind)
);
SELECT protect('mail_preferences');

-- Retention looks at mails of all accounts, also of those that are gone: it drops what a mail said once nobody will send it
-- any more, and later the row. So many at once that a row lock never lasts.
CREATE FUNCTION expire_mails(older_than timestamptz, most integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        WITH done AS (
            UPDATE mails SET state = 'expired', sealed = NULL, finished_at = now() WHERE id IN (
                SELECT id FROM mails WHERE state = 'waiting' AND created_at < older_than ORDER BY created_at LIMIT most
            ) RETURNING 1
        ) SELECT count(*) FROM done;
    END;
SELECT as_lookup('expire_mails(timestamptz, integer)');

CREATE FUNCTION forget_mails(older_than timestamptz, most integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        WITH gone AS (
            DELETE FROM mails WHERE id IN (
                SELECT id FROM mails WHERE created_at < older_than ORDER BY created_at LIMIT most
            ) RETURNING 1
        ) SELECT count(*) FROM gone;
    END;
SELECT as_lookup('forget_mails(timestamptz, integer)');
"""

_DOWN = """
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION expire_mails(timestamptz, integer), forget_mails(timestamptz, integer);
SET LOCAL ROLE sunaiva_owner;
DROP TABLE mails, mail_preferences;
"""


def upgrade() -> None:
    run(_TABLES)


def downgrade() -> None:
    run(_DOWN)
