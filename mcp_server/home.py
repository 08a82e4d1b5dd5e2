"""Where the vault is, and which settings there are. Apart from the other settings because the relay, which must stay small,
needs nothing else.
"""

from collections.abc import Mapping
from pathlib import Path

from shared.errors import InvalidError

KNOWN = (
    "SUNAIVA_HOME",
    "SUNAIVA_PASSPHRASE",
    "SUNAIVA_MODEL",
    "SUNAIVA_MODEL_CACHE",
    "SUNAIVA_VECTORS",
    "SUNAIVA_SECRETS",
    "SUNAIVA_PII",
    "SUNAIVA_RECALL",
    "SUNAIVA_CROSS_ENCODER",
    "SUNAIVA_CLOUD",
    "SUNAIVA_SPARING",
    "SUNAIVA_SYNC_VECTORS",
)

_CLOUD = (
    "SUNAIVA_CLOUD_",
    "SUNAIVA_ENV",
)  # `sunaiva-cloud` reads and checks these, from the same environment


def refuse_unknown(environ: Mapping[str, str]) -> None:
    """Raises:
    InvalidError: an unknown `SUNAIVA_*` variable: a typing mistake is never a default.
    """
    unknown = sorted(
        name
        for name in environ
        if name.startswith("SUNAIVA_") and name not in KNOWN and not name.startswith(_CLOUD)
    )
    if unknown:
        raise InvalidError(
            f"Unknown setting {', '.join(unknown)}. Known settings are: {', '.join(KNOWN)}."
        )


def vault_home(environ: Mapping[str, str]) -> Path:
    """The vault's folder: `SUNAIVA_HOME`, or this person's data folder."""
    given = environ.get("SUNAIVA_HOME")
    if given:
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path  # noqa: PLC0415 (a megabyte in every window's relay)

    return user_data_path("sunaiva").absolute()
