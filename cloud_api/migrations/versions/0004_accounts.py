"""Accounts: people, their sessions and factors, what they were asked to prove, roles, and the keys that sign.

Whoever presents a token is not known yet when its row is looked for. Two ways lead there: a look-up function that gives
the account and nothing else, or, for rows that belong to no account yet, a policy by possession: the row is seen by the
transaction that holds its digest (`sunaiva.holding`) and by no other.
"""

from cloud_api.migrations.statements import run

revision = "0004"
down_revision = "0003"
PHASE = "before"

_POSSESSION = """
CREATE FUNCTION held() RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN decode(nullif(current_setting('sunaiva.holding', true), ''), 'hex');
"""

_PEOPLE = """
CREATE TABLE accounts (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    mail text NOT NULL CHECK (length(mail) BETWEEN 3 AND 254),
    mail_key text NOT NULL CONSTRAINT accounts_one_per_mail UNIQUE,
    name text CHECK (length(name) BETWEEN 1 AND 120),
    language text NOT NULL CHECK (length(language) BETWEEN 2 AND 35),
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    password_changed_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE accounts IS 'People whose address is proved: an account is made when its first mail is answered.';
SELECT protect('accounts', 'id');
GRANT SELECT (id, mail_key) ON accounts TO sunaiva_lookup;

-- Log-in and reset know an address and not yet whose it is.
CREATE FUNCTION account_of_mail(wanted text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC SELECT id FROM accounts WHERE mail_key = wanted; END;
SELECT as_lookup('account_of_mail(text)');

CREATE TABLE sign_ups (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    mail text NOT NULL CHECK (length(mail) BETWEEN 3 AND 254),
    mail_key text NOT NULL,
    name text CHECK (length(name) BETWEEN 1 AND 120),
    language text NOT NULL CHECK (length(language) BETWEEN 2 AND 35),
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE sign_ups IS 'Each waits for its own mail to be answered, so that nobody waits with their password on another''s address.';
CREATE INDEX sign_ups_by_expiry ON sign_ups (expires_at);
ALTER TABLE sign_ups ENABLE ROW LEVEL SECURITY;
ALTER TABLE sign_ups FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON sign_ups TO sunaiva_app
    USING (digest = (SELECT held())) WITH CHECK (digest = (SELECT held()));
CREATE POLICY lookup ON sign_ups TO sunaiva_lookup USING (true);
REVOKE ALL ON sign_ups FROM sunaiva_read;
GRANT SELECT (expires_at), DELETE ON sign_ups TO sunaiva_lookup;

CREATE TABLE account_tokens (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('reset', 'mail_change', 'second_factor', 'passkey')),
    detail bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE account_tokens IS 'What one person was given to come back with, once.';
CREATE INDEX account_tokens_by_account ON account_tokens (account_id, purpose);
CREATE INDEX account_tokens_by_expiry ON account_tokens (expires_at);
SELECT protect('account_tokens');
REVOKE ALL ON account_tokens FROM sunaiva_read;
GRANT SELECT (digest, account_id, purpose, expires_at), DELETE ON account_tokens TO sunaiva_lookup;

-- A link in a mail is opened by somebody who is not logged in.
CREATE FUNCTION account_of_token(presented bytea, wanted_purpose text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC SELECT account_id FROM account_tokens WHERE digest = presented AND purpose = wanted_purpose; END;
SELECT as_lookup('account_of_token(bytea, text)');
"""

_SESSIONS = """
CREATE TABLE sessions (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT uuidv7(),
    device text CHECK (length(device) BETWEEN 1 AND 200),
    network text NOT NULL CHECK (length(network) <= 50),
    started_at timestamptz NOT NULL,
    used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    proved_at timestamptz,
    factor_at timestamptz,
    ended_at timestamptz,
    ended_why text CHECK (ended_why IN ('logout', 'revoked', 'reuse', 'expired', 'password', 'staff')),
    PRIMARY KEY (account_id, id),
    CHECK ((ended_at IS NULL) = (ended_why IS NULL))
);
COMMENT ON COLUMN sessions.proved_at IS 'When the person last proved to be there, by the strongest means the account has.';
COMMENT ON COLUMN sessions.factor_at IS 'When a second factor was last proved in this session.';
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
SELECT protect('sessions');
GRANT SELECT (account_id, id, expires_at, ended_at), DELETE ON sessions TO sunaiva_lookup;

CREATE TABLE refresh_tokens (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    account_id uuid NOT NULL,
    session_id uuid NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    successor_digest bytea CHECK (length(successor_digest) = 32),
    successor_sealed bytea,
    FOREIGN KEY (account_id, session_id) REFERENCES sessions (account_id, id) ON DELETE CASCADE,
    CHECK ((used_at IS NULL) = (successor_digest IS NULL))
);
COMMENT ON COLUMN refresh_tokens.successor_sealed IS 'Under a key that only this token itself gives, for a client that did not hear the answer.';
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (account_id, session_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);
SELECT protect('refresh_tokens');
REVOKE ALL ON refresh_tokens FROM sunaiva_read;
GRANT SELECT (digest, account_id, expires_at), DELETE ON refresh_tokens TO sunaiva_lookup;

-- A refresh token is all that its bearer shows.
CREATE FUNCTION account_of_refresh_token(presented bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC SELECT account_id FROM refresh_tokens WHERE digest = presented; END;
SELECT as_lookup('account_of_refresh_token(bytea)');
"""

