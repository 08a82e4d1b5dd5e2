"""Reads from the database's own catalogue what protects people there: row-level security, forced, with a policy, on each table.

A new table is personal until it is named below with the reason why it is not.
"""

import psycopg

from cloud_api.migrating import head

NOT_PERSONAL: dict[str, str] = {
    "schema_version": "one row: the schema's revision",
    "events": "ids and figures; the worker reads it for all accounts",
    "procrastinate_jobs": "ids; the worker reads it for all accounts",
    "procrastinate_events": "what happened to jobs, by number",
    "procrastinate_periodic_defers": "when periodic jobs were last due",
    "roles": "names of roles",
    "permissions": "names of permissions",
    "role_permissions": "which role may do what",
    "signing_keys": "the installation's own, sealed",
    "procrastinate_workers": "heartbeats of our own processes",
}

# What a login of ours becomes in every transaction.
_OURS = ("sunaiva_app", "sunaiva_read")
_ROLES = ("sunaiva_owner", "sunaiva_app", "sunaiva_read", "sunaiva_lookup")

# Only what a role that answers requests could reach.
_TABLES = """
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity,
       EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polqual IS NOT NULL)
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY c.relname
"""
_DEFINERS = """
SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner),
       coalesce(array_to_string(p.proconfig, ','), '') LIKE '%search_path=%',
       has_function_privilege('public', p.oid, 'EXECUTE')
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef ORDER BY 1
"""


def faults(connection: psycopg.Connection) -> list[str]:
    """A sentence for each thing that is not as it has to be; none is good."""
    if found := _roles(connection) or _closed(connection):
        return found
    connection.execute("SET ROLE sunaiva_app")
    return [*_revision(connection), *_unprotected(connection), *_loose(connection)]


def _revision(connection: psycopg.Connection) -> list[str]:
    there = connection.execute("SELECT to_regclass('public.schema_version') IS NOT NULL").fetchone()
    if there != (True,):
        return ["The database is empty. Run `sunaiva-cloud migrate`."]
    row = connection.execute("SELECT version_num FROM schema_version").fetchone()
    found = row[0] if row else None
    if found != head():
        return [f"The schema is at {found}, this code's at {head()}. Run `sunaiva-cloud migrate`."]
    return []


def _roles(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT rolname, rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = ANY(%s)",
        [list(_ROLES)],
    ).fetchall()
    present = {row[0] for row in rows}
    missing = [
        f"The role {name} is missing. Run `sunaiva-cloud migrate`."
        for name in _ROLES
        if name not in present
    ]
    mighty = [
        f"The role {name} may {what}, and must not."
        for name, *may in rows
        for what, does in zip(
            ("do everything", "ignore row-level security", "log in"), may, strict=True
        )
        if does
    ]
    return missing + mighty


def _closed(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT each, session_user FROM unnest(%s::name[]) AS each WHERE NOT pg_has_role(session_user, each, 'SET')",
        [list(_OURS)],
    )
    return [
        f"The login {login} may not become {role}. As an administrator: GRANT {role} TO {login}."
        for role, login in rows
    ]


def _unprotected(connection: psycopg.Connection) -> list[str]:
    found = []
    for name, is_forced, has_policy in connection.execute(_TABLES):
        if name in NOT_PERSONAL:
            continue
        if not is_forced:
            found.append(
                f"The table {name} has no forced row-level security: SELECT protect('{name}')."
            )
        elif not has_policy:
            found.append(f"The table {name} has no policy: SELECT protect('{name}').")
    return found


def _loose(connection: psycopg.Connection) -> list[str]:
    found = []
    for name, owner, has_path, is_public in connection.execute(_DEFINERS):
        if owner != "sunaiva_lookup" or is_public:
            found.append(
                f"The function {name} runs with another's rights: SELECT as_lookup('{name}')."
            )
        if not has_path:
            found.append(f"The function {name} needs SET search_path = public, pg_temp.")
    return found
