import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import agreement, crypto
from shared.errors import InvalidError
from sync_service.changes.ops import Head, MalformedError
from sync_service.members import codes, entries, pairing
from sync_service.members.codes import ExpiredCodeError
from sync_service.members.pairing import (
    Challenged,
    DifferentNumberError,
    NewerPairingError,
    Offered,
    Welcome,
    WrongCodeError,
)
from sync_service.sealed import keys
from sync_service.sealed.frames import ForgedError
from tests.sync.circle import seeds_of

VAULT, SECRET, OTHER_SECRET = b"V" * 16, bytes(range(16)), bytes(range(1, 17))
TOLD = Welcome(
    vault=VAULT,
    control_seq=4,
    control_hash=b"h" * 32,
    epoch=2,
    epoch_key=b"k" * 32,
    heads=(Head(b"S" * 8, 9, b"b" * 32),),
    digest=b"d" * 32,
)
encode = msgspec.msgpack.encode


def offered(*, is_headless: bool = False, name: str = "phone", secret: bytes = SECRET) -> Offered:
    return pairing.offer(seeds_of(name), secret=secret, nonce=b"n" * 32, is_headless=is_headless)


def challenged(
    offer: bytes,
    *,
    is_headless: bool = False,
    commitment: bytes | None = None,
    name: str = "desk",
    nonce: bytes = b"N" * 32,
) -> Challenged:
    return pairing.challenge(
        seeds_of(name),
        offer,
        vault=VAULT,
        nonce=nonce,
        secret=SECRET,
        is_headless=is_headless,
        commitment=commitment,
    )


def transcript_by_hand(*messages: bytes) -> bytes:
    lengths = (len(message).to_bytes(4, "big") + message for message in messages)
    return hashlib.sha256(b"sunaiva/pairing/1" + b"".join(lengths)).digest()


def test_two_people_compare_a_number_and_the_newcomer_is_told() -> None:
    new = offered()
    old = challenged(new.message, commitment=new.commitment)
    shown = pairing.reveal(new, old.message, name="Ana's phone")
    met = pairing.meet(old, shown.message)
    assert met.number == shown.number
    assert len(met.number) == 6
    assert met.name == "Ana's phone"
    assert met.newcomer == entries.introduce(seeds_of("phone"), vault=VAULT)
    answer = pairing.welcome(met, TOLD, is_same_number=True)
    assert pairing.join(shown, answer, is_same_number=True) == TOLD


def test_a_one_time_code_takes_the_place_of_people() -> None:
    new = offered(is_headless=True)
    old = challenged(new.message, is_headless=True)
    shown = pairing.reveal(new, old.message, name="server")
    met = pairing.meet(old, shown.message)
    answer = pairing.welcome(met, TOLD, is_same_number=False)
    assert pairing.join(shown, answer, is_same_number=False) == TOLD


@pytest.mark.parametrize("side", ["member", "newcomer"])
def test_nothing_is_shared_before_both_people_said_yes(side: str) -> None:
    new = offered()
    old = challenged(new.message)
    shown = pairing.reveal(new, old.message, name="phone")
    met = pairing.meet(old, shown.message)
    if side == "member":
        with pytest.raises(DifferentNumberError):
            pairing.welcome(met, TOLD, is_same_number=False)
        return
    answer = pairing.welcome(met, TOLD, is_same_number=True)
    with pytest.raises(DifferentNumberError):
        pairing.join(shown, answer, is_same_number=False)


def between(nonce: bytes) -> tuple[str, str]:
    """A server that plays the member to the newcomer and the newcomer to the member. What both people see."""
    new = offered()
    false_new = pairing.offer(seeds_of("server"), secret=SECRET, nonce=nonce, is_headless=False)
    old = challenged(false_new.message)
    false_old = challenged(new.message, name="server", nonce=nonce)
    shown = pairing.reveal(new, false_old.message, name="phone")
    met = pairing.meet(old, pairing.reveal(false_new, old.message, name="phone").message)
    return shown.number, met.number


@given(nonce=st.binary(min_size=32, max_size=32))
def test_people_see_different_numbers_when_the_server_stands_between(nonce: bytes) -> None:
    seen_by_newcomer, seen_by_member = between(nonce)
    assert seen_by_newcomer != seen_by_member


