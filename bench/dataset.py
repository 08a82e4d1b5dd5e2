"""The files that recall is measured on: whole conversations, questions, and the turns that answer them.

The files live outside of the project and stay there; nothing of their content is kept, printed or copied.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from shared.errors import InvalidError

ADVERSARIAL = "adversarial"
_ASSISTANT_SPEAKERS = ("user", "assistant")


class Doc(Struct, frozen=True):
    """One turn of a conversation."""

    id: str
    session: str
    idx: int
    who: str
    ts: str
    text: str

    @property
    def role(self) -> str | None:
        """Set in logs of an assistant only; two people who talk to each other have no roles."""
        return self.who if self.who in _ASSISTANT_SPEAKERS else None


class Query(Struct, frozen=True):
    id: str
    text: str
    cat: str
    evidence: list[str]
    evidence_audited: list[str] | None = None


class Scope(Struct, frozen=True):
    """One person's memory: its questions see only its own turns."""

    id: str
    docs: list[Doc]
    queries: list[Query]

    @property
    def sessions(self) -> dict[str, list[Doc]]:
        """Turns by session, both in order."""
        found: dict[str, list[Doc]] = {}
        for doc in self.docs:
            found.setdefault(doc.session, []).append(doc)
        return {name: sorted(docs, key=lambda doc: doc.idx) for name, docs in found.items()}


class Dataset(Struct, frozen=True):
    name: str
    scopes: list[Scope]


def load(path: Path) -> Dataset:
    """Raises InvalidError: the file is missing or is not in this format."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Dataset)
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}.") from error
    except msgspec.DecodeError as error:
        raise InvalidError(
            f"{path} is not a recall data set: {error}. Expected: name, scopes[id, docs, queries]."
        ) from error
