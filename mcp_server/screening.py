"""What of a memory may be stored: its text, and every name that comes with it, because a name is shown as openly as a text.

Pure. The answer says what was taken out, by its label only.
"""

from collections.abc import Callable, Collection
from typing import TypeVar

import msgspec

from mcp_server import sensitive
from mcp_server.model import Draft, Memory
from mcp_server.sensitive import Policy
from shared.errors import InvalidError

OwnWords = Callable[[str], bool]
Content = TypeVar("Content", Draft, Memory)

_FIELDS = ("text", "space", "tags", "speaker", "conversation", "links")
_IN_SPACE = "a secret in the name of its space"


def let_in(
    content: Content,
    policy: Policy,
    *,
    own_words: OwnWords,
    which: str,
    fields: Collection[str] = _FIELDS,
) -> tuple[Content, tuple[str, ...]]:
    """What of it may be stored, and the labels of what was taken out. Only `fields` are looked at.

    Raises:
        InvalidError: nothing of it may be stored.
    """
    labels: list[str] = []
    why: list[str] = []

    def kept(said: str, *, is_name: bool = True) -> str:
        screened = sensitive.screen(said, policy, own_words=own_words, is_name=is_name)
        labels.extend(screened.redacted)
        why.extend(screened.refused)
        return screened.text

    changes: dict[str, object] = {}
    if "text" in fields:
        changes["text"] = kept(content.text, is_name=False)
    if "space" in fields and not _is_space(content.space, policy, own_words):
        why.append(_IN_SPACE)
    if "tags" in fields:
        changes["tags"] = tuple(dict.fromkeys(kept(tag) for tag in content.tags))
    for name, said in (("speaker", content.speaker), ("conversation", content.conversation)):
        if name in fields and said is not None:
            changes[name] = kept(said)
    if "links" in fields:
        changes["links"] = tuple(
            msgspec.structs.replace(link, relation=kept(link.relation)) for link in content.links
        )
    if why:
        raise InvalidError(
            f"{which} holds what must not be stored here: {', '.join(dict.fromkeys(why))}. Nothing was stored. Send it without."
        )
    return msgspec.structs.replace(content, **changes), tuple(labels)


def refused(draft: Draft, policy: Policy, *, own_words: OwnWords) -> bool:
    """Whether `let_in` would refuse it."""
    names = [*draft.tags, *(link.relation for link in draft.links)]
    names += [each for each in (draft.speaker, draft.conversation) if each is not None]
    return (
        sensitive.refused(draft.text, policy, own_words=own_words)
        or not _is_space(draft.space, policy, own_words)
        or any(sensitive.refused(each, policy, own_words=own_words, is_name=True) for each in names)
    )


def name_kept(name: str, policy: Policy, *, own_words: OwnWords) -> str:
    """A name as it is stored."""
    return sensitive.screen(name, policy, own_words=own_words, is_name=True).text


def _is_space(name: str, policy: Policy, own_words: OwnWords) -> bool:
    """Permissions hang on the name of a space: with a mark in it, it would be another one, so it is refused instead."""
    return name_kept(name, policy, own_words=own_words) == name
