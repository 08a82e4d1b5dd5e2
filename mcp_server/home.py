"""Where the vault is. Apart from the other settings because the relay, which must stay small, needs nothing else."""

from collections.abc import Mapping
from pathlib import Path


def vault_home(environ: Mapping[str, str]) -> Path:
    """The vault's folder: `SUNAIVA_HOME`, or this person's data folder."""
    given = environ.get("SUNAIVA_HOME")
    if given:
        return Path(given).expanduser().absolute()
    from platformdirs import user_data_path  # noqa: PLC0415 (a megabyte in every window's relay)

    return user_data_path("sunaiva").absolute()
