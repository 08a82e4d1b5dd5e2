"""What another device calls itself, as a person sees it."""

import pytest

from mcp_server.syncing import roster
from sync_service.members.control import Member
from sync_service.sealed import keys

VAULT, DEVICE, KEY = b"v" * 16, b"d" * 16, b"k" * 32


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("phone", "phone"),
        ("phone\x1b[2J", "phone\N{REPLACEMENT CHARACTER}[2J"),
        ("\u202eenohp", "\N{REPLACEMENT CHARACTER}enohp"),
        ("   ", "device 64646464"),
    ],
    ids=["a name", "control characters", "direction", "nothing"],
)
def test_a_device_is_called_by_what_of_its_name_is_one(name: str, shown: str) -> None:
    member = Member(
        device=DEVICE,
        sign_public=bytes(32),
        kem_public=bytes(32),
        sealed_name=keys.seal_name(name, KEY, vault=VAULT, epoch=1, device=DEVICE),
        incarnation=1,
        streams=(),
        added_at_seq=1,
        wrap=None,
    )
    assert roster.name_of(member, VAULT, {1: KEY}) == shown
