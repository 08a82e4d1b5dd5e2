"""Settings of the cloud, read once from the environment; nothing else of `cloud_api` reads it.

Unknown `SUNAIVA_CLOUD_*` names are refused, so that a typing mistake is never a default, and production refuses what is only
good for development. A secret must never print: each is wrapped in `Secret`.
"""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from msgspec import Struct
from platformdirs import user_data_path

from shared.errors import InvalidError

Environment = Literal["development", "production"]

KNOWN = (
    "SUNAIVA_ENV",
    "SUNAIVA_CLOUD_ADMIN_HOST",
    "SUNAIVA_CLOUD_ADMIN_PORT",
    "SUNAIVA_CLOUD_BLOBS",
    "SUNAIVA_CLOUD_HOME",
    "SUNAIVA_CLOUD_HOST",
    "SUNAIVA_CLOUD_ORIGINS",
    "SUNAIVA_CLOUD_POOL",
    "SUNAIVA_CLOUD_PORT",
    "SUNAIVA_CLOUD_PROCESSES",
    "SUNAIVA_CLOUD_PROXIES",
    "SUNAIVA_CLOUD_SECRET",
    "SUNAIVA_CLOUD_URL",
)
"""Ours alone; beside them the names that every host knows: DATABASE_URL, REDIS_URL, SMTP_URL and their relatives."""

SECRET_CHARS_MIN = 32  # 128 bits, were it written in hexadecimal

_LOOPBACK = "127.0.0.1"
_PORT_MAX = 65_535
_PROCESSES_MAX = 256  # past this somebody has mistaken processes for connections
_POOL_MAX = 500
_PROXIES_MAX = 8


class Secret(Struct, frozen=True):
    """Text that no log, error or debugger's listing may show."""

    reveal: str

    def __repr__(self) -> str:
        return "Secret(…)"


