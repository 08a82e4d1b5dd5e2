"""Somebody wants everything that the cloud holds on them."""

import asyncio
import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from cloud_api.deps import Deps
from cloud_api.rights import exports
from cloud_api.rights.exports import Rights, Wish
from cloud_api.rights.registry import PERSONAL
from tests.cloud_api.accounts.people import Hands, Mailbox, Person, code_of, drain

pytestmark = pytest.mark.anyio

_LINK = re.compile(r"/api/v1(/exports/[\w-]+)")


async def link(mailbox: Mailbox, mail: str = "ada@example.org") -> str:
    found: list[list[str]] = [_LINK.findall(each.text) for each in await mailbox.to(mail)]
    return [links[0] for links in found if links][-1]


async def download(person: Person, path: str) -> dict[str, Any]:
    answer = await Person(person.client, "nobody").get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {
            name: archive.read(name).decode()
            if name.endswith(".txt")
            else json.loads(archive.read(name))
            for name in archive.namelist()
        }


async def test_the_link_in_the_mail_brings_everything_in_one_file(
    ada: Person, bob: Person, mailbox: Mailbox
) -> None:
    assert (await ada.post("/account/exports")).status_code == 202
    files = await download(ada, await link(mailbox))
    assert set(files) == {"README.txt", *(f"{each.name}.json" for each in PERSONAL if each.shown)}
    (account,) = files["accounts.json"]
    assert account["mail"] == "ada@example.org"
    assert len(files["sessions.json"]) == 1
    assert {"session.opened", "export.asked"} <= {
        each["action"] for each in files["audit_entries.json"]
    }
    assert all(isinstance(each["detail"], dict) for each in files["audit_entries.json"])
    assert "bob@example.org" not in json.dumps(files)
    assert "password_hash: proves who you are" in files["README.txt"]
    assert "argon2" not in json.dumps(files)


async def test_who_runs_the_store_for_files_reads_nothing(
    ada: Person, mailbox: Mailbox, deps: Deps
) -> None:
    await ada.post("/account/exports")
    await link(mailbox)
    (blob,) = [path for path in (deps.settings.home / "blobs").rglob("*") if path.is_file()]
    assert b"ada@example.org" not in blob.read_bytes()
    assert not blob.read_bytes().startswith(b"PK")


async def test_in_the_clear_an_export_lies_in_no_file_that_has_a_name(
    ada: Person, mailbox: Mailbox, deps: Deps, tmp_path: Path
) -> None:
    await ada.post("/account/exports")
    path = await link(mailbox)
    folder = tmp_path / "temporary"
    folder.mkdir()
    with placed(folder):
        plain = await exports.fetch(deps.injected["rights"], path.rpartition("/")[2])
        with plain:
            assert zipfile.ZipFile(plain).testzip() is None
            # Whoever kills the process now leaves nothing.
            assert os.listdir(folder) == []  # noqa: PTH208 (beside an event loop)


@contextmanager
def placed(folder: Path) -> Iterator[None]:
    """Temporary files lie there meanwhile."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


async def test_a_link_works_for_a_week_and_its_file_is_then_gone(
    ada: Person, mailbox: Mailbox, deps: Deps, clock: Hands
) -> None:
    await ada.post("/account/exports")
    path = await link(mailbox)
    clock.forward(days=7, seconds=-1)
    await download(ada, path)
    clock.forward(seconds=1)
    assert code_of(await ada.get(path)) == "export_link_over"
    assert await exports.end_run_out(deps.injected["rights"], 10) == 1
    await drain(deps)
    assert not [each for each in (deps.settings.home / "blobs").rglob("*") if each.is_file()]
    assert await exports.end_run_out(deps.injected["rights"], 10) == 0


async def test_asking_twice_makes_one_file_and_a_day_has_three(
    ada: Person, mailbox: Mailbox
) -> None:
    first, second = [(await ada.post("/account/exports")).json() for _ in range(2)]
    assert first["id"] == second["id"]
    for _ in range(2):
        await link(mailbox)
        assert (await ada.post("/account/exports")).status_code == 202
    await link(mailbox)
    assert code_of(await ada.post("/account/exports")) == "exports_too_many"
    listed = (await ada.get("/account/exports")).json()
    assert [each["state"] for each in listed] == ["ready"] * 3
    assert not any("digest" in each or "link" in each for each in listed)


async def test_a_job_done_twice_sends_one_mail_with_a_link_that_works(
    ada: Person, mailbox: Mailbox, deps: Deps
) -> None:
    asked = (await ada.post("/account/exports")).json()
    account = (await ada.get("/account")).json()["id"]
    rights: Rights = deps.injected["rights"]
    for _ in range(2):
        await exports.make(rights, Wish(account, asked["id"]))
    assert (await mailbox.subjects("ada@example.org")).count("Your data is ready") == 1
    await download(ada, await link(mailbox))


async def test_a_job_done_twice_at_once_leaves_a_link_that_works_and_one_file(
    ada: Person, mailbox: Mailbox, deps: Deps
) -> None:
    asked = (await ada.post("/account/exports")).json()
    account = (await ada.get("/account")).json()["id"]
    rights: Rights = deps.injected["rights"]
    wish = Wish(account, asked["id"])
    await asyncio.gather(*(exports.make(rights, wish) for _ in range(3)))
    await drain(deps)
    await download(ada, await link(mailbox))
    kept = [each for each in (deps.settings.home / "blobs").rglob("*") if each.is_file()]
    assert len(kept) == 1


async def test_nobody_exports_without_having_just_proved_to_be_there(
    client: AsyncClient, ada: Person, clock: Hands
) -> None:
    assert (await Person(client, "nobody").post("/account/exports")).status_code == 401
    clock.forward(minutes=14)
    assert code_of(await ada.post("/account/exports")) == "step_up_needed"


async def test_a_link_of_another_s_making_brings_nothing(ada: Person) -> None:
    for token in ("x", "A" * 43, "%20", "..%2F..%2Fsecret", str(uuid4())):
        answer = await ada.get(f"/exports/{token}")
        assert answer.status_code == 404
