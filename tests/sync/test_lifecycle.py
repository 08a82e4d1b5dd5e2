"""Devices come, go, rotate and recover in any order: who is out reads nothing new, who is in reads everything."""

import secrets

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sync_service.members import amend, control, entries
from sync_service.members.control import RevokedDeviceError
from sync_service.members.entries import Signer
from sync_service.sealed import frames, keys
from sync_service.sealed.frames import Frame, UnreadableError
from tests.sync.circle import by, by_words, device_of, founded, revoking, seeds_of

NAMES = [f"device {n}" for n in range(5)]


class Lifecycle(RuleBasedStateMachine):
    """Keys are only ever taken from the device list, as a device would that missed any number of entries."""

    @initialize(name=st.sampled_from(NAMES))
    def begin(self, name: str) -> None:
        self.circle = founded("words 0")
        self.words = 0
        self.frames: list[Frame] = []
        self.kept: dict[str, dict[int, bytes]] = {}
        """What everybody who is out could have kept."""
        self.admit(name, by_words("words 0"))
        self.rotate(by(name))

    @property
    def inside(self) -> list[str]:
        devices = {member.device for member in control.live(self.circle.members)}
        return [name for name in self.everybody() if device_of(name) in devices]

    def everybody(self) -> list[str]:
        return [f"{name}, {turn}" for name in NAMES for turn in range(9)] + NAMES

    def signers(self) -> list[Signer]:
        return [by_words(self.current_words()), *map(by, self.inside)]

    def current_words(self) -> str:
        return f"words {self.words}"

    def keys(self) -> dict[int, bytes]:
        return control.epoch_keys(self.circle.members, seeds_of(self.current_words()))

    def admit(self, name: str, signer: Signer) -> None:
        members = self.circle.members
        epoch_key = self.keys()[members.epoch] if members.epoch else None
        newcomer = entries.introduce(seeds_of(name), vault=members.vault)
        self.circle.append(
            amend.add(members, signer, newcomer, sealed_name=b"", epoch_key=epoch_key)
        )

    def rotate(self, signer: Signer) -> None:
        members = self.circle.members
        entry = amend.rotate(
            members,
            signer,
            epoch_key=keys.new_epoch_key(secrets.token_bytes),
            previous_key=self.keys()[members.epoch] if members.epoch else None,
        )
        self.circle.append(entry)

    @rule(choice=st.data(), name=st.sampled_from(NAMES))
    def add(self, choice: st.DataObject, name: str) -> None:
        turn = next(
            n for n in range(9) if device_of(f"{name}, {n}") not in self.circle.members.members
        )
        self.admit(f"{name}, {turn}", choice.draw(st.sampled_from(self.signers())))

    @precondition(lambda self: self.inside)
    @rule(choice=st.data())
    def revoke_and_rotate(self, choice: st.DataObject) -> None:
        name = choice.draw(st.sampled_from(self.inside))
        self.kept[name] = control.epoch_keys(self.circle.members, seeds_of(name))
        signer = choice.draw(st.sampled_from(self.signers()))
        self.circle.append(revoking(self.circle.members, name, signer))
        self.rotate(choice.draw(st.sampled_from(self.signers())))

    @rule(choice=st.data())
    def rotate_alone(self, choice: st.DataObject) -> None:
        self.rotate(choice.draw(st.sampled_from(self.signers())))

    @precondition(lambda self: self.words < 6)
    @rule(choice=st.data())
    def other_words(self, choice: st.DataObject) -> None:
        members, old = self.circle.members, self.current_words()
        self.kept[old] = self.keys()
        signer = choice.draw(st.sampled_from(self.signers()))
        entry = amend.recovery(
            members,
            signer,
            seeds_of(f"words {self.words + 1}"),
            epoch_key=self.kept[old][members.epoch],
        )
        self.words += 1
        self.circle.append(entry)
        self.rotate(choice.draw(st.sampled_from(self.signers())))

    @precondition(lambda self: self.inside)
    @rule(choice=st.data(), incarnation=st.integers(2, 50))
    def go_on_under_another_stream(self, choice: st.DataObject, incarnation: int) -> None:
        name = choice.draw(st.sampled_from(self.inside))
        member = self.circle.members.members[device_of(name)]
        entry = amend.new_stream(
            self.circle.members, seeds_of(name), incarnation=member.incarnation + incarnation
        )
        self.circle.append(entry)

    @precondition(lambda self: self.inside)
    @rule(choice=st.data())
    def write(self, choice: st.DataObject) -> None:
        name = choice.draw(st.sampled_from(self.inside))
        members = self.circle.members
        self.frames.append(
            frames.seal(
                b"a memory",
                vault=members.vault,
                stream=members.members[device_of(name)].streams[-1],
                seq=1,
                epoch=members.epoch,
                control_seq=members.seq,
                prev_hash=frames.NO_HASH,
                epoch_key=control.epoch_keys(members, seeds_of(name))[members.epoch],
                sign_seed=seeds_of(name).sign,
                salt=secrets.token_bytes(24),
            )
        )

    @invariant()
    def whoever_is_inside_reads_everything(self) -> None:
        members = self.circle.members
        expected = self.keys()
        assert set(expected) == set(range(1, members.epoch + 1))
        for name in self.inside:
            assert control.epoch_keys(members, seeds_of(name)) == expected
        for frame in self.frames:
            assert frames.open_frame(frame, expected[frame.header.epoch]) == b"a memory"

    @invariant()
    def whoever_is_out_reads_nothing_later(self) -> None:
        for name, kept in self.kept.items():
            with pytest.raises(RevokedDeviceError):
                control.epoch_keys(self.circle.members, seeds_of(name))
            for frame in self.frames:
                if frame.header.epoch in kept:
                    continue
                for key in kept.values():
                    with pytest.raises(UnreadableError):
                        frames.open_frame(frame, key)
            self.opens_no_later_wrap(name, kept)

    def opens_no_later_wrap(self, name: str, kept: dict[int, bytes]) -> None:
        members = self.circle.members
        wraps = [member.wrap for member in members.members.values()] + [members.recovery_wrap]
        for wrap in wraps:
            if wrap is not None and wrap.epoch not in kept:
                with pytest.raises(UnreadableError):
                    keys.unwrap_epoch_key(
                        wrap.sealed, seeds_of(name), vault=members.vault, epoch=wrap.epoch
                    )

    def teardown(self) -> None:
        if hasattr(self, "circle"):
            assert control.replay(self.circle.chain) == self.circle.members


# Keys for post-quantum times take a while; the nightly profile goes further.
Lifecycle.TestCase.settings = settings(
    max_examples=settings().max_examples // 6, stateful_step_count=12
)
TestLifecycle = Lifecycle.TestCase
