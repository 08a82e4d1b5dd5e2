"""An empty computer: the folders, the environment and the end of what runs there. Nothing of it reaches the vault or the settings of who
runs the tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from platformdirs import user_cache_path

from mcp_server.rendezvous import ask_to_leave


class Device(Struct, frozen=True):
    """An empty computer: no vault, no keychain, no assistants' settings."""

    home: Path
    """SUNAIVA_HOME; not made yet."""
    config: Path
    runtime: Path
    environ: dict[str, str]
    """For processes that are to live on this device."""


@contextmanager
def computer(folder: Path) -> Iterator[Device]:
    """In this folder, for as long as its user wants."""
    # Sockets live here, and a unix socket's path may have some 100 bytes; pytest's own folders are longer than that.
    runtime = Path(tempfile.mkdtemp(prefix="sunaiva-"))
    home, config, user = folder / "vault", folder / "config", folder / "user"
    config.mkdir()
    user.mkdir()
    foreign = ("SUNAIVA_", "XDG_", "PYTHONPATH", "PYTHONHOME")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environ |= {
        "HOME": str(user),
        "SUNAIVA_HOME": str(home),
        # Shared on purpose: exporting the model takes longer than all that a test wants to know.
        "SUNAIVA_MODEL_CACHE": str(model_cache()),
        "XDG_CONFIG_HOME": str(config),
        "XDG_RUNTIME_DIR": str(runtime),
        # What is tested shall not wait for the charger of who tests it.
        "SUNAIVA_SPARING": "off",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    try:
        yield Device(home, config, runtime, environ)
    finally:
        ask_to_leave(home)  # an agent outlives who started it, and would outlive the test
        shutil.rmtree(runtime, ignore_errors=True)


def model_cache() -> Path:
    return Path(os.environ.get("SUNAIVA_MODEL_CACHE") or user_cache_path("sunaiva") / "models")
