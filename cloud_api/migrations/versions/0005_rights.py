"""The person's rights: exports of everything, deletions with a time to think it over, their receipts, consents."""

from cloud_api.migrations.statements import run

revision = "0005"
down_revision = "0004"
PHASE = "before"

_EXPORTS = """
CREATE TABLE exports (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT uuidv7(),
    state text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'ready', 'expired')),
    asked_at timestamptz NOT NULL,
    ready_at timestamptz,
    expires_at timestamptz,
    bytes bigint CHECK (bytes >= 0),
    digest bytea UNIQUE CHECK (length(digest) = 32),
    PRIMARY KEY (account_id, id),
    CHECK ((state = 'asked') = (ready_at IS NULL)),
    CHECK (state <> 'ready' OR (expires_at IS NOT NULL AND bytes IS NOT NULL AND digest IS NOT NULL))
);
COMMENT ON COLUMN exports.digest IS 'Of what the link in the mail carries; the link itself is nowhere.';
-- One at a time: whoever asks twice gets the same one.
CREATE UNIQUE INDEX exports_one_asked ON exports (account_id) WHERE state = 'asked';
CREATE INDEX exports_by_expiry ON exports (expires_at) WHERE state = 'ready';
SELECT protect('exports');
REVOKE SELECT ON exports FROM sunaiva_read;
GRANT SELECT (account_id, id, state, asked_at, ready_at, expires_at, bytes) ON exports TO sunaiva_read;
GRANT SELECT (account_id, id, state, expires_at, digest) ON exports TO sunaiva_lookup;

-- The link in a mail is opened by somebody who may not be logged in.
CREATE FUNCTION export_of_digest(presented bytea, moment timestamptz) RETURNS TABLE (account_id uuid, id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT e.account_id, e.id FROM exports e
        WHERE e.digest = presented AND e.state = 'ready' AND e.expires_at > moment;
    END;
SELECT as_lookup('export_of_digest(bytea, timestamptz)');

-- Retention finds everybody's; each is then ended in a transaction of its account.
CREATE FUNCTION exports_run_out(moment timestamptz, most integer) RETURNS TABLE (account_id uuid, id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT e.account_id, e.id FROM exports e
        WHERE e.state = 'ready' AND e.expires_at <= moment ORDER BY e.expires_at LIMIT most;
    END;
SELECT as_lookup('exports_run_out(timestamptz, integer)');
"""

_DELETIONS = """
CREATE TABLE deletions (
    account_id uuid PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    asked_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL CHECK (due_at > asked_at),
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32)
);
COMMENT ON TABLE deletions IS 'Accounts that wait to be deleted. Whoever changes their mind has no row any more.';
CREATE INDEX deletions_by_due ON deletions (due_at);
SELECT protect('deletions');
REVOKE SELECT ON deletions FROM sunaiva_read;
GRANT SELECT (account_id, asked_at, due_at) ON deletions TO sunaiva_read;
GRANT SELECT (account_id, due_at, digest) ON deletions TO sunaiva_lookup;

-- The link to keep one's account is in a mail; whoever opens it may not be logged in.
CREATE FUNCTION account_of_deletion(presented bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC SELECT account_id FROM deletions WHERE digest = presented; END;
SELECT as_lookup('account_of_deletion(bytea)');

-- The job that deletes asks who is due, and then deletes each in a transaction of its account.
CREATE FUNCTION deletions_due(moment timestamptz, most integer) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC SELECT account_id FROM deletions WHERE due_at <= moment ORDER BY due_at LIMIT most; END;
SELECT as_lookup('deletions_due(timestamptz, integer)');

-- What is left of an account: that one was deleted, when, how much of what, and what is kept. Not whose it was: its number is
-- random in all its bits, and only the person was told it.
CREATE TABLE deletion_receipts (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    deleted_on date NOT NULL,
    deleted jsonb NOT NULL,
    kept jsonb NOT NULL
);
ALTER TABLE deletion_receipts ENABLE ROW LEVEL SECURITY;
ALTER TABLE deletion_receipts FORCE ROW LEVEL SECURITY;
CREATE POLICY anybody_adds ON deletion_receipts FOR INSERT TO sunaiva_app WITH CHECK (true);
CREATE POLICY lookup ON deletion_receipts TO sunaiva_lookup USING (true);
REVOKE ALL ON deletion_receipts FROM sunaiva_app, sunaiva_read;
GRANT INSERT ON deletion_receipts TO sunaiva_app;
GRANT SELECT ON deletion_receipts TO sunaiva_lookup;

-- Whoever has the receipt's number reads it; there is no account any more that could log in.
CREATE FUNCTION receipt_of_digest(presented bytea) RETURNS TABLE (deleted_on date, deleted jsonb, kept jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC SELECT r.deleted_on, r.deleted, r.kept FROM deletion_receipts r WHERE r.digest = presented; END;
SELECT as_lookup('receipt_of_digest(bytea)');
"""

_CONSENTS = """
CREATE TABLE consents (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT uuidv7(),
    kind text NOT NULL CHECK (kind ~ '^[a-z][a-z_]{1,39}$'),
    version text NOT NULL CHECK (length(version) BETWEEN 1 AND 40),
    given_at timestamptz NOT NULL,
    withdrawn_at timestamptz CHECK (withdrawn_at >= given_at),
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX consents_one_given ON consents (account_id, kind) WHERE withdrawn_at IS NULL;
SELECT protect('consents');
"""

_EVENTS = """
-- An export lists a person's events, and nothing else asks for them by account.
CREATE INDEX events_of_account ON events (account_id) WHERE account_id IS NOT NULL;
"""

_DOWN = """
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION receipt_of_digest(bytea), deletions_due(timestamptz, integer),
    account_of_deletion(bytea), exports_run_out(timestamptz, integer), export_of_digest(bytea, timestamptz);
SET LOCAL ROLE sunaiva_owner;
DROP INDEX events_of_account;
DROP TABLE consents, deletion_receipts, deletions, exports;
"""


def upgrade() -> None:
    run(_EXPORTS + _DELETIONS + _CONSENTS + _EVENTS)


def downgrade() -> None:
    run(_DOWN)