_FACTORS = """
CREATE TABLE totp_secrets (
    account_id uuid PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    confirmed_at timestamptz,
    last_step bigint
);
COMMENT ON COLUMN totp_secrets.last_step IS 'The step of the last code that was taken: none before it, nor itself, is taken again.';
SELECT protect('totp_secrets');
REVOKE ALL ON totp_secrets FROM sunaiva_read;

CREATE TABLE recovery_codes (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, digest)
);
SELECT protect('recovery_codes');
REVOKE ALL ON recovery_codes FROM sunaiva_read;

CREATE TABLE passkeys (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT uuidv7(),
    credential_id bytea NOT NULL CONSTRAINT passkeys_one_per_credential UNIQUE CHECK (length(credential_id) <= 1023),
    public_key bytea NOT NULL CHECK (length(public_key) <= 2048),
    sign_count bigint NOT NULL CHECK (sign_count >= 0),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (account_id, id)
);
SELECT protect('passkeys');
GRANT SELECT (credential_id, account_id) ON passkeys TO sunaiva_lookup;

-- Whoever logs in with a passkey names its credential and no account.
CREATE FUNCTION account_of_passkey(presented bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC SELECT account_id FROM passkeys WHERE credential_id = presented; END;
SELECT as_lookup('account_of_passkey(bytea)');

CREATE TABLE passkey_challenges (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    challenge bytea NOT NULL CHECK (length(challenge) = 32),
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE passkey_challenges IS 'For logging in, when it is not known yet who does.';
CREATE INDEX passkey_challenges_by_expiry ON passkey_challenges (expires_at);
ALTER TABLE passkey_challenges ENABLE ROW LEVEL SECURITY;
ALTER TABLE passkey_challenges FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON passkey_challenges TO sunaiva_app
    USING (digest = (SELECT held())) WITH CHECK (digest = (SELECT held()));
CREATE POLICY lookup ON passkey_challenges TO sunaiva_lookup USING (true);
REVOKE ALL ON passkey_challenges FROM sunaiva_read;
GRANT SELECT (expires_at), DELETE ON passkey_challenges TO sunaiva_lookup;

CREATE TABLE device_grants (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    user_code bytea NOT NULL CONSTRAINT device_grants_one_per_user_code UNIQUE CHECK (length(user_code) = 32),
    account_id uuid REFERENCES accounts ON DELETE CASCADE,
    device text NOT NULL CHECK (length(device) BETWEEN 1 AND 200),
    network text NOT NULL CHECK (length(network) <= 50),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    interval_seconds smallint NOT NULL,
    polled_at timestamptz,
    approved boolean,
    redeemed_at timestamptz,
    CHECK ((account_id IS NULL) = (approved IS NULL))
);
COMMENT ON COLUMN device_grants.user_code IS 'A code of 34 bits could be guessed from a plain hash: this one is keyed.';
CREATE INDEX device_grants_by_expiry ON device_grants (expires_at);
ALTER TABLE device_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_grants FORCE ROW LEVEL SECURITY;
-- The terminal holds the digest, the person who approves the user code; nobody holds an account of the row yet.
CREATE POLICY own_rows ON device_grants TO sunaiva_app
    USING (digest = (SELECT held()) OR user_code = (SELECT held()))
    WITH CHECK (digest = (SELECT held()) OR user_code = (SELECT held()));
CREATE POLICY lookup ON device_grants TO sunaiva_lookup USING (true);
REVOKE ALL ON device_grants FROM sunaiva_read;
GRANT SELECT (expires_at), DELETE ON device_grants TO sunaiva_lookup;
"""

