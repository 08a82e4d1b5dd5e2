"""The numbers of a memory's fields on the wire. Append only: a number never comes to mean something else.

Merging does not look at values; only `GUARDED` concerns it. What a value is stands here for whoever writes and reads it; times are
milliseconds since 1970 in UTC, ids 16 bytes. A field that was never written has its default; a number that is not here belongs to
a newer version, and is kept.
"""

from enum import IntEnum


class Field(IntEnum):
    TEXT = 1  # str
    KIND = 2  # str
    SPACE = 3  # str
    OCCURRED = 4  # int | nil
    VALID_FROM = 5  # int | nil
    VALID_TO = 6  # int | nil
    SPEAKER = 7  # str | nil
    CONVERSATION = 8  # str | nil
    POSITION = 9  # int | nil
    TRUST = 10  # str
    CLIENT = 11  # str | nil
    TOOL = 12  # str | nil
    KEY = 13  # 16 bytes | nil
    IMPORTANCE = 14  # float64
    PINNED = 15  # bool
    ARCHIVED = 16  # bool
    SUPERSEDED_BY = 17  # 16 bytes | nil
    CREATED = 18  # int


# Two people who write one of these without knowing of each other both meant it: no version is lost silently.
GUARDED = frozenset({Field.TEXT, Field.SUPERSEDED_BY})