class Settings(Struct, frozen=True, kw_only=True):
    environment: Environment
    home: Path
    """Data folder: the embedded database, mail of development, the installation's secret."""
    database_url: Secret | None
    """None: the embedded PostgreSQL in `home`."""
    migration_url: Secret | None
    """For migrations, where the application's own login may not become `sunaiva_owner`."""
    replica_url: Secret | None
    redis_url: Secret | None
    secret: Secret | None
    """Keys of cursors and tokens are derived from it. None: made and kept in `home`, which production refuses."""
    public_url: str
    host: str
    port: int
    admin_host: str
    """For operators: figures, and in development the mails that are shown. Loopback unless somebody says otherwise."""
    admin_port: int
    processes: int
    """How many processes answer requests."""
    pool: int
    """Database connections of one process."""
    proxies: int
    """How many proxies of ours stand in front: so many entries at the end of X-Forwarded-For are believed."""
    origins: tuple[str, ...]
    """Web pages elsewhere that may call the API from a browser."""
    collector_url: str | None
    """Where spans go, by OTLP over gRPC. None: nowhere."""
    blobs_url: Secret | None
    """Where files lie that are too large for a row. None: in `home`."""
    smtp_url: Secret | None
    mail_from: str


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        InvalidError: an unknown name, a value that cannot be used, or a default that production may not have.
    """
    env = os.environ if environ is None else environ  # noqa: TID251 (this is the one module)
    unknown = sorted(n for n in env if n.startswith("SUNAIVA_CLOUD_") and n not in KNOWN)
    if unknown:
        raise InvalidError(
            f"Unknown setting {', '.join(unknown)}. Known settings are: {', '.join(KNOWN)}."
        )
    environment = env.get("SUNAIVA_ENV", "development")
    if environment not in get_args(Environment):
        raise InvalidError(
            f"SUNAIVA_ENV is {environment!r}; it can be {' or '.join(get_args(Environment))}."
        )
    host = _host(env, "SUNAIVA_CLOUD_HOST")
    port = _number(env, "SUNAIVA_CLOUD_PORT", 8400, least=1, most=_PORT_MAX)
    settings = Settings(
        environment=environment,  # type: ignore[arg-type] # checked against the choices just above
        home=_home(env),
        database_url=_postgresql(env, "DATABASE_URL"),
        migration_url=_postgresql(env, "DATABASE_MIGRATION_URL"),
        replica_url=_postgresql(env, "DATABASE_REPLICA_URL"),
        redis_url=_url(env, "REDIS_URL", ("redis", "rediss", "valkey", "valkeys", "unix")),
        secret=_secret(env),
        public_url=_origin(env.get("SUNAIVA_CLOUD_URL") or _own_url(env, host, port)),
        host=host,
        port=port,
        admin_host=_host(env, "SUNAIVA_CLOUD_ADMIN_HOST"),
        admin_port=_number(env, "SUNAIVA_CLOUD_ADMIN_PORT", 8401, least=1, most=_PORT_MAX),
        processes=_number(env, "SUNAIVA_CLOUD_PROCESSES", 1, least=1, most=_PROCESSES_MAX),
        pool=_number(env, "SUNAIVA_CLOUD_POOL", 10, least=2, most=_POOL_MAX),
        proxies=_number(env, "SUNAIVA_CLOUD_PROXIES", 0, least=0, most=_PROXIES_MAX),
        origins=tuple(
            _origin(each.strip())
            for each in env.get("SUNAIVA_CLOUD_ORIGINS", "").split(",")
            if each.strip()
        ),
        collector_url=_collector(env),
        blobs_url=_url(
            env, "SUNAIVA_CLOUD_BLOBS", ("s3", "s3a", "gs", "az", "abfs", "https", "file")
        ),
        smtp_url=_url(env, "SMTP_URL", ("smtp", "smtps")),
        mail_from=env.get("MAIL_FROM", "Sunaiva <sunaiva@localhost>"),
    )
    if settings.environment == "production":
        _refuse_development(settings, env)
    return settings


def _refuse_development(settings: Settings, env: Mapping[str, str]) -> None:
    missing = [
        name
        for name in (
            "DATABASE_URL",
            "SUNAIVA_CLOUD_SECRET",
            "SUNAIVA_CLOUD_URL",
            "SMTP_URL",
            "MAIL_FROM",
        )
        if not env.get(name)
    ]
    if missing:
        raise InvalidError(
            f"SUNAIVA_ENV=production needs {', '.join(missing)}: what stands in for them is good for development only."
        )
    if not settings.public_url.startswith("https://"):
        raise InvalidError(
            f"SUNAIVA_CLOUD_URL is {settings.public_url}; in production it has to start with https://."
        )


def _home(env: Mapping[str, str]) -> Path:
    if given := env.get("SUNAIVA_CLOUD_HOME"):
        return Path(given).expanduser().absolute()
    # PostgreSQL never runs as root, and whoever it runs as then cannot enter root's own folder.
    if os.geteuid() == 0:
        return Path("/var/lib/sunaiva-cloud")
    return user_data_path("sunaiva-cloud").absolute()


def is_for_this_machine(host: str) -> bool:
    return ip_address(host).is_loopback


def _host(env: Mapping[str, str], name: str) -> str:
    """An address: what listens looks no name up."""
    given = env.get(name) or _LOOPBACK
    if given == "localhost":
        return _LOOPBACK
    try:
        return str(ip_address(given))
    except ValueError:
        raise InvalidError(
            f"{name} is {given!r}; give an address of this machine, such as 127.0.0.1 or ::1, or 0.0.0.0 for all of them."
        ) from None


def _own_url(env: Mapping[str, str], host: str, port: int) -> str:
    if env.get("SUNAIVA_CLOUD_HOST") == "localhost":
        return f"http://localhost:{port}"
    address = ip_address(host)
    # Every address of the machine is none that a link can lead to.
    shown = _LOOPBACK if address.is_unspecified else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _number(env: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    given = env.get(name) or str(default)
    if not (given.isascii() and given.isdigit() and least <= int(given) <= most):
        raise InvalidError(f"{name} is {given!r}; it can be a number from {least} to {most}.")
    return int(given)


def _secret(env: Mapping[str, str]) -> Secret | None:
    given = env.get("SUNAIVA_CLOUD_SECRET")
    if given and len(given) < SECRET_CHARS_MIN:
        raise InvalidError(
            f"SUNAIVA_CLOUD_SECRET has {len(given)} characters; give it {SECRET_CHARS_MIN} random ones or more."
        )
    return Secret(given) if given else None


def _postgresql(env: Mapping[str, str], name: str) -> Secret | None:
    return _url(env, name, ("postgresql", "postgres"))


def _url(env: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> Secret | None:
    given = env.get(name)
    if given and urlsplit(given).scheme not in schemes:
        # The address itself is not shown: it may hold a password.
        raise InvalidError(f"{name} has to start with {schemes[0]}://.")
    return Secret(given) if given else None


def _collector(env: Mapping[str, str]) -> str | None:
    given = env.get("OTEL_EXPORTER_OTLP_ENDPOINT")  # the name that every collector's manual uses
    return _origin(given) if given else None


def _origin(given: str) -> str:
    parts = urlsplit(given)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or parts.path.strip("/")
        or parts.query
    ):
        raise InvalidError(
            f"{given!r} is no origin: give scheme, host and port only, such as https://cloud.example.com."
        )
    return f"{parts.scheme}://{parts.netloc}"