def test_who_scanned_the_code_notices_another_device_at_once() -> None:
    with pytest.raises(ForgedError):
        challenged(offered(name="server").message, commitment=offered().commitment)


def test_a_newcomer_shows_the_keys_it_promised_or_none() -> None:
    new, other = offered(), offered(name="server")
    old = challenged(new.message)
    with pytest.raises(ForgedError, match="promised"):
        pairing.meet(old, pairing.reveal(other, old.message, name="phone").message)
    late = pairing.offer(seeds_of("phone"), secret=SECRET, nonce=b"x" * 32, is_headless=False)
    with pytest.raises(ForgedError, match="promised"):
        pairing.meet(old, pairing.reveal(late, old.message, name="phone").message)


def test_messages_of_an_earlier_pairing_are_worth_nothing() -> None:
    new = offered(is_headless=True)
    first = challenged(new.message, is_headless=True)
    old_reveal = pairing.reveal(new, first.message, name="phone").message
    second = challenged(new.message, is_headless=True, nonce=b"M" * 32)
    with pytest.raises(WrongCodeError):
        pairing.meet(second, old_reveal)
    answer = pairing.welcome(pairing.meet(first, old_reveal), TOLD, is_same_number=True)
    later = pairing.reveal(new, second.message, name="phone")
    with pytest.raises(ForgedError):
        pairing.join(later, answer, is_same_number=True)


def test_an_altered_reveal_is_noticed_without_a_code_too() -> None:
    new = offered()
    old = challenged(new.message)
    shown = pairing.reveal(new, old.message, name="phone")
    with pytest.raises(ForgedError, match="altered"):
        pairing.meet(old, shown.message[:-1] + bytes([shown.message[-1] ^ 1]))


def test_another_code_is_refused_on_both_sides() -> None:
    new = offered(is_headless=True, secret=OTHER_SECRET)
    old = challenged(new.message, is_headless=True)
    shown = pairing.reveal(new, old.message, name="phone")
    with pytest.raises(WrongCodeError):
        pairing.meet(old, shown.message)


def test_a_server_that_does_not_know_the_code_lets_nobody_into_its_own_vault() -> None:
    new = offered(is_headless=True)
    false = pairing.challenge(
        seeds_of("server"),
        new.message,
        vault=VAULT,
        nonce=b"N" * 32,
        secret=OTHER_SECRET,
        is_headless=True,
    )
    shown = pairing.reveal(new, false.message, name="phone")
    met = pairing.Met(
        seeds=seeds_of("server"),
        vault=VAULT,
        newcomer=entries.introduce(seeds_of("phone"), vault=VAULT),
        name="phone",
        transcript=shown.transcript,
        secret=OTHER_SECRET,
        is_headless=True,
        number="",
    )
    with pytest.raises(WrongCodeError):
        pairing.join(shown, pairing.welcome(met, TOLD, is_same_number=True), is_same_number=True)


def test_only_the_member_that_was_met_can_answer() -> None:
    new = offered()
    old = challenged(new.message)
    shown = pairing.reveal(new, old.message, name="phone")
    met = msgspec.structs.replace(pairing.meet(old, shown.message), seeds=seeds_of("server"))
    with pytest.raises(ForgedError):
        pairing.join(shown, pairing.welcome(met, TOLD, is_same_number=True), is_same_number=True)


def test_a_welcome_to_another_device_does_not_open() -> None:
    new = offered()
    old = challenged(new.message)
    shown = pairing.reveal(new, old.message, name="phone")
    met = pairing.meet(old, shown.message)
    other = entries.introduce(seeds_of("server"), vault=VAULT)
    answer = pairing.welcome(
        msgspec.structs.replace(met, newcomer=other), TOLD, is_same_number=True
    )
    with pytest.raises(ForgedError, match="open"):
        pairing.join(shown, answer, is_same_number=True)


def test_a_newcomer_for_another_vault_is_not_admitted_here() -> None:
    new = offered()
    old = challenged(new.message)
    elsewhere = encode(
        (
            1,
            pairing.CHALLENGE,
            b"N" * 32,
            b"W" * 16,
            keys.sign_public(seeds_of("desk")),
            keys.kem_public(seeds_of("desk")),
        )
    )
    shown = pairing.reveal(new, elsewhere, name="phone")
    with pytest.raises((ForgedError, MalformedError)):
        pairing.meet(old, shown.message)