_GUARDS = """
CREATE TABLE throttles (
    key bytea PRIMARY KEY CHECK (length(key) = 32),
    scope text NOT NULL,
    failures integer NOT NULL CHECK (failures >= 0),
    last_at timestamptz NOT NULL,
    blocked_until timestamptz
);
COMMENT ON TABLE throttles IS 'Failed attempts by keyed digest of what was tried: who was meant cannot be read from it.';
CREATE INDEX throttles_by_time ON throttles (last_at);
ALTER TABLE throttles ENABLE ROW LEVEL SECURITY;
ALTER TABLE throttles FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON throttles TO sunaiva_app USING (true) WITH CHECK (true);
CREATE POLICY lookup ON throttles TO sunaiva_lookup USING (true);
REVOKE ALL ON throttles FROM sunaiva_read;
GRANT SELECT (last_at), DELETE ON throttles TO sunaiva_lookup;

CREATE TABLE signing_keys (
    kid text PRIMARY KEY CHECK (length(kid) BETWEEN 8 AND 64),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    sealed_seed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    signs_from timestamptz NOT NULL,
    withdrawn_at timestamptz
);
REVOKE ALL ON signing_keys FROM sunaiva_read;

CREATE TABLE roles (
    name text PRIMARY KEY,
    is_staff boolean NOT NULL
);
COMMENT ON COLUMN roles.is_staff IS 'Its permissions are had only with a second factor.';
CREATE TABLE permissions (
    name text PRIMARY KEY CHECK (name ~ '^[a-z_]+\\.[a-z_]+$'),
    allows text NOT NULL
);
CREATE TABLE role_permissions (
    role text NOT NULL REFERENCES roles ON DELETE CASCADE,
    permission text NOT NULL REFERENCES permissions ON DELETE CASCADE,
    PRIMARY KEY (role, permission)
);
REVOKE INSERT, UPDATE, DELETE ON roles, permissions, role_permissions FROM sunaiva_app;
CREATE TABLE account_roles (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    role text NOT NULL REFERENCES roles,
    granted_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, role)
);
SELECT protect('account_roles');

INSERT INTO roles (name, is_staff) VALUES
    ('user', false), ('influencer', false), ('support', true), ('finance', true), ('moderator', true), ('admin', true);
INSERT INTO permissions (name, allows) VALUES
    ('account.own', 'Read and change one''s own account'),
    ('partner.own', 'Read one''s own partner page, its figures and statements'),
    ('accounts.read', 'See the state of somebody''s account, without secrets'),
    ('accounts.help', 'End somebody''s sessions and send a reset mail'),
    ('accounts.roles', 'Give and take roles'),
    ('ledger.read', 'Read the ledger'),
    ('payouts.approve', 'Release or hold payouts'),
    ('partners.moderate', 'Approve and suspend partners and their pages'),
    ('jobs.replay', 'See dead letters and run them again'),
    ('audit.read', 'Read the audit log of staff actions');
INSERT INTO role_permissions (role, permission) VALUES
    ('user', 'account.own'),
    ('influencer', 'account.own'), ('influencer', 'partner.own'),
    ('support', 'accounts.read'), ('support', 'accounts.help'),
    ('finance', 'accounts.read'), ('finance', 'ledger.read'), ('finance', 'payouts.approve'),
    ('moderator', 'accounts.read'), ('moderator', 'partners.moderate');
INSERT INTO role_permissions (role, permission) SELECT 'admin', name FROM permissions;
"""

_RETENTION = """
-- Retention deletes for everybody at once, and no request may see them.
CREATE FUNCTION forget_spent_credentials(moment timestamptz) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        WITH a AS (DELETE FROM sign_ups WHERE expires_at < moment RETURNING 1),
             b AS (DELETE FROM account_tokens WHERE expires_at < moment RETURNING 1),
             c AS (DELETE FROM passkey_challenges WHERE expires_at < moment RETURNING 1),
             d AS (DELETE FROM device_grants WHERE expires_at < moment - interval '1 day' RETURNING 1),
             e AS (DELETE FROM throttles WHERE last_at < moment - interval '2 days' RETURNING 1),
             f AS (DELETE FROM refresh_tokens WHERE expires_at < moment RETURNING 1),
             -- A person may look back a month at where they were logged in.
             g AS (DELETE FROM sessions WHERE expires_at < moment - interval '30 days' RETURNING 1)
        SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM c)
             + (SELECT count(*) FROM d) + (SELECT count(*) FROM e) + (SELECT count(*) FROM f)
             + (SELECT count(*) FROM g);
    END;
SELECT as_lookup('forget_spent_credentials(timestamptz)');
"""

_DOWN = """
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION forget_spent_credentials(timestamptz), account_of_mail(text), account_of_token(bytea, text),
    account_of_refresh_token(bytea), account_of_passkey(bytea);
SET LOCAL ROLE sunaiva_owner;
DROP TABLE account_roles, role_permissions, permissions, roles, signing_keys, throttles, device_grants,
    passkey_challenges, passkeys, recovery_codes, totp_secrets, refresh_tokens, sessions, account_tokens, sign_ups,
    accounts;
DROP FUNCTION held();
"""


def upgrade() -> None:
    run(_POSSESSION + _PEOPLE + _SESSIONS + _FACTORS + _GUARDS + _RETENTION)


def downgrade() -> None:
    run(_DOWN)
