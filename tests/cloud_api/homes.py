"""Data folders of a cloud, for whichever tests run one: a fixture that tests elsewhere use, too, cannot stand in a conftest."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloud_api.embedded import embedded
from cloud_api.migrating import migrate


@pytest.fixture(scope="session")
def made_home() -> Iterator[Path]:
    """A data folder with a migrated database that does not run: making one takes seconds, copying it none."""
    with cloud_folder() as made:
        with embedded(made, durable=False) as server:
            migrate(server.url())
        yield made


@contextmanager
def cloud_folder() -> Iterator[Path]:
    """A data folder that PostgreSQL may enter also when root runs the tests, which pytest's own folders do not allow."""
    path = Path(tempfile.mkdtemp(prefix="sunaiva-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def copy_of(home: Path) -> Iterator[Path]:
    with cloud_folder() as copy:
        # As an archive: the files belong to whom PostgreSQL runs as.
        subprocess.run(["cp", "-a", f"{home}/.", copy], check=True)
        yield copy
