"""Sync: vaults, their devices and streams, sealed batches in gapless positions, the device list, snapshots, and pairing.

Keys lead with the vault, so that every one of these tables can be partitioned by it (hash) without another key. What is stored here
is sealed on devices: bytes, hashes, sizes and times.
"""

from cloud_api.migrations.statements import run

revision = "0009"
down_revision = "0008"
PHASE = "before"

_VAULTS = """
CREATE TABLE vaults (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    id uuid PRIMARY KEY,
    generation uuid NOT NULL DEFAULT gen_random_uuid(),
    head_pos bigint NOT NULL DEFAULT 0,
    min_pos bigint NOT NULL DEFAULT 0,
    control_seq integer NOT NULL CHECK (control_seq >= 0),
    control_hash bytea NOT NULL CHECK (length(control_hash) = 32),
    quota_bytes bigint NOT NULL CHECK (quota_bytes >= 0),
    used_bytes bigint NOT NULL DEFAULT 0 CHECK (used_bytes >= 0),
    created_at timestamptz NOT NULL,
    pushed_at timestamptz,
    CHECK (0 <= min_pos AND min_pos <= head_pos)
) WITH (fillfactor = 50); -- each push writes its vault's row anew: it finds room on the same page
COMMENT ON COLUMN vaults.id IS 'Hash of the first entry of its device list: nobody can make another vault of the same name.';
COMMENT ON COLUMN vaults.generation IS 'Another one after the database was put back from a backup: devices then send again what was lost.';
COMMENT ON COLUMN vaults.min_pos IS 'Up to here batches were deleted, because a snapshot covers them.';
CREATE INDEX vaults_of_account ON vaults (account_id);
SELECT protect('vaults');

CREATE TABLE control_entries (
    account_id uuid NOT NULL,
    vault_id uuid NOT NULL REFERENCES vaults ON DELETE CASCADE,
    seq integer NOT NULL CHECK (seq >= 0),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    entry bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (vault_id, seq)
);
ALTER TABLE control_entries ALTER entry SET STORAGE EXTERNAL; -- keys and signatures: no compressor makes them smaller
SELECT protect('control_entries');

-- What the device list says, for questions that are asked all the time.
CREATE TABLE devices (
    account_id uuid NOT NULL,
    vault_id uuid NOT NULL REFERENCES vaults ON DELETE CASCADE,
    id uuid NOT NULL,
    sign_public bytea NOT NULL CHECK (length(sign_public) = 32),
    added_at timestamptz NOT NULL,
    revoked_at timestamptz,
    seen_at timestamptz,
    PRIMARY KEY (vault_id, id)
);
SELECT protect('devices');
GRANT SELECT (account_id, vault_id, id, sign_public, revoked_at) ON devices TO sunaiva_lookup;

-- A device that logs in proves that it has a key. Whose account its vault belongs to is what it asks.
CREATE FUNCTION device_of_vault(vault uuid, device uuid) RETURNS TABLE (account_id uuid, sign_public bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT d.account_id, d.sign_public FROM devices d
        WHERE d.vault_id = vault AND d.id = device AND d.revoked_at IS NULL;
    END;
SELECT as_lookup('device_of_vault(uuid, uuid)');

CREATE TABLE streams (
    account_id uuid NOT NULL,
    vault_id uuid NOT NULL,
    id bytea NOT NULL CHECK (length(id) = 8),
    device_id uuid NOT NULL,
    seq bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    hash bytea CHECK (length(hash) = 32),
    PRIMARY KEY (vault_id, id),
    FOREIGN KEY (vault_id, device_id) REFERENCES devices ON DELETE CASCADE,
    CHECK ((seq = 0) = (hash IS NULL))
) WITH (fillfactor = 50);
SELECT protect('streams');
"""

_BATCHES = """
CREATE TABLE batches (
    account_id uuid NOT NULL,
    vault_id uuid NOT NULL REFERENCES vaults ON DELETE CASCADE,
    pos bigint NOT NULL CHECK (pos > 0),
    stream_id bytea NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    bytes integer NOT NULL CHECK (bytes > 0),
    frame bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (vault_id, pos),
    UNIQUE (vault_id, stream_id, seq)
);
ALTER TABLE batches ALTER frame SET STORAGE EXTERNAL;
SELECT protect('batches');
"""

