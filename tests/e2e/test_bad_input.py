"""What comes in broken, through the processes that people and assistants really use: a sentence comes out, and nothing is lost."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_server.vault.db import DATABASE_NAME
from tests.agent.conftest import Assistant
from tests.computer import Device, computer
from tests.people import SUNAIVA, Person, Ran


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    with computer(tmp_path_factory.mktemp("person")) as device:
        someone = Person(device)
        someone.gets("init")
        yield someone


@pytest.fixture
def assistant(person: Person) -> Iterator[Assistant]:
    found = _assistant(person)
    found.introduce()
    yield found
    found.process.kill()
    found.process.communicate()


@pytest.fixture
def owner(device: Device) -> Person:
    """Somebody with one memory and no agent running."""
    someone = Person(device)
    someone.gets("init")
    someone.stores("The one memory that matters")
    someone.leave()
    return someone


def _assistant(person: Person) -> Assistant:
    return Assistant(
        subprocess.Popen(
            [SUNAIVA, "mcp"],
            env=person.device.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    )


def _answer(assistant: Assistant) -> tuple[bool, str]:
    result = assistant.read()["result"]
    return result["isError"], result["content"][0]["text"]


def _number(person: Person) -> int:
    found: int = person.asks("health")["memories"]
    return found


# --- an assistant --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memories", "sentence"),
    [
        (["x" * 10_000_000], "10,000,000 bytes; one memory holds at most 1,000,000"),
        ([f"note {number}" for number in range(10_000)], "at most 1,000 are taken"),
        ([""], "Memory 1 is empty"),
        ([None], "memories"),
        ("one", "memories"),
    ],
    ids=["10 MB", "10,000 items", "empty", "null", "no list"],
)
def test_what_may_not_be_stored_is_a_tool_error(
    person: Person, assistant: Assistant, memories: Any, sentence: str
) -> None:
    before = _number(person)
    assistant.call("remember", memories=memories)
    failed, text = _answer(assistant)
    assert failed
    assert sentence in text
    assert _number(person) == before


def test_every_script_and_every_control_character_is_kept(
    person: Person, assistant: Assistant
) -> None:
    texts = [
        "שלום \u202e עולם",
        "👩‍👩‍👧‍👦 🇵🇹",
        "nul\0byte",
        "\x1b[31mred\x07",
        "日本語 ñ ﷽",
        "e\u0301\u200b",
    ]
    assistant.call("remember", memories=texts)
    ids = [one["id"] for one in assistant.read()["result"]["structuredContent"]["stored"]]
    assert [person.has(memory_id)["text"] for memory_id in ids] == texts


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{not json\n", -32700),
        (b"\x00\xff\xfe\n", -32700),
        (b"[]\n", -32600),
        (b'"hello"\n', -32600),
        (b'{"jsonrpc":"1.0","id":7,"method":"ping"}\n', -32600),
        (b'{"id":7}\n', -32600),
        (b"[" * 100_000 + b"\n", -32700),
    ],
    ids=[
        "half an object",
        "bytes",
        "a list",
        "a string",
        "version 1",
        "no method",
        "deep",
    ],
)
def test_a_malformed_line_is_answered_and_the_next_one_works(
    assistant: Assistant, line: bytes, code: int
) -> None:
    assistant.write(line)
    assert assistant.read()["error"]["code"] == code
    assistant.call("browse", limit=1)
    assert not _answer(assistant)[0]


@pytest.mark.parametrize(
    "text",
    [rb"cut \ud83d here", b"not \xff utf-8"],
    ids=["a lone surrogate", "invalid UTF-8"],
)
def test_text_that_is_none_is_answered_and_never_stored(
    person: Person, assistant: Assistant, text: bytes
) -> None:
    before = _number(person)
    assistant.write(
        b'{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"remember","arguments":'
        b'{"memories":["' + text + b'"]}}}\n'
    )
    answer = assistant.read()
    assert (answer["id"], answer["error"]["code"]) == (77, -32700)
    assert "UTF-8" in answer["error"]["message"]
    assert _number(person) == before


def test_unknown_tools_methods_and_ids_are_errors(assistant: Assistant) -> None:
    assistant.call("recollect", query="x")
    assert "recollect" in json.dumps(assistant.read())
    assistant.send("memories/list")
    assert assistant.read()["error"]["code"] == -32601
    assistant.call("revise", id="0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20", version=1, text="x")
    failed, text = _answer(assistant)
    assert failed
    assert "There is no memory 0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20" in text


def test_a_client_that_closes_in_the_middle_of_a_write_stores_all_or_nothing(
    person: Person,
) -> None:
    texts = [f"Closing note {number}" for number in range(300)]
    assistant = _assistant(person)
    assistant.introduce()
    assistant.call("remember", memories=texts, space="closing")
    assistant.process.kill()
    assistant.process.communicate()
    half = _assistant(person)
    half.introduce()
    half.write(b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"remember","argum')
    half.process.kill()
    half.process.communicate()
    again = _assistant(person)
    again.introduce()
    again.call("remember", memories=texts, space="closing")
    stored = again.read()["result"]["structuredContent"]["stored"]
    assert len({one["id"] for one in stored}) == 300
    assert len({one["status"] for one in stored}) == 1
    assert again.close() == []
    assert len(person.asks("list", space="closing", limit=200)["memories"]) == 200
    assert person.asks("audit", verify=True)["broken_at"] is None


# --- a vault that is not as it should be ----------------------------------------------------------------------


def _refused(ran: Ran, code: str, sentence: str) -> None:
    assert ran.code == 1
    assert ran.json["error"]["code"] == code
    assert sentence in ran.json["error"]["message"]
    assert "Traceback" not in ran.err


def _assistant_is_told(person: Person, sentence: str) -> None:
    """The assistant hears the same, rather than a server that never answers."""
    assistant = _assistant(person)
    assistant.send(
        "initialize",
        {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    )
    answer = assistant.read()
    assert sentence in json.dumps(answer)
    assistant.process.kill()
    assistant.process.communicate()


def test_a_missing_key_is_said_and_the_vault_is_untouched(owner: Person) -> None:
    (key,) = owner.device.config.rglob("*.key")
    aside = key.rename(key.with_suffix(".aside"))
    before = (owner.device.home / DATABASE_NAME).read_bytes()
    _refused(owner.runs("list", "--json"), "not_found", "sunaiva rekey --recovery-words")
    _assistant_is_told(owner, "recovery")
    owner.leave()
    assert (owner.device.home / DATABASE_NAME).read_bytes() == before
    aside.rename(key)
    assert owner.gets("list")["memories"][0]["text"] == "The one memory that matters"


def test_a_wrong_key_opens_nothing(owner: Person, tmp_path: Path) -> None:
    (key,) = owner.device.config.rglob("*.key")
    good = key.read_bytes()
    last = good.strip()[-1:]
    key.write_bytes(good.strip()[:-1] + (b"1" if last == b"0" else b"0") + b"\n")
    ran = owner.runs("list", "--json")
    assert ran.code == 1
    assert ran.json["error"]["code"] == "forbidden"
    assert "sunaiva rekey --recovery-words" in ran.err
    owner.leave()  # who cannot open the vault stays a moment to say so
    key.write_bytes(good)
    assert owner.runs("list").code == 0


def test_a_vault_swapped_for_another_is_not_opened(owner: Person, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with computer(tmp_path / "other") as device:
        other = Person(device)
        other.gets("init")
        theirs = (device.home / DATABASE_NAME).read_bytes()
    mine = owner.device.home / DATABASE_NAME
    good = mine.read_bytes()
    mine.write_bytes(theirs)
    _refused(owner.runs("list", "--json"), "forbidden", "does not open")
    owner.leave()
    mine.write_bytes(good)
    assert owner.gets("list")["memories"]


@pytest.mark.parametrize("left_bytes", [0, 100, 5_000, 4_096, 12_288], ids=str)
def test_a_vault_cut_short_is_said_and_kept(owner: Person, left_bytes: int) -> None:
    mine = owner.device.home / DATABASE_NAME
    good = mine.read_bytes()
    mine.write_bytes(good[:left_bytes])
    ran = owner.runs("list", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (1, "corrupt")
    assert "restore" in ran.err
    assert len(mine.read_bytes()) == left_bytes
    owner.leave()
    mine.write_bytes(good)
    assert owner.gets("list")["memories"]


def test_a_plain_database_in_the_vault_s_place_is_refused(owner: Person) -> None:
    mine = owner.device.home / DATABASE_NAME
    mine.write_bytes(b"SQLite format 3\0" + bytes(8_176))
    _refused(owner.runs("list", "--json"), "corrupt", "not an encrypted vault")


def test_a_damaged_vault_json_is_refused(owner: Person) -> None:
    (owner.device.home / "vault.json").write_text('{"format": 1, "vault_id": ')
    ran = owner.runs("list", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (1, "corrupt")


def test_a_folder_that_may_only_be_read_is_said(owner: Person) -> None:
    home = owner.device.home
    for path in (home, home / DATABASE_NAME):
        path.chmod(path.stat().st_mode & ~0o222)
    # Even for the superuser, whom permissions would not stop.
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*drop, SUNAIVA, "remember", "one more", "--json"],
        env=owner.device.environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    for path in (home, home / DATABASE_NAME):
        path.chmod(path.stat().st_mode | 0o200)
    ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert ran.code == 1
    assert "permission" in ran.json["error"]["message"].lower()
    assert str(home) in ran.json["error"]["message"]
    assert len(owner.gets("list")["memories"]) == 1


def test_an_assistant_without_a_vault_hears_how_to_make_one(device: Device) -> None:
    _assistant_is_told(Person(device), "sunaiva init")


def test_an_unknown_setting_reaches_the_assistant_as_a_sentence(owner: Person) -> None:
    owner.device.environ["SUNAIVA_HOEM"] = "x"
    try:
        _assistant_is_told(owner, "SUNAIVA_HOEM")
    finally:
        del owner.device.environ["SUNAIVA_HOEM"]


def test_a_copy_of_the_folder_alone_opens_nothing(owner: Person, tmp_path: Path) -> None:
    (tmp_path / "thief").mkdir()
    with computer(tmp_path / "thief") as device:
        shutil.copytree(owner.device.home, device.home)
        _refused(Person(device).runs("list", "--json"), "not_found", "recovery words")