def test_keys_that_the_newcomer_does_not_hold_are_refused() -> None:
    """Everything fits but its agreement to this vault, which whoever borrows a public key cannot give."""
    new = offered()
    old = challenged(new.message)
    honest = pairing.reveal(new, old.message, name="phone")
    _, _, said, _ = msgspec.msgpack.decode(honest.message)
    said[3] = bytes(64)
    transcript = transcript_by_hand(new.message, old.message, encode(said))
    tag = crypto.mac(crypto.derive(bytes(16), "pairing-newcomer"), transcript)
    with pytest.raises(ForgedError, match="hold"):
        pairing.meet(old, encode((1, pairing.REVEAL, said, tag)))


@pytest.mark.parametrize("is_headless", [True, False])
def test_a_one_time_code_and_a_comparison_are_not_taken_for_each_other(is_headless: bool) -> None:
    with pytest.raises(MalformedError):
        challenged(offered(is_headless=is_headless).message, is_headless=not is_headless)


@pytest.mark.parametrize(
    "changed",
    [
        {"vault": b"W" * 16},
        {"control_seq": 0},
        {"control_seq": 1 << 32},
        {"control_hash": b""},
        {"epoch": 0},
        {"epoch": 1 << 32},
        {"epoch_key": b"k" * 31},
        {"heads": (Head(b"S" * 8, 1, b"b" * 32),) * 1025},
        {"heads": (Head(b"S" * 8, 1 << 63, b"b" * 32),)},
        {"heads": (Head(b"S" * 9, 1, b"b" * 32),)},
        {"digest": b""},
    ],
    ids=str,
)
def test_a_welcome_that_cannot_be_is_refused(changed: dict[str, object]) -> None:
    new = offered()
    old = challenged(new.message)
    shown = pairing.reveal(new, old.message, name="phone")
    told = msgspec.structs.replace(TOLD, **changed)
    met = msgspec.structs.replace(pairing.meet(old, shown.message), vault=told.vault)
    with pytest.raises(MalformedError):
        pairing.join(shown, pairing.welcome(met, told, is_same_number=True), is_same_number=True)


def test_a_welcome_to_a_vault_of_a_thousand_streams_fits() -> None:
    new = offered()
    old = challenged(new.message)
    met = pairing.meet(old, pairing.reveal(new, old.message, name="phone").message)
    heads = tuple(Head(n.to_bytes(8, "big"), 2**40, b"b" * 32) for n in range(1024))
    answer = pairing.welcome(met, msgspec.structs.replace(TOLD, heads=heads), is_same_number=True)
    assert len(answer) <= pairing.MESSAGE_BYTES_MAX


NONSENSE = [
    b"",
    b"\xc1",
    encode([]),
    encode([1]),
    encode([1, 9]),
    encode([1, 0, "text"]),
    encode([0, 0, False, b"c" * 32]),
    encode([1, 0, False, b"c" * 31]),
    encode(["1", 0, False, b"c" * 32]),
    b"\x91" * 50_000,
    bytes(70_000),
]


@pytest.mark.parametrize("message", NONSENSE, ids=range(len(NONSENSE)))
def test_what_no_sunaiva_sends_is_refused_at_each_step(message: bytes) -> None:
    new = offered()
    old = challenged(new.message)
    shown = pairing.reveal(new, old.message, name="phone")
    for step in (
        lambda: challenged(message),
        lambda: pairing.reveal(new, message, name="phone"),
        lambda: pairing.meet(old, message),
        lambda: pairing.join(shown, message, is_same_number=True),
    ):
        with pytest.raises(MalformedError):
            step()


def test_a_later_version_is_named() -> None:
    with pytest.raises(NewerPairingError):
        challenged(encode([2, 0, "anything"]))


def revealed_with(place: int, value: object) -> bytes:
    new = offered()
    honest = pairing.reveal(new, challenged(new.message).message, name="phone")
    version, step, said, tag = msgspec.msgpack.decode(honest.message)
    said[place] = value
    return encode((version, step, said, tag))


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, bytes(32)), (1, b"\xff" * 1216), (2, 0), (2, -1), (2, 2**32), (5, 7)],
    ids=["weak key", "no key", "incarnation 0", "below", "above", "a number for a name"],
)
def test_a_reveal_that_cannot_be_is_refused(place: int, value: object) -> None:
    with pytest.raises(MalformedError):
        pairing.meet(challenged(offered().message), revealed_with(place, value))


