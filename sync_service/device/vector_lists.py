"""Which lists of vectors are believed: those that a device of today signed for this vault."""

from sync_service.members.control import Members
from sync_service.sealed import vectors
from sync_service.sealed.frames import ForgedError


def believed(raw: bytes, members: Members) -> vectors.VectorList | None:
    """A list by a device of this vault; None if that was removed since.

    Raises:
        MalformedError, ForgedError
    """
    found = vectors.read(raw)
    writer = members.members.get(found.device)
    if found.vault != members.vault or writer is None:
        raise ForgedError(
            "The server shows vectors that no device of this vault has made. They were not used."
        )
    vectors.verify(raw, writer.sign_public)
    return found if writer.revoked is None else None
