"""`sunaiva-cloud`: the console script. Turns errors into one sentence and an exit code."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from uuid import UUID

import msgspec
import psycopg
from cyclopts import App, Parameter

import shared
from cloud_api import app as api
from cloud_api import catalogue, jobs, migrating, serving, worker
from cloud_api import deps as wiring
from cloud_api.accounts import commands as accounts
from cloud_api.accounts.means import Means
from cloud_api.audit import commands as audit
from cloud_api.db import Database
from cloud_api.embedded import attached
from cloud_api.rights import registry
from cloud_api.settings import Settings, load
from cloud_api.sync import commands as vaults
from cloud_api.telemetry.logs import configure_logs
from shared.clock import system_clock
from shared.errors import SunaivaError, UnavailableError

T = TypeVar("T")
Status = Literal["todo", "doing", "failed", "cancelled", "aborted"]
"""Of jobs that are there: those that succeeded are not kept."""

app = App(name="sunaiva-cloud", help="The cloud of Sunaiva.", version_flags=[])
admin = App(name="admin", help="For staff: what happens inside.")
jobs_app = App(name="jobs", help="Jobs that wait, run, or have failed for good.")
admin.command(jobs_app)
audit_app = App(name="audit", help="The log of security and staff actions.")
admin.command(audit_app)
keys_app = App(name="keys", help="Keys that sign access tokens.")
admin.command(keys_app)
vaults_app = App(name="vaults", help="Vaults that are synced here.")
admin.command(vaults_app)
app.command(admin)


def main() -> None:
    """Run what the command line says and exit with its code."""
    _refuse_strangers()
    configure_logs(sys.stderr, clock=system_clock)
    try:
        app(sys.argv[1:])
    except SunaivaError as error:
        sys.exit(f"sunaiva-cloud: {error}")


@app.command
def serve() -> None:
    """Run database, API and worker until told to stop. Needs no configuration."""
    settings = load()
    wiring.refuse_unusable(settings)
    sys.exit(serving.serve(settings))


@app.command(name="worker")
def run_worker() -> None:
    """Run jobs only, beside processes that serve."""
    settings = load()
    with _database(settings) as url:
        asyncio.run(worker.run(wiring.build(settings, url)))


@app.command
def migrate(*, phase: Literal["before", "after"] = "after") -> None:
    """Bring the database to this version.

    Parameters
    ----------
    phase
        `before` leaves out what processes of the former version would not survive.
    """
    settings = load()
    with _database(settings, for_migration=True) as url:
        print(f"The database is at {migrating.migrate(url, phase=phase)}.")


@app.command
def check() -> None:
    """Say what is wrong with settings, database and its protection of people, if anything."""
    settings = load()
    wiring.refuse_unusable(settings)
    with _database(settings) as url:
        try:
            with psycopg.connect(url, connect_timeout=5) as connection:
                found = catalogue.faults(connection) or registry.faults(connection)
        except psycopg.OperationalError as error:
            raise UnavailableError(
                f"The database cannot be reached ({type(error).__name__})."
            ) from None
    for each in found:
        print(each)
    if found:
        sys.exit(1)
    print("Settings, database and its protection are in order.")
    ports = wiring.figure_ports(settings)
    print(
        f"Each process shows its figures at http://{settings.admin_host}:PORT/metrics, on the first free port from "
        f"{ports[0]} to {ports[-1]}."
    )


@app.command
def openapi() -> None:
    """Print the API's OpenAPI document; `docs/api/openapi.json` is made by it."""
    sys.stdout.write(api.document().decode())


@jobs_app.command(name="list")
def list_jobs(
    *, status: Annotated[Status | None, Parameter(help="todo, doing or failed")] = None
) -> None:
    """The newest jobs, one JSON object a line."""
    asyncio.run(_print_jobs(status))


@jobs_app.command
def dead() -> None:
    """Jobs that have used up their attempts."""
    asyncio.run(_print_jobs("failed"))


@jobs_app.command
def replay(job_id: int) -> None:
    """Give a dead job all its attempts again."""
    asyncio.run(_replay(job_id))
    print(f"Job {job_id} waits for a worker.")


@audit_app.command
def verify(*, known: str | None = None) -> None:
    """Compute every seal of the audit log again, and name the first entry that is not what was sealed.

    Parameters
    ----------
    known
        A head that was printed earlier and noted elsewhere: also says if the log was cut off or written anew since.
    """
    with _database(load()) as url:
        print(asyncio.run(audit.verify(url, known=known)))


@admin.command
def grant(role: str, mail: str) -> None:
    """Give a role to an account: influencer, support, finance, moderator or admin."""
    print(asyncio.run(_with_accounts(lambda means: accounts.grant(means, role, mail))))


@admin.command
def revoke(role: str, mail: str) -> None:
    """Take a role from an account."""
    print(asyncio.run(_with_accounts(lambda means: accounts.revoke(means, role, mail))))


@admin.command
def account(mail: str) -> None:
    """The state of an account as JSON: nothing in it is a secret."""
    state = asyncio.run(_with_accounts(lambda means: accounts.state(means, mail)))
    print(msgspec.json.encode(state).decode())


@keys_app.command
def rotate(*, withdraw: bool = False) -> None:
    """Make a new key for access tokens.

    Parameters
    ----------
    withdraw
        The present keys may be in wrong hands: believe nothing that they signed.
    """
    print(asyncio.run(_with_accounts(lambda means: accounts.rotate_keys(means, withdraw=withdraw))))


@vaults_app.command(name="list")
def list_vaults() -> None:
    """Vaults of all accounts, the largest first, one JSON object a line."""
    with _database(load()) as url:
        for row in asyncio.run(vaults.listed(url)):
            print(msgspec.json.encode(row).decode())


@vaults_app.command(name="new-generation")
def renew_generation(vault: UUID | None = None) -> None:
    """After the database was put back from a backup: has devices send again what it lost.

    Parameters
    ----------
    vault
        Only this one.
    """
    with _database(load()) as url:
        print(asyncio.run(vaults.renew_generations(url, vault)))


async def _with_accounts(act: Callable[[Means], Awaitable[T]]) -> T:
    settings = load()
    with _database(settings) as url:
        deps = wiring.build(settings, url)
        async with wiring.opened(deps):
            return await act(deps.accounts)


async def _print_jobs(status: Status | None) -> None:
    with _database(load()) as url:
        async with Database(url, connections_max=2) as db, db.reading() as connection:
            for row in await jobs.jobs_of(connection, status=status):
                print(msgspec.json.encode(row).decode())


async def _replay(job_id: int) -> None:
    with _database(load()) as url:
        async with Database(url, connections_max=2) as db, db.transaction() as connection:
            await jobs.replay(connection, job_id)


@contextmanager
def _database(settings: Settings, *, for_migration: bool = False) -> Iterator[str]:
    own = settings.migration_url if for_migration else None
    chosen = own or settings.database_url
    if chosen is not None:
        yield chosen.reveal
        return
    with attached(settings.home) as server:
        yield server.url()


def _refuse_strangers() -> None:
    """`shared` is a common name: be sure it is ours."""
    ours = Path(__file__).resolve().parents[1] / "shared" / "__init__.py"
    theirs = getattr(shared, "__file__", None)  # None for a bare folder of that name
    if theirs is None or Path(theirs).resolve() != ours:
        sys.exit(
            f"sunaiva-cloud: another package named `shared` ({theirs}) hides ours. "
            "Install Sunaiva into an environment of its own: `pipx install 'sunaiva[cloud]'`."
        )
