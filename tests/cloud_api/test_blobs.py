"""Files outside of the database."""

from pathlib import Path

import pytest

from cloud_api.blobs import BlobNotFoundError, BlobsUnavailableError, BlobsUrlError, open_blobs

pytestmark = pytest.mark.anyio


async def test_a_file_comes_back_as_it_was_put_until_it_is_deleted(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 10_000)
    blobs = open_blobs(None, tmp_path / "home")
    await blobs.put("exports/1", source)
    await blobs.fetch("exports/1", target)
    assert target.read_bytes() == source.read_bytes()
    for _ in range(2):
        await blobs.delete("exports/1")
    with pytest.raises(BlobNotFoundError):
        await blobs.fetch("exports/1", target)


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    blobs = open_blobs(None, tmp_path / "home")
    (tmp_path / "home" / "blobs" / "exports").write_text("a file where the folder should be")
    with pytest.raises(BlobsUnavailableError):
        await blobs.put("exports/1", source)


async def test_a_store_can_be_named_by_its_address(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    blobs = open_blobs(f"file://{tmp_path}/elsewhere", tmp_path / "home")
    await blobs.put("one", Path(__file__))
    assert (tmp_path / "elsewhere" / "one").is_file()


async def test_an_address_that_is_none_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(BlobsUrlError) as refused:
        open_blobs("ftp://user:secret@host/x", tmp_path)
    assert "secret" not in str(refused.value)
