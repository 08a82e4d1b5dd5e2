"""`sunaiva-cloud`: the console script. Turns errors into one sentence and an exit code."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import psycopg
from cyclopts import App, Parameter

import shared
from cloud_api import app as api
from cloud_api import catalogue, jobs, migrating, serving, telemetry, worker
from cloud_api import deps as wiring
from cloud_api.db import Database
from cloud_api.embedded import attached
from cloud_api.settings import Settings, load
from shared.errors import SunaivaError, UnavailableError

app = App(name="sunaiva-cloud", help="The cloud of Sunaiva.", version_flags=[])
admin = App(name="admin", help="For staff: what happens inside.")
jobs_app = App(name="jobs", help="Jobs that wait, run, or have failed for good.")
admin.command(jobs_app)
app.command(admin)


def main() -> None:
    """Run what the command line says and exit with its code."""
    _refuse_strangers()
    telemetry.configure()
    try:
        app(sys.argv[1:])
    except SunaivaError as error:
        sys.exit(f"sunaiva-cloud: {error}")


@app.command
def serve() -> None:
    """Run database, API and worker until told to stop. Needs no configuration."""
    sys.exit(serving.serve(load()))


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
    with _database(settings) as url:
        try:
            with psycopg.connect(url, connect_timeout=5) as connection:
                found = catalogue.faults(connection)
        except psycopg.OperationalError as error:
            raise UnavailableError(
                f"The database cannot be reached ({type(error).__name__})."
            ) from None
    for each in found:
        print(each)
    if found:
        sys.exit(1)
    print("Settings, database and its protection are in order.")


@app.command
def openapi() -> None:
    """Print the API's OpenAPI document; `docs/api/openapi.json` is made by it."""
    sys.stdout.write(api.document().decode())


@jobs_app.command(name="list")
def list_jobs(
    *, status: Annotated[str | None, Parameter(help="todo, doing or failed")] = None
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


async def _print_jobs(status: str | None) -> None:
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
