"""Files that are too large for a row: in a folder, or in any object store that `obstore` speaks to. The one door to it.

What is put here is sealed before: whoever runs the store reads nothing. A name is made of our ids, never of what a person typed.
"""

from pathlib import Path

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

from shared.errors import InvalidError, NotFoundError, UnavailableError

CHUNK_BYTES = 1024 * 1024


class BlobsUrlError(InvalidError):
    code = "blobs_url_invalid"


class BlobNotFoundError(NotFoundError):
    code = "blob_not_found"


class BlobsUnavailableError(UnavailableError):
    code = "blobs_unavailable"


class Blobs:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, name: str, source: Path) -> None:
        """
        Raises:
            BlobsUnavailableError: it is not there; the same call may work later.
        """
        try:
            await obstore.put_async(self._store, name, source)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _unavailable(error) from None

    async def fetch(self, name: str, target: Path) -> None:
        """
        Raises:
            BlobNotFoundError: there is none of this name.
            BlobsUnavailableError
        """
        try:
            found = await obstore.get_async(self._store, name)
            with target.open("wb") as file:
                async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                    file.write(memoryview(chunk))
        except FileNotFoundError:
            raise BlobNotFoundError("This file is no longer kept.") from None
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _unavailable(error) from None

    async def put_bytes(self, name: str, content: bytes) -> None:
        """
        Raises:
            BlobsUnavailableError: it is not there; the same call may work later.
        """
        try:
            await obstore.put_async(self._store, name, content)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _unavailable(error) from None

    async def read(self, name: str) -> bytes:
        """All of it at once: for what is known to be small.

        Raises:
            BlobNotFoundError: there is none of this name.
            BlobsUnavailableError
        """
        try:
            found = await obstore.get_async(self._store, name)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise BlobNotFoundError("This file is no longer kept.") from None
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _unavailable(error) from None

    async def delete(self, name: str) -> None:
        """Whether or not it is there.

        Raises:
            BlobsUnavailableError
        """
        try:
            await obstore.delete_async(self._store, name)
        except FileNotFoundError:
            pass
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _unavailable(error) from None


def open_blobs(url: str | None, home: Path) -> Blobs:
    """The store at `url` (`s3://bucket/prefix`, `gs://…`, `az://…`, `file:///folder`), else a folder in the data folder.

    Raises:
        BlobsUrlError: it is not understood. The sentence does not repeat it: it may hold a key.
    """
    if url is None:
        return Blobs(LocalStore(home / "blobs", mkdir=True))
    try:
        return Blobs(from_url(url))
    except (ValueError, OSError, obstore.exceptions.BaseError):
        raise BlobsUrlError(
            "SUNAIVA_CLOUD_BLOBS is not understood: write s3://bucket/prefix, gs://bucket, az://container or file:///folder."
        ) from None


def _unavailable(error: Exception) -> BlobsUnavailableError:
    # Its class only: what it says may hold an address with a key in it.
    return BlobsUnavailableError(
        f"The store for files cannot do this now ({type(error).__name__}). It may later."
    )