_SNAPSHOTS = """
CREATE TABLE segments (
    account_id uuid NOT NULL,
    vault_id uuid NOT NULL REFERENCES vaults ON DELETE CASCADE,
    name uuid NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    bytes integer NOT NULL CHECK (bytes > 0),
    blob text NOT NULL,
    begun_at timestamptz NOT NULL,
    stored_at timestamptz,
    PRIMARY KEY (vault_id, name)
);
COMMENT ON COLUMN segments.stored_at IS 'The file is in the store. Until then its room is only reserved.';
CREATE INDEX segments_by_age ON segments (begun_at);
SELECT protect('segments');
GRANT SELECT (account_id, vault_id, name, begun_at) ON segments TO sunaiva_lookup;

CREATE TABLE manifests (
    account_id uuid NOT NULL,
    vault_id uuid NOT NULL REFERENCES vaults ON DELETE CASCADE,
    id uuid NOT NULL,
    device_id uuid NOT NULL,
    manifest bytea NOT NULL,
    segments uuid[] NOT NULL,
    received_at timestamptz NOT NULL,
    vouched_at timestamptz,
    applied_at timestamptz,
    PRIMARY KEY (vault_id, id)
);
COMMENT ON COLUMN manifests.vouched_at IS 'Since when enough devices vouch for it: its grace begins.';
COMMENT ON COLUMN manifests.applied_at IS 'Everything that it covers is deleted.';
CREATE INDEX manifests_to_apply ON manifests (vouched_at) WHERE applied_at IS NULL;
SELECT protect('manifests');
GRANT SELECT (account_id, vault_id, vouched_at, applied_at, segments) ON manifests TO sunaiva_lookup;

CREATE TABLE cosignatures (
    account_id uuid NOT NULL,
    vault_id uuid NOT NULL,
    manifest_id uuid NOT NULL,
    device_id uuid NOT NULL,
    signature bytea NOT NULL CHECK (length(signature) = 64),
    received_at timestamptz NOT NULL,
    PRIMARY KEY (vault_id, manifest_id, device_id),
    FOREIGN KEY (vault_id, manifest_id) REFERENCES manifests ON DELETE CASCADE
);
SELECT protect('cosignatures');

CREATE TABLE compactions (
    account_id uuid NOT NULL,
    vault_id uuid NOT NULL REFERENCES vaults ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT uuidv7(),
    manifest_id uuid NOT NULL,
    up_to_pos bigint NOT NULL,
    batches integer NOT NULL,
    bytes bigint NOT NULL,
    done_at timestamptz NOT NULL,
    PRIMARY KEY (vault_id, id)
);
COMMENT ON TABLE compactions IS 'Receipts: which batches were deleted, and the snapshot that holds what they said.';
SELECT protect('compactions');

-- The jobs that compact ask whose turn it is, and then work in a transaction of that account.
CREATE FUNCTION vaults_to_compact(vouched_before timestamptz, most integer) RETURNS TABLE (account_id uuid, vault_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT m.account_id, m.vault_id FROM manifests m
        WHERE m.applied_at IS NULL AND m.vouched_at <= vouched_before
        GROUP BY m.account_id, m.vault_id ORDER BY min(m.vouched_at) LIMIT most;
    END;
SELECT as_lookup('vaults_to_compact(timestamptz, integer)');

CREATE FUNCTION vaults_with_spare_segments(begun_before timestamptz, most integer) RETURNS TABLE (account_id uuid, vault_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT DISTINCT s.account_id, s.vault_id FROM segments s
        WHERE s.begun_at <= begun_before
            AND NOT EXISTS (SELECT FROM manifests m WHERE m.vault_id = s.vault_id AND s.name = ANY (m.segments))
        LIMIT most;
    END;
SELECT as_lookup('vaults_with_spare_segments(timestamptz, integer)');
"""

_PAIRING = """
CREATE TABLE mailboxes (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name uuid NOT NULL,
    slot text NOT NULL CHECK (slot ~ '^[a-z0-9-]{1,20}$'),
    message bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, name, slot)
);
CREATE INDEX mailboxes_by_expiry ON mailboxes (expires_at);
SELECT protect('mailboxes');
GRANT SELECT (expires_at), DELETE ON mailboxes TO sunaiva_lookup;

CREATE TABLE spent_challenges (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE spent_challenges IS 'A challenge is a signed time; here stands that it was used, until it has run out by itself.';
CREATE INDEX spent_challenges_by_expiry ON spent_challenges (expires_at);
SELECT protect('spent_challenges');
GRANT SELECT (expires_at), DELETE ON spent_challenges TO sunaiva_lookup;

-- Retention has to delete what has run out for every account.
CREATE FUNCTION forget_pairing(moment timestamptz) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        WITH letters AS (DELETE FROM mailboxes WHERE expires_at <= moment RETURNING 1),
            spent AS (DELETE FROM spent_challenges WHERE expires_at <= moment RETURNING 1)
        SELECT (SELECT count(*) FROM letters) + (SELECT count(*) FROM spent);
    END;
SELECT as_lookup('forget_pairing(timestamptz)');
"""

_STAFF = """
GRANT SELECT (account_id, id, generation, head_pos, min_pos, control_seq, used_bytes, quota_bytes, created_at, pushed_at),
    UPDATE (generation) ON vaults TO sunaiva_lookup;

-- Whoever runs the installation sees how many vaults of which size there are. They hold nothing that could be read.
CREATE FUNCTION vaults_listed(most integer) RETURNS TABLE (
    id uuid, account_id uuid, generation uuid, head_pos bigint, min_pos bigint, used_bytes bigint, quota_bytes bigint,
    created_at timestamptz, pushed_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT v.id, v.account_id, v.generation, v.head_pos, v.min_pos, v.used_bytes, v.quota_bytes, v.created_at, v.pushed_at
        FROM vaults v ORDER BY v.used_bytes DESC, v.id LIMIT most;
    END;
SELECT as_lookup('vaults_listed(integer)');

-- After a restore the vaults of all accounts begin a new generation.
CREATE FUNCTION renew_generations(only_vault uuid) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        WITH renewed AS (
            UPDATE vaults SET generation = gen_random_uuid() WHERE only_vault IS NULL OR id = only_vault RETURNING 1)
        SELECT count(*) FROM renewed;
    END;
SELECT as_lookup('renew_generations(uuid)');
"""

_DOWN = """
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION renew_generations(uuid), vaults_listed(integer), forget_pairing(timestamptz),
    vaults_with_spare_segments(timestamptz, integer), vaults_to_compact(timestamptz, integer), device_of_vault(uuid, uuid);
SET LOCAL ROLE sunaiva_owner;
DROP TABLE spent_challenges, mailboxes, compactions, cosignatures, manifests, segments, batches, streams, devices,
    control_entries, vaults;
"""


def upgrade() -> None:
    run(_VAULTS + _BATCHES + _SNAPSHOTS + _PAIRING + _STAFF)


def downgrade() -> None:
    run(_DOWN)
