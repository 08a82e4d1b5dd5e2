import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.sealed import keys
from sync_service.sealed.frames import UnreadableError
from sync_service.sealed.keys import Seeds

VAULT, DEVICE = b"V" * 16, b"D" * 16
SEEDS, OTHERS = Seeds(b"s" * 32, b"t" * 32), Seeds(b"S" * 32, b"T" * 32)
KEY, NEXT_KEY = b"k" * 32, b"K" * 32


def test_seeds_are_random_and_never_printed() -> None:
    seeds = keys.new_seeds(secrets.token_bytes)
    assert seeds != keys.new_seeds(secrets.token_bytes)
    assert str(seeds) == repr(seeds) == "Seeds(…)"


def test_the_same_words_give_the_same_keys_and_others_others() -> None:
    seeds = keys.recovery_seeds(bytes(16))
    assert seeds == keys.recovery_seeds(bytes(16))
    assert seeds.sign != seeds.kem
    assert seeds != keys.recovery_seeds(b"\1" + bytes(15))


def test_each_incarnation_has_a_stream_of_its_own() -> None:
    public, other = keys.sign_public(SEEDS), keys.sign_public(OTHERS)
    streams = {keys.stream_id(who, which) for who in (public, other) for which in (1, 2, 2**32 - 1)}
    assert {len(stream) for stream in streams} == {8}
    assert len(streams) == 6


def test_a_wrapped_key_opens_for_its_device_epoch_and_vault_only() -> None:
    wrapped = keys.wrap_epoch_key(KEY, keys.kem_public(SEEDS), vault=VAULT, epoch=2)
    assert keys.unwrap_epoch_key(wrapped, SEEDS, vault=VAULT, epoch=2) == KEY
    for seeds, vault, epoch in ((OTHERS, VAULT, 2), (SEEDS, b"W" * 16, 2), (SEEDS, VAULT, 1)):
        with pytest.raises(UnreadableError):
            keys.unwrap_epoch_key(wrapped, seeds, vault=vault, epoch=epoch)
    short = keys.wrap_epoch_key(b"short", keys.kem_public(SEEDS), vault=VAULT, epoch=2)
    with pytest.raises(UnreadableError):
        keys.unwrap_epoch_key(short, SEEDS, vault=VAULT, epoch=2)


def test_an_epoch_opens_the_one_before_it() -> None:
    sealed = keys.seal_previous(KEY, NEXT_KEY, vault=VAULT, epoch=2)
    assert keys.open_previous(sealed, NEXT_KEY, vault=VAULT, epoch=2) == KEY
    for held, key, epoch in ((sealed, KEY, 2), (sealed, NEXT_KEY, 3), (b"", NEXT_KEY, 2)):
        with pytest.raises(UnreadableError):
            keys.open_previous(held, key, vault=VAULT, epoch=epoch)
    short = keys.seal_previous(b"short", NEXT_KEY, vault=VAULT, epoch=2)
    with pytest.raises(UnreadableError):
        keys.open_previous(short, NEXT_KEY, vault=VAULT, epoch=2)


@given(name=st.text(min_size=1, max_size=40).filter(lambda name: not name.endswith("\0")))
def test_a_name_is_read_by_members_and_its_length_by_nobody(name: str) -> None:
    sealed = keys.seal_name(name, KEY, vault=VAULT, epoch=7, device=DEVICE)
    assert len(sealed) == 233
    assert keys.epoch_of_name(sealed) == 7
    assert keys.open_name(sealed, KEY, vault=VAULT, device=DEVICE) == name


def test_a_name_cannot_be_moved_to_another_device() -> None:
    sealed = keys.seal_name("Desk", KEY, vault=VAULT, epoch=7, device=DEVICE)
    for key, device, held in (
        (KEY, b"E" * 16, sealed),
        (NEXT_KEY, DEVICE, sealed),
        (KEY, DEVICE, b""),
        (KEY, DEVICE, b"\0\0\0\6" + sealed[4:]),
    ):
        with pytest.raises(UnreadableError):
            keys.open_name(held, key, vault=VAULT, device=device)
