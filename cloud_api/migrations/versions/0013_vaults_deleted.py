"""A vault that its owner deletes stays deleted: devices, which hold all of it, must not take that for a loss and give it back."""

from cloud_api.migrations.statements import run

revision = "0013"
down_revision = "0012"
PHASE = "before"

_UP = """
CREATE TABLE vaults_deleted (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    vault_id uuid NOT NULL,
    deleted_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, vault_id)
);
COMMENT ON TABLE vaults_deleted IS 'Of an account, and not of a vault: deleted in one account, it may be set up in another.';
CREATE INDEX vaults_deleted_by_vault ON vaults_deleted (vault_id);
SELECT protect('vaults_deleted');
GRANT SELECT (vault_id) ON vaults_deleted TO sunaiva_lookup;

-- A device that wants to be let in has no account, and its public key went with the vault. Who knows the vault's name, a hash that
-- nobody guesses, may learn that it was deleted.
CREATE FUNCTION is_vault_deleted(vault uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM vaults_deleted d WHERE d.vault_id = vault)
            AND NOT EXISTS (SELECT FROM vaults v WHERE v.id = vault);
    END;
SELECT as_lookup('is_vault_deleted(uuid)');
"""

_DOWN = """
SET LOCAL ROLE sunaiva_lookup;
DROP FUNCTION is_vault_deleted(uuid);
SET LOCAL ROLE sunaiva_owner;
DROP TABLE vaults_deleted;
"""


def upgrade() -> None:
    run(_UP)


def downgrade() -> None:
    run(_DOWN)
