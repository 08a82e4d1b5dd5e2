"""Sunaiva's own exports, JSON lines and zip: every memory comes back as it left, with its id and its history."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcp_server.exporters import archive
from mcp_server.exporters.lines import LINE_BYTES_MAX, check_header, decode
from mcp_server.importers.bundle import Bundle, Member, open_path, open_zip, printable
from mcp_server.importers.drafts import Item, Problem
from shared.errors import CorruptError, InvalidError


def read(bundle: Bundle) -> Iterator[Item]:
    member = members(bundle)[0]
    with bundle.open(member) as stream:
        yield from _memories(stream, member.name)


def members(bundle: Bundle) -> list[Member]:
    """The one file that holds the memories."""
    if len(bundle.members) == 1 and not bundle.is_zip:
        return bundle.members
    for member in bundle.members:
        if member.base == archive.MEMORIES:
            return [member]
    raise InvalidError(
        f"{bundle.label} holds no {archive.MEMORIES}. Give a file that `sunaiva export` wrote."
    )


@contextmanager
def open_export(path: Path, passphrase: str | None) -> Iterator[Bundle]:
    """The bundle at `path`, unsealed first if need be."""
    if not is_sealed(path):
        with open_path(path) as bundle:
            yield bundle
        return
    label = printable(path.name)
    with (
        path.open("rb") as file,
        archive.open_sealed(file, passphrase, label) as opened,
        open_zip(opened, label) as bundle,
    ):
        yield bundle


def is_sealed(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(archive.SEALED_MARK)) == archive.SEALED_MARK


def _memories(stream: io.BufferedReader, where: str) -> Iterator[Item]:
    check_header(stream.readline(LINE_BYTES_MAX), where)
    number = 1
    while line := stream.readline(LINE_BYTES_MAX):
        number += 1
        place = f"{where}, line {number}"
        if not line.endswith(b"\n"):
            if len(line) < LINE_BYTES_MAX:
                raise CorruptError(
                    f"{place} ends in the middle: the export is not complete. Take another copy; what was imported "
                    "already is kept and not added twice."
                )
            raise CorruptError(f"{place} is longer than any that Sunaiva writes.")
        try:
            yield decode(line)
        except InvalidError as error:
            yield Problem(place, str(error))
