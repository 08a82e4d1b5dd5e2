"""Mail addresses: which can be written to, and which are one mailbox."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_api.accounts.addresses import InvalidMailAddressError, MailAddress, parse_mail_address


@pytest.mark.parametrize(
    ("typed", "shown", "key"),
    [
        ("ada@example.org", "ada@example.org", "ada@example.org"),
        ("  Ada.L@Example.ORG ", "Ada.L@Example.ORG", "ada.l@example.org"),
        ("änne@exämple.org", "änne@exämple.org", "änne@xn--exmple-cua.org"),
        ("a+b@mail.example.org", "a+b@mail.example.org", "a+b@mail.example.org"),
        ("a@straße.de", "a@straße.de", "a@xn--strae-oqa.de"),
        ("strauß@example.org", "strauß@example.org", "strauß@example.org"),
        ("ＡＤＡ@example.org", "ADA@example.org", "ada@example.org"),
    ],
)
def test_an_address_is_kept_as_typed_and_compared_by_its_key(
    typed: str, shown: str, key: str
) -> None:
    assert parse_mail_address(typed) == MailAddress(shown, key)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@localhost",
        "ada@example..org",
        "ada@-example.org",
        "a da@example.org",
        "ada@example.org, bob@example.org",
        "ada@example.org\nBcc: bob@example.org",
        "ada\x00@example.org",
        '"ada"@example.org',
        "ada@[127.0.0.1]",
        ".ada@example.org",
        "ada.@example.org",
        "a..b@example.org",
        "a@b@example.org",
        "x" * 65 + "@example.org",
        "ada@" + "x" * 250 + ".org",
        "\ud800@example.org",
        "=?utf-8?q?a=0d=0aBcc=3avictim=40x.com=0d=0aX=3a?=@example.org",
        "=?utf-8?q?victim?=@example.org",
        "=？utf-8?q?victim?=@example.org",
        "ada\u202egro@example.org",
    ],
    ids=repr,
)
def test_what_no_mail_can_be_sent_to_is_refused(typed: str) -> None:
    with pytest.raises(InvalidMailAddressError):
        parse_mail_address(typed)


@given(st.text(max_size=80) | st.emails())
def test_an_address_read_again_is_the_same(text: str) -> None:
    try:
        address = parse_mail_address(text)
    except InvalidMailAddressError:
        return
    assert parse_mail_address(address.shown) == address
    assert parse_mail_address(address.key).key == address.key