@pytest.mark.parametrize("name", ["", "x" * 201], ids=["empty", "overlong"])
def test_a_newcomer_without_a_fitting_name_is_refused(name: str) -> None:
    new = offered()
    old = challenged(new.message)
    with pytest.raises(MalformedError):
        pairing.meet(old, pairing.reveal(new, old.message, name=name).message)


def test_a_name_sealed_to_somebody_else_is_refused() -> None:
    new = offered()
    old = challenged(new.message)
    honest = pairing.reveal(new, old.message, name="phone")
    _, _, said, _ = msgspec.msgpack.decode(honest.message)
    said[5] = agreement.seal_to(
        keys.kem_public(seeds_of("server")), b"phone", bound_to=b"sunaiva/newcomer/1" + VAULT
    )
    transcript = transcript_by_hand(new.message, old.message, encode(said))
    tag = crypto.mac(crypto.derive(bytes(16), "pairing-newcomer"), transcript)
    with pytest.raises(MalformedError):
        pairing.meet(old, encode((1, pairing.REVEAL, said, tag)))


@pytest.mark.parametrize(
    ("sign", "kem"),
    [(bytes(32), b"\xff" * 1216), (keys.sign_public(seeds_of("desk")), b"\xff" * 1216)],
    ids=["weak", "no key to seal to"],
)
def test_a_challenge_with_keys_nobody_has_is_refused(sign: bytes, kem: bytes) -> None:
    message = encode((1, pairing.CHALLENGE, b"N" * 32, VAULT, sign, kem))
    with pytest.raises(MalformedError):
        pairing.reveal(offered(), message, name="phone")


# --- codes ---------------------------------------------------------------------------------------------------


@given(secret=st.binary(min_size=16, max_size=16))
def test_a_code_is_read_as_people_type_it(secret: bytes) -> None:
    code = codes.code_of(secret)
    assert len(code.replace("-", "")) == codes.CODE_CHARS
    for typed in (code, f"  {code.lower()}\n", code.replace("-", " "), code.replace("O", "0")):
        assert codes.read_code(typed) == (secret, None)


def test_a_scanned_code_says_what_was_promised() -> None:
    new = offered()
    text = codes.qr_text(new.secret, new.commitment)
    assert codes.read_code(text) == (new.secret, new.commitment)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:"), "a QR's denser alphabet"


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@given(secret=st.binary(min_size=16, max_size=16), data=st.data())
def test_one_wrong_character_or_two_that_changed_places_are_told_at_once(
    secret: bytes, data: st.DataObject
) -> None:
    right = list(codes.code_of(secret).replace("-", ""))
    places = st.integers(0, codes.CODE_CHARS - 1)
    one, two = data.draw(places), data.draw(places)
    wrong = right.copy()
    if data.draw(st.booleans()):
        wrong[one] = data.draw(st.sampled_from(LETTERS))
    elif max(one, two) < codes.CODE_CHARS - 2 or abs(one - two) == 1:
        wrong[one], wrong[two] = wrong[two], wrong[one]
    if wrong == right:
        return
    with pytest.raises(InvalidError, match="mistyped"):
        codes.read_code("".join(wrong))


def test_a_code_without_its_check_is_an_earlier_programs() -> None:
    assert codes.read_code(codes.code_of(SECRET)[:-2]) == (SECRET, None)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "hello",
        codes.code_of(SECRET)[:-1],
        codes.code_of(SECRET) + "A",
        "é" * 28,
        "A" * 25 + "B",
    ],
)
def test_what_is_no_code_is_refused(typed: str) -> None:
    with pytest.raises(InvalidError):
        codes.read_code(typed)


def test_a_code_is_good_for_ten_minutes_and_three_tries() -> None:
    invitation = codes.invite(SECRET, 1_000)
    mailboxes = set()
    for _ in range(3):
        codes.demand_open(invitation, 600_999)
        mailboxes.add(codes.mailbox_of(SECRET, attempt=codes.attempt_of(invitation)))
        invitation = codes.tried(invitation)
    assert len(mailboxes) == 3
    with pytest.raises(ExpiredCodeError):
        codes.demand_open(invitation, 1_000)
    with pytest.raises(ExpiredCodeError):
        codes.demand_open(codes.invite(SECRET, 1_000), 601_000)
