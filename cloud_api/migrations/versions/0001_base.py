"""What every later table stands on: rights, row-level security, jobs, events and idempotency keys.

Conventions for the migrations after this one:

- `SELECT protect('table')` for each table with personal data: row-level security, also against the owner.
- A look-up across accounts is a function with `SECURITY DEFINER SET search_path = public, pg_temp`, a comment why, and
  `SELECT as_lookup('name(argument types)')`: it then runs as `sunaiva_lookup`, which sees what `GRANT SELECT (columns)`
  gives it and nothing else. To drop or replace one, `SET LOCAL ROLE sunaiva_lookup` and back.
- Ids are `uuid DEFAULT uuidv7()`, times `timestamptz`, and a key leads with `account_id` where partitions may come.
- `PHASE` says when: "before" the new code runs (old code must not notice), or "after" the last old process has ended.
"""

from procrastinate.schema import SchemaManager

from cloud_api.migrations.statements import run

revision = "0001"
down_revision = None
PHASE = "before"

_RIGHTS = """
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO sunaiva_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO sunaiva_read;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO sunaiva_app;

GRANT SELECT ON schema_version TO sunaiva_app, sunaiva_read;

-- The account of this transaction. None of a request without a person, and then no row of anybody is seen.
CREATE FUNCTION current_account() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('sunaiva.account', true), '')::uuid;

-- Row-level security for a table with personal data. FORCE, so that not even its owner sees past it by accident.
-- The policy asks in a sub-select: PostgreSQL then asks once for the statement, and not once for each row.
CREATE FUNCTION protect(protected regclass, account_column name DEFAULT 'account_id') RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', protected);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', protected);
    EXECUTE format(
        'CREATE POLICY own_rows ON %s TO sunaiva_app, sunaiva_read '
        'USING (%2$I = (SELECT current_account())) WITH CHECK (%2$I = (SELECT current_account()))',
        protected, account_column);
    -- What it may do there is granted column by column, where a function needs it.
    EXECUTE format('CREATE POLICY lookup ON %s TO sunaiva_lookup USING (true) WITH CHECK (true)', protected);
END
$$;

-- A function that looks across accounts, made harmless: it runs as a role with the columns it was granted, and only the
-- application may call it.
CREATE FUNCTION as_lookup(function regprocedure) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO sunaiva_app', function);
    EXECUTE format('ALTER FUNCTION %s OWNER TO sunaiva_lookup', function);
END
$$;
"""

_TABLES = """
CREATE TABLE events (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_.]{1,79}$'),
    account_id uuid,
    body jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    dispatched_at timestamptz
);
COMMENT ON TABLE events IS 'Outbox: ids and figures, nothing personal, because the worker reads it for all accounts.';
CREATE INDEX events_by_time ON events (recorded_at);

-- `caller` is a digest of who asked, `key` of the Idempotency-Key with method and path, `request` of the body.
CREATE TABLE idempotency_keys (
    caller bytea NOT NULL CHECK (length(caller) = 32),
    key bytea NOT NULL CHECK (length(key) = 32),
    account_id uuid,
    request bytea NOT NULL CHECK (length(request) = 32),
    status smallint,
    headers jsonb,
    answer bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
-- Also for those who have no account yet: a sign-up sent twice is the same sign-up.
CREATE POLICY own_rows ON idempotency_keys TO sunaiva_app
    USING (account_id IS NOT DISTINCT FROM (SELECT current_account()))
    WITH CHECK (account_id IS NOT DISTINCT FROM (SELECT current_account()));
REVOKE ALL ON idempotency_keys FROM sunaiva_read;
CREATE POLICY lookup ON idempotency_keys TO sunaiva_lookup USING (true);
GRANT SELECT (created_at), DELETE ON idempotency_keys TO sunaiva_lookup;

-- Retention has to delete every account's old keys, and no request may see them.
CREATE FUNCTION forget_idempotency_keys(older_than timestamptz) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        WITH gone AS (DELETE FROM idempotency_keys WHERE created_at < older_than RETURNING 1)
        SELECT count(*) FROM gone;
    END;
SELECT as_lookup('forget_idempotency_keys(timestamptz)');
"""

_DOWN = """
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION forget_idempotency_keys(timestamptz);
SET LOCAL ROLE sunaiva_owner;
DROP TABLE events, idempotency_keys;
DROP FUNCTION as_lookup(regprocedure), protect(regclass, name), current_account();
DO $$
DECLARE
    each record;
BEGIN
    DROP TABLE procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs, procrastinate_workers CASCADE;
    DROP TYPE procrastinate_job_to_defer_v1, procrastinate_job_status, procrastinate_job_event_type CASCADE;
    FOR each IN SELECT oid::regprocedure AS name FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'procrastinate\\_%' LOOP
        EXECUTE format('DROP FUNCTION %s', each.name);
    END LOOP;
END
$$;
REVOKE ALL ON schema_version FROM sunaiva_app, sunaiva_read;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM sunaiva_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM sunaiva_read;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM sunaiva_app;
"""


def upgrade() -> None:
    run(_RIGHTS)
    # As procrastinate 3.10 has it. Its later schemas become migrations here, from its own migration files.
    run(SchemaManager.get_schema())
    run(_TABLES)


def downgrade() -> None:
    run(_DOWN)
