"""What can be wrong with a server or with another device, each by its own name. An alarm is shown until it is settled; none of them
stops what is sound, and none of them ever changes or removes a memory.
"""

import re
from datetime import datetime
from typing import Literal

from msgspec import Struct

Kind = Literal[
    "forged",  # a signature that does not fit its device
    "fork",  # two different batches at one place of a stream
    "gap",  # another device has seen batches of a stream that the server does not show
    "reordered",  # a batch that does not follow the one before it
    "deleted",  # the vault's owner deleted it there: it is given back only when a person says so
    "rolled_back",  # the server holds less than it has shown before
    "reset",  # the server began anew: what it lost is being sent again
    "missing",  # files that were in the folder, or batches that the server kept, are not there
    "damaged",  # what stands in their place is not as it was written
    "incomplete",  # a file that is not wholly there, for long
    "wrong_vault",  # a batch or device list of another vault
    "unknown_device",  # a batch of a device that no member has admitted
    "revoked_device",  # a batch of a device after it was removed
    "forged_device_list",  # the device list was altered, reordered or signed by a stranger
    "device_list_withheld",  # a batch made under a later device list than the server shows
    "downgrade",  # a form of encryption below what the vault demands
    "unreadable",  # a batch that cannot be decrypted with the vault's keys
    "malformed",  # a batch, or an operation in it, that no implementation writes
    "newer",  # something that only a newer version understands
    "diverged",  # two devices that have seen the same and do not hold the same
    "cloned",  # this device runs twice, or was put back from a backup: it goes on under a new stream
    "clock_off",  # this device's clock and the server's differ by more than two minutes
    "many_forgotten",  # another device forgot so much at once that it waits for a yes
    "not_entitled",  # the server takes nothing new until there is a subscription
    "quota",  # the server has no more room for this vault
    "stale",  # nothing came through for a long time
]


class Alarm(Struct, frozen=True, kw_only=True):
    kind: Kind
    subject: str
    """The stream, device or place it is about: with the kind, what tells one alarm from another."""
    sentence: str
    """What is wrong and what to do, for the person."""
    first_at: datetime
    last_at: datetime
    times: int
    device: str | None = None
    """What its owner calls the device that it is about, where it is about one and somebody looked that up."""


# A stream, or a place in one: what most alarms about a device have as their subject.
_STREAM = re.compile(r"([0-9a-f]{16})(/[0-9]+)?")


def stream_of(alarm: Alarm) -> bytes | None:
    """The stream that an alarm is about; `None` if it is about something else."""
    found = _STREAM.fullmatch(alarm.subject)
    return None if found is None else bytes.fromhex(found[1])
