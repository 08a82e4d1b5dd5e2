"""What a mail looks like to the program that reads it, in every language."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_api.http.languages import LANGUAGES
from cloud_api.notifications.letters import (
    LETTERS,
    AddressChanging,
    AddressInUse,
    ConfirmNewAddress,
    DeletionCancelled,
    DeletionDone,
    DeletionRequested,
    DeviceApproved,
    ExportReady,
    FactorAdded,
    FactorRemoved,
    FactorsLost,
    Letter,
    MailId,
    NewSignIn,
    PasswordChanged,
    ResetPassword,
    SealedPart,
    VerifyAddress,
    decode,
    encode,
    is_optional,
    kind_named_by,
    kind_of,
)
from cloud_api.notifications.rules import (
    AddressUnusableError,
    Envelope,
    Section,
    compose,
    is_stale,
    octets,
    parse_address,
    parse_sender,
    placeholders,
)
from cloud_api.notifications.wording import read_wording

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LINK = "https://cloud.example.org/verify#token=abc&next=%2F"
WORDING = read_wording()
EXAMPLES: dict[str, Letter] = {
    kind_of(letter): letter
    for letter in (
        VerifyAddress(LINK, 24),
        AddressInUse(LINK),
        ResetPassword(LINK, 30),
        PasswordChanged(NOON, LINK),
        ConfirmNewAddress(LINK, 24),
        AddressChanging(NOON, LINK),
        FactorAdded(NOON, LINK),
        FactorRemoved(NOON, LINK),
        FactorsLost(NOON, LINK),
        NewSignIn(NOON, "Firefox on Linux", "192.0.2.0/24", LINK),
        DeviceApproved(NOON, "sunaiva on a server", "192.0.2.0/24", LINK),
        DeletionRequested(NOON, LINK),
        DeletionCancelled(NOON),
        DeletionDone(NOON, ("audit", "receipt"), LINK),
        ExportReady(LINK, NOON),
    )
}


def envelope(**changes: object) -> Envelope:
    given: dict[str, object] = {
        "id": MailId(UUID(int=7)),
        "sender": "Sunaiva <hello@example.org>",
        "to": "ann@example.org",
        "written_at": NOON,
        "unsubscribe_link": None,
    }
    return Envelope(**(given | changes))  # type: ignore[arg-type] # fields by name


def composed(letter: Letter, language: str = "en", **changes: object) -> EmailMessage:
    message = compose(letter, WORDING.in_language(language), WORDING.layout, envelope(**changes))
    received = message_from_bytes(octets(message), policy=default)
    assert isinstance(received, EmailMessage)
    return received


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    text = body.get_content()
    assert isinstance(text, str)
    return text


def test_there_is_an_example_of_every_kind_of_mail() -> None:
    assert set(EXAMPLES) == {kind_named_by(letter) for letter in LETTERS}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_mail_says_the_same_in_text_and_in_html(kind: str, language: str) -> None:
    message = composed(EXAMPLES[kind], language)
    section = WORDING.languages[language].sections[kind]
    text, html = part(message, "plain"), _Visible.of(part(message, "html"))
    for sentence in (*section.paragraphs, *section.facts, *section.notes):
        beginning = sentence.split("{")[0]
        assert beginning in text
        assert beginning in html
    assert message["Subject"] == section.subject
    assert "{" not in text + html, "a placeholder was left"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_language_puts_the_same_values_into_a_mail(kind: str, language: str) -> None:
    def values(section: Section) -> set[str]:
        return placeholders(" ".join((*section.paragraphs, *section.facts, *section.notes)))

    english = WORDING.languages["en"].sections[kind]
    section = WORDING.languages[language].sections[kind]
    assert values(section) == values(english)
    assert (section.button is None) == (english.button is None)
    assert not placeholders(section.subject), "a header is made of our words alone"
    assert WORDING.languages[language].kept.keys() == WORDING.languages["en"].kept.keys()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_button_leads_to_the_letter_s_link_and_has_no_button_without_one(kind: str) -> None:
    letter = EXAMPLES[kind]
    html = part(composed(letter), "html")
    assert _Links.of(html) == ([LINK, LINK] if hasattr(letter, "link") else [])


@pytest.mark.parametrize("language", LANGUAGES)
def test_html_names_its_language_and_needs_nothing_from_elsewhere(language: str) -> None:
    html = part(composed(EXAMPLES["verify_address"], language), "html")
    assert f'<html lang="{language}"' in html
    assert "<h1" in html
    assert html.count("<table") == html.count('<table role="presentation"')
    for loaded in ("<img", "<script", "<link", "url(", "@import"):
        assert loaded not in html


def test_a_device_that_calls_itself_html_stays_text() -> None:
    letter = NewSignIn(NOON, '<img src=x onerror="alert(1)">', "192.0.2.0/24", LINK)
    html = part(composed(letter), "html")
    assert "<img" not in html
    assert "&lt;img" in html


def test_a_value_that_looks_like_a_placeholder_is_not_filled_in() -> None:
    assert "{link}" in part(composed(NewSignIn(NOON, "{link}", "{at}", LINK)), "plain")


def test_a_mail_one_may_do_without_can_be_unsubscribed_with_one_click() -> None:
    link = "https://cloud.example.org/api/v1/mail/unsubscribe/" + "a" * 120
    raw = octets(
        compose(
            EXAMPLES["new_sign_in"],
            WORDING.in_language("en"),
            WORDING.layout,
            envelope(unsubscribe_link=link),
        )
    )
    # One line, not encoded: mail programs look for the address with its angle brackets.
    assert f"List-Unsubscribe: <{link}>\r\n".encode() in raw
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in raw
    assert link in part(composed(EXAMPLES["new_sign_in"], unsubscribe_link=link), "html")


def test_a_mail_about_safety_offers_no_way_to_silence_it() -> None:
    message = composed(EXAMPLES["password_changed"])
    assert message["List-Unsubscribe"] is None
    assert not is_optional("password_changed")


def test_the_same_mail_has_the_same_message_id_whenever_it_is_sent() -> None:
    message = composed(EXAMPLES["verify_address"])
    assert message["Message-ID"] == "<00000000-0000-0000-0000-000000000007@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "@example.org",
        "ann@",
        "ann@example.org\r\nBcc: eve@example.org",
        "ann@example.org\nBcc: eve@example.org",
        "ann@example.org, eve@example.org",
        "ann@example.org;eve@example.org",
        "Ann <ann@example.org>",
        "ann @example.org",
        "ann\x00@example.org",
        "ann\u2028@example.org",
        '"a\\"b"@example.org',
        "ann@exa..mple.org",
        "a" * 250 + "@example.org",
        "=?utf-8?q?a=0d=0aBcc=3avictim=40x.com=0d=0aX=3a?=@example.org",
        "=?utf-8?q?victim?=@example.org",
    ],
)
def test_what_is_not_one_address_is_refused(address: str) -> None:
    with pytest.raises(AddressUnusableError) as refused:
        parse_address(address)
    assert not address or address not in str(refused.value)


_ENCODED_WORDS = st.text("=?_utf-8qbQB0ad3A:", max_size=30).map("=?utf-8?q?{}?=@example.org".format)


@given(
    st.text(max_size=40).map(lambda typed: f"ann{typed}@example.org")
    | st.text(max_size=60)
    | _ENCODED_WORDS
)
def test_nothing_typed_as_an_address_becomes_a_second_header(typed: str) -> None:
    try:
        message = compose(
            EXAMPLES["verify_address"],
            WORDING.in_language("en"),
            WORDING.layout,
            envelope(to=typed),
        )
    except AddressUnusableError:
        return
    head = octets(message).partition(b"\r\n\r\n")[0]
    names = [line.split(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    assert sorted(names) == sorted(
        b"From To Subject Date Message-ID Content-Language Auto-Submitted MIME-Version Content-Type".split()
    )


def test_a_domain_in_another_script_is_written_in_ascii() -> None:
    assert parse_address("ann@bücher.example").addr_spec == "ann@xn--bcher-kva.example"
    assert parse_address("ann@straße.de").addr_spec == "ann@xn--strae-oqa.de"


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        ("Sunaiva <hello@example.org>", "Sunaiva <hello@example.org>"),
        ("hello@example.org", "hello@example.org"),
        ('"Sunaiva, Inc." <hello@example.org>', '"Sunaiva, Inc." <hello@example.org>'),
    ],
)
def test_a_sender_may_have_a_name(sender: str, shown: str) -> None:
    assert str(parse_sender(sender)) == shown


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_letter_comes_out_of_its_seal_as_it_went_in(kind: str) -> None:
    sealed = SealedPart("ann@example.org", EXAMPLES[kind])
    assert decode(encode(sealed)) == sealed


@pytest.mark.parametrize(
    ("kind", "age", "stale"),
    [
        ("reset_password", timedelta(minutes=29), False),
        ("reset_password", timedelta(minutes=30), True),
        ("verify_address", timedelta(hours=24), True),
        ("confirm_new_address", timedelta(hours=23), False),
        ("password_changed", timedelta(days=5), False),
        ("export_ready", timedelta(0), True),
    ],
)
def test_a_link_that_ran_out_makes_a_mail_stale(kind: str, age: timedelta, stale: bool) -> None:
    assert is_stale(EXAMPLES[kind], written_at=NOON, now=NOON + age) is stale


class _Visible(HTMLParser):
    """What somebody sees of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.hidden = False

    @classmethod
    def of(cls, html: str) -> str:
        parser = cls()
        parser.feed(html)
        return " ".join(parser.seen)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.seen.append(data)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @classmethod
    def of(cls, html: str) -> list[str]:
        parser = cls()
        parser.feed(html)
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]
