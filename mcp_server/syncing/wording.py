"""What is wrong, said for where this vault meets its devices: the engine knows no difference, and speaks of a server."""

import msgspec

from mcp_server.vault.meeting import Meeting
from sync_service.alarms import Alarm

_IN_A_FOLDER = {"The server": "The folder", "the server": "the folder", "A server": "A folder"}


def for_place(alarm: Alarm, met: Meeting | None) -> Alarm:
    if met is None or met.kind != "folder":
        return alarm
    sentence = alarm.sentence
    for said, meant in _IN_A_FOLDER.items():
        sentence = sentence.replace(said, meant)
    return msgspec.structs.replace(alarm, sentence=sentence)
