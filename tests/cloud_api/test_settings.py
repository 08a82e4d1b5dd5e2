"""Settings: no typing mistake is a default, no secret is shown, no development default reaches production."""

import pytest

from cloud_api.settings import KNOWN, load
from shared.errors import InvalidError

PRODUCTION = {
    "SUNAIVA_ENV": "production",
    "DATABASE_URL": "postgresql://app:hunter2@db.internal/sunaiva",
    "SUNAIVA_CLOUD_SECRET": "s" * 40,
    "SUNAIVA_CLOUD_URL": "https://cloud.example.com",
    "SMTP_URL": "smtps://mail.example.com",
    "MAIL_FROM": "Sunaiva <hello@example.com>",
}


def test_nothing_has_to_be_set_for_development() -> None:
    settings = load({})
    assert (settings.environment, settings.public_url) == ("development", "http://127.0.0.1:8400")
    assert settings.database_url is None


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SUNAIVA_CLOUD_PROT", "1", "Unknown setting SUNAIVA_CLOUD_PROT. Known settings are: "),
        ("SUNAIVA_ENV", "prod", "it can be development or production"),
        ("SUNAIVA_CLOUD_HOST", "cloud.example", "give an address of this machine"),
        ("SUNAIVA_CLOUD_ADMIN_HOST", "::x", "give an address of this machine"),
        ("SUNAIVA_CLOUD_PORT", "0", "it can be a number from 1 to 65535"),
        ("SUNAIVA_CLOUD_PORT", "eighty", "it can be a number from 1 to 65535"),
        ("SUNAIVA_CLOUD_SECRET", "short", "give it 32 random ones or more"),
        ("SUNAIVA_CLOUD_URL", "https://example.com/app", "is no origin"),
        ("SUNAIVA_CLOUD_ORIGINS", "https://a.example, b.example", "'b.example' is no origin"),
        (
            "DATABASE_URL",
            "mysql://root:hunter2@db",
            "DATABASE_URL has to start with postgresql://.",
        ),
        ("REDIS_URL", "http://cache", "REDIS_URL has to start with redis://."),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(InvalidError) as refused:
        load({name: value})
    assert sentence in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "listens", "url"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:8400"),
        ("localhost", "127.0.0.1", "http://localhost:8400"),
        ("::1", "::1", "http://[::1]:8400"),
        ("0.0.0.0", "0.0.0.0", "http://127.0.0.1:8400"),
        ("::", "::", "http://127.0.0.1:8400"),
        ("192.0.2.7", "192.0.2.7", "http://192.0.2.7:8400"),
    ],
)
def test_links_lead_to_an_address_that_can_be_opened(host: str, listens: str, url: str) -> None:
    settings = load({"SUNAIVA_CLOUD_HOST": host})
    assert (settings.host, settings.public_url) == (listens, url)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7"])
def test_what_is_for_operators_stays_on_this_machine_wherever_the_api_listens(host: str) -> None:
    assert load({"SUNAIVA_CLOUD_HOST": host}).admin_host == "127.0.0.1"
    asked = {"SUNAIVA_CLOUD_HOST": host, "SUNAIVA_CLOUD_ADMIN_HOST": "10.0.0.1"}
    assert load(asked).admin_host == "10.0.0.1"


def test_settings_of_the_device_are_none_of_ours() -> None:
    assert load({"SUNAIVA_HOME": "/somewhere"}) == load({})


@pytest.mark.parametrize("name", [name for name in PRODUCTION if name != "SUNAIVA_ENV"])
def test_production_refuses_what_is_good_for_development_only(name: str) -> None:
    with pytest.raises(InvalidError, match=f"production needs {name}"):
        load({key: value for key, value in PRODUCTION.items() if key != name})


def test_production_speaks_https() -> None:
    with pytest.raises(InvalidError, match="has to start with https"):
        load(PRODUCTION | {"SUNAIVA_CLOUD_URL": "http://cloud.example.com"})


def test_no_secret_prints() -> None:
    settings = load(PRODUCTION)
    assert "hunter2" not in repr(settings)
    assert "s" * 32 not in repr(settings)
    assert settings.database_url is not None
    assert settings.database_url.reveal == PRODUCTION["DATABASE_URL"]


def test_every_name_is_one_of_ours() -> None:
    assert all(name.startswith("SUNAIVA_CLOUD_") or name == "SUNAIVA_ENV" for name in KNOWN)
