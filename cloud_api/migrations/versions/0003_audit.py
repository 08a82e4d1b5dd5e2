"""The audit log: entries that are only ever added, a chain of seals over them, and pseudonyms in place of accounts."""

from cloud_api.migrations.statements import run

revision = "0003"
down_revision = "0002"
PHASE = "before"

_TABLES = """
-- Whose entries are whose. Its row is all that links a person with the log; when the account is deleted it goes, and the entries,
-- which nobody may change, are nobody's. The subject is random in all its bits, so that it does not tell when the account was made.
CREATE TABLE audit_subjects (
    account_id uuid PRIMARY KEY,
    subject uuid NOT NULL UNIQUE DEFAULT gen_random_uuid()
);
SELECT protect('audit_subjects');
REVOKE INSERT, UPDATE ON audit_subjects FROM sunaiva_app;
GRANT SELECT, INSERT ON audit_subjects TO sunaiva_lookup;

CREATE TABLE audit_entries (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    subject uuid,
    actor text NOT NULL CHECK (actor IN ('person', 'staff', 'stranger', 'system')),
    staff uuid,
    action text NOT NULL CHECK (length(action) <= 80 AND action ~ '^[a-z][a-z0-9_]*[.][a-z][a-z0-9_]*$'),
    network text CHECK (length(network) <= 50),
    -- Text and not jsonb: what is sealed are the bytes as they were written. No mail address gets in.
    detail text NOT NULL CHECK (detail IS JSON OBJECT AND octet_length(detail) <= 2048 AND position('@' IN detail) = 0),
    noted_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((actor = 'staff') = (staff IS NOT NULL))
);
CREATE INDEX audit_entries_of_subject ON audit_entries (subject, id DESC);

ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON audit_entries FOR SELECT TO sunaiva_app, sunaiva_read
    USING (subject = (SELECT s.subject FROM audit_subjects s WHERE s.account_id = current_account()));
-- A failed log-in concerns an account that is not there yet: anybody may add, nobody may look.
CREATE POLICY anybody_adds ON audit_entries FOR INSERT TO sunaiva_app WITH CHECK (true);
CREATE POLICY lookup ON audit_entries TO sunaiva_lookup USING (true);
REVOKE INSERT, UPDATE, DELETE ON audit_entries FROM sunaiva_app;
-- Not `id` and `noted_at`: whoever adds an entry does not choose its time.
GRANT INSERT (subject, actor, staff, action, network, detail) ON audit_entries TO sunaiva_app;
GRANT SELECT ON audit_entries TO sunaiva_lookup;

-- Entries that were committed and wait for their seal.
CREATE TABLE audit_unsealed (entry_id uuid PRIMARY KEY);
ALTER TABLE audit_unsealed ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_unsealed FORCE ROW LEVEL SECURITY;
CREATE POLICY lookup ON audit_unsealed TO sunaiva_lookup USING (true) WITH CHECK (true);
REVOKE ALL ON audit_unsealed FROM sunaiva_app, sunaiva_read;
GRANT SELECT, INSERT, DELETE ON audit_unsealed TO sunaiva_lookup;

CREATE TABLE audit_seals (
    position bigint PRIMARY KEY CHECK (position > 0),
    entry_id uuid NOT NULL UNIQUE REFERENCES audit_entries,
    seal bytea NOT NULL CHECK (length(seal) = 32)
);
ALTER TABLE audit_seals ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_seals FORCE ROW LEVEL SECURITY;
CREATE POLICY lookup ON audit_seals TO sunaiva_lookup USING (true) WITH CHECK (true);
REVOKE ALL ON audit_seals FROM sunaiva_app, sunaiva_read;
GRANT SELECT, INSERT ON audit_seals TO sunaiva_lookup;
"""

_APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are added, and never changed or removed', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
-- Rights say it for the application; this says it for the owner too.
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION audit_wait_for_seal() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO audit_unsealed (entry_id) VALUES (NEW.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER waits_for_seal AFTER INSERT ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_wait_for_seal();
-- The application may not touch what waits, so the trigger does it with other rights.
SELECT as_lookup('audit_wait_for_seal()');
"""

_FUNCTIONS = """
-- Staff, a failed log-in and a job write about accounts that are not the transaction's own.
CREATE FUNCTION audit_subject_of(account uuid) RETURNS uuid
    LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    found uuid;
BEGIN
    SELECT subject INTO found FROM audit_subjects WHERE account_id = account;
    IF found IS NULL THEN
        INSERT INTO audit_subjects (account_id) VALUES (account) ON CONFLICT DO NOTHING;
        SELECT subject INTO found FROM audit_subjects WHERE account_id = account;
    END IF;
    RETURN found;
END
$$;
SELECT as_lookup('audit_subject_of(uuid)');

-- Each field with its length before it, so that no two entries have the same bytes. cloud_api/audit/rules.py says the same in
-- Python, and a test that both agree.
CREATE FUNCTION audit_field(field text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN field IS NULL THEN int4send(-1)
                ELSE int4send(octet_length(convert_to(field, 'UTF8'))) || convert_to(field, 'UTF8') END;

CREATE FUNCTION audit_canonical(entry audit_entries) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
    RETURN audit_field(entry.id::text) || audit_field(entry.subject::text) || audit_field(entry.actor)
        || audit_field(entry.staff::text) || audit_field(entry.action) || audit_field(entry.network)
        || audit_field(entry.detail)
        || audit_field(((extract(epoch FROM entry.noted_at) * 1000000)::bigint)::text);

-- Seals are made here and not by the application, so that it can add an entry but never choose a seal.
CREATE FUNCTION audit_seal(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    entry audit_entries;
    previous bytea;
    place bigint;
    sealed integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_seal', 0));
    SELECT position, seal INTO place, previous FROM audit_seals ORDER BY position DESC LIMIT 1;
    place := coalesce(place, 0);
    previous := coalesce(previous, decode(repeat('00', 32), 'hex'));
    FOR entry IN
        SELECT e.* FROM audit_unsealed u JOIN audit_entries e ON e.id = u.entry_id ORDER BY u.entry_id LIMIT most
    LOOP
        place := place + 1;
        previous := sha256('\\x01'::bytea || previous || audit_canonical(entry));
        INSERT INTO audit_seals (position, entry_id, seal) VALUES (place, entry.id, previous);
        DELETE FROM audit_unsealed WHERE entry_id = entry.id;
        sealed := sealed + 1;
    END LOOP;
    RETURN sealed;
END
$$;
SELECT as_lookup('audit_seal(integer)');

-- To verify the chain is to read all of it. Left join: a seal whose entry is gone is what one looks for.
CREATE FUNCTION audit_chain(after bigint, most integer)
    RETURNS TABLE (place bigint, entry_id uuid, seal bytea, is_there boolean, subject uuid, actor text, staff uuid,
                   action text, network text, detail text, noted_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT s.position, s.entry_id, s.seal, e.id IS NOT NULL, e.subject, e.actor, e.staff, e.action, e.network,
               e.detail, e.noted_at
        FROM audit_seals s LEFT JOIN audit_entries e ON e.id = s.entry_id
        WHERE s.position > after ORDER BY s.position LIMIT most;
    END;
SELECT as_lookup('audit_chain(bigint, integer)');

-- An entry that has no seal and does not wait for one either: somebody took it out of the chain.
CREATE FUNCTION audit_unaccounted(after uuid, most integer) RETURNS TABLE (id uuid, is_accounted boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT e.id, s.entry_id IS NOT NULL OR u.entry_id IS NOT NULL
        FROM audit_entries e
        LEFT JOIN audit_seals s ON s.entry_id = e.id
        LEFT JOIN audit_unsealed u ON u.entry_id = e.id
        WHERE e.id > after ORDER BY e.id LIMIT most;
    END;
SELECT as_lookup('audit_unaccounted(uuid, integer)');
"""

_DOWN = """
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION audit_unaccounted(uuid, integer), audit_chain(bigint, integer), audit_seal(integer), audit_subject_of(uuid);
SET LOCAL ROLE sunaiva_owner;
DROP FUNCTION audit_canonical(audit_entries), audit_field(text);
DROP TABLE audit_seals, audit_unsealed, audit_entries, audit_subjects;
DROP FUNCTION refuse_change();
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION audit_wait_for_seal();
SET LOCAL ROLE sunaiva_owner;
"""


def upgrade() -> None:
    run(_TABLES + _APPEND_ONLY + _FUNCTIONS)


def downgrade() -> None:
    run(_DOWN)
