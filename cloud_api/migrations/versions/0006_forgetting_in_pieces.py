"""Retention deletes so many rows at once, and no more: a table that was not looked after for a year must not be locked for minutes.

The functions without a limit stay for processes of the former version.
"""

from cloud_api.migrations.statements import run

revision = "0006"
down_revision = "0005"
PHASE = "before"

_KEYS = """
-- A piece is chosen by its keys.
GRANT SELECT (digest) ON sign_ups, passkey_challenges, device_grants TO sunaiva_lookup;
GRANT SELECT (key) ON throttles TO sunaiva_lookup;
GRANT SELECT (caller, key) ON idempotency_keys TO sunaiva_lookup;
GRANT SELECT (account_id, created_at, confirmed_at), DELETE ON totp_secrets TO sunaiva_lookup;
CREATE INDEX totp_secrets_unconfirmed ON totp_secrets (created_at) WHERE confirmed_at IS NULL;
"""

_FUNCTIONS = """
-- Retention deletes for everybody at once, and no request may see them. Up to `most` rows of each table; gives the sum.
CREATE FUNCTION forget_spent_credentials(moment timestamptz, most integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        WITH a AS (DELETE FROM sign_ups WHERE digest IN (
                 SELECT digest FROM sign_ups WHERE expires_at < moment ORDER BY expires_at LIMIT most) RETURNING 1),
             b AS (DELETE FROM account_tokens WHERE digest IN (
                 SELECT digest FROM account_tokens WHERE expires_at < moment ORDER BY expires_at LIMIT most) RETURNING 1),
             c AS (DELETE FROM passkey_challenges WHERE digest IN (
                 SELECT digest FROM passkey_challenges WHERE expires_at < moment ORDER BY expires_at LIMIT most) RETURNING 1),
             d AS (DELETE FROM device_grants WHERE digest IN (
                 SELECT digest FROM device_grants WHERE expires_at < moment - interval '1 day'
                 ORDER BY expires_at LIMIT most) RETURNING 1),
             e AS (DELETE FROM throttles WHERE key IN (
                 SELECT key FROM throttles WHERE last_at < moment - interval '2 days'
                 ORDER BY last_at LIMIT most) RETURNING 1),
             f AS (DELETE FROM refresh_tokens WHERE digest IN (
                 SELECT digest FROM refresh_tokens WHERE expires_at < moment ORDER BY expires_at LIMIT most) RETURNING 1),
             -- A person may look back a month at where they were logged in.
             g AS (DELETE FROM sessions WHERE (account_id, id) IN (
                 SELECT account_id, id FROM sessions WHERE expires_at < moment - interval '30 days'
                 ORDER BY expires_at LIMIT most) RETURNING 1),
             -- Whoever began to set up an authenticator app and left it begins anew.
             h AS (DELETE FROM totp_secrets WHERE confirmed_at IS NULL AND account_id IN (
                 SELECT account_id FROM totp_secrets WHERE confirmed_at IS NULL AND created_at < moment - interval '1 day'
                 ORDER BY created_at LIMIT most) RETURNING 1)
        SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c) + (SELECT count(*) FROM d)
             + (SELECT count(*) FROM e) + (SELECT count(*) FROM f) + (SELECT count(*) FROM g) + (SELECT count(*) FROM h);
    END;
SELECT as_lookup('forget_spent_credentials(timestamptz, integer)');

-- Retention has to delete every account's old keys, and no request may see them.
CREATE FUNCTION forget_idempotency_keys(older_than timestamptz, most integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        WITH gone AS (DELETE FROM idempotency_keys WHERE (caller, key) IN (
            SELECT caller, key FROM idempotency_keys WHERE created_at < older_than ORDER BY created_at LIMIT most
        ) RETURNING 1)
        SELECT count(*) FROM gone;
    END;
SELECT as_lookup('forget_idempotency_keys(timestamptz, integer)');
"""

_DOWN = """
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION forget_spent_credentials(timestamptz, integer), forget_idempotency_keys(timestamptz, integer);
SET LOCAL ROLE sunaiva_owner;
DROP INDEX totp_secrets_unconfirmed;
REVOKE SELECT (account_id, created_at, confirmed_at), DELETE ON totp_secrets FROM sunaiva_lookup;
REVOKE SELECT (caller, key) ON idempotency_keys FROM sunaiva_lookup;
REVOKE SELECT (key) ON throttles FROM sunaiva_lookup;
REVOKE SELECT (digest) ON sign_ups, passkey_challenges, device_grants FROM sunaiva_lookup;
"""


def upgrade() -> None:
    run(_KEYS + _FUNCTIONS)


def downgrade() -> None:
    run(_DOWN)
