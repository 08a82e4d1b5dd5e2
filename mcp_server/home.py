"""Where the vault is. Apart from the other settings because the relay, which must stay small, needs nothing else."""

from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_data_path


def vault_home(environ: Mapping[str, str]) -> Path:
    """The vault's folder: `SUNAIVA_HOME`, or this person's data folder."""
    return Path(environ.get("SUNAIVA_HOME") or user_data_path("sunaiva")).expanduser().absolute()
