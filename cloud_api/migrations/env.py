"""Alembic runs this to get a connection; it is given ours, on which `migrating` has taken the owner's role."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transaction_per_migration=True,
    version_table="schema_version",
)
with context.begin_transaction():
    context.run_migrations()
