"""What is wired, and what the wiring keeps clean."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud_api.deps import SWEEP, Deps, installation_key, opened
from cloud_api.jobs import Tick
from cloud_api.settings import Settings, load
from shared.errors import CorruptError

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 6, 1, tzinfo=UTC)


async def test_old_keys_and_told_events_are_swept_and_the_rest_stays(deps: Deps) -> None:
    async with opened(deps):
        async with deps.db.transaction() as connection:
            for days, told in ((91, True), (91, False), (1, True)):
                at = NOW - timedelta(days=days)
                await connection.execute(
                    "INSERT INTO events (name, body, recorded_at, dispatched_at) VALUES ('tests.old', '{}', %s, %s)",
                    [at, at if told else None],
                )
            for hours in (25, 1):
                await connection.execute(
                    "INSERT INTO idempotency_keys (caller, key, request, created_at) VALUES (%s, %s, %s, %s)",
                    [bytes(32), bytes([hours]) * 32, bytes(32), NOW - timedelta(hours=hours)],
                )
        (sweep,) = [job for job in deps.jobs if job.task is SWEEP]
        await sweep.run(Tick(NOW))
        async with deps.db.transaction() as connection:
            events = await (await connection.execute("SELECT count(*) FROM events")).fetchone()
            keys = await (
                await connection.execute("SELECT count(*) FROM idempotency_keys")
            ).fetchone()
    assert (events, keys) == ((2,), (1,))


def test_the_installations_key_is_made_once_and_readable_by_its_owner_only(
    settings: Settings, tmp_path: Path
) -> None:
    assert installation_key(settings) == installation_key(settings)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_damaged_key_is_not_replaced_in_silence(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"half")
    with pytest.raises(CorruptError):
        installation_key(settings)


def test_a_given_secret_needs_no_folder(tmp_path: Path) -> None:
    environ = {"SUNAIVA_CLOUD_HOME": str(tmp_path / "none"), "SUNAIVA_CLOUD_SECRET": "s" * 32}
    assert len(installation_key(load(environ))) == 32
    assert not (tmp_path / "none").exists()
