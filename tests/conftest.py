"""What every test may ask for: a device of its own. Nothing here reaches the vault or the settings of who runs it."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from msgspec import Struct
from platformdirs import user_cache_path

from mcp_server.rendezvous import ask_to_leave

settings.register_profile("ci", max_examples=50, derandomize=True, deadline=None)
settings.register_profile("nightly", max_examples=2_000, deadline=None)
settings.load_profile("ci")  # `pytest --hypothesis-profile nightly` takes the other one


def pytest_configure() -> None:
    # A shell ignores Ctrl-C in what it runs in the background, and so would every program that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Device(Struct, frozen=True):
    """An empty computer: no vault, no keychain, no assistants' settings."""

    home: Path
    """SUNAIVA_HOME; not made yet."""
    config: Path
    runtime: Path
    environ: dict[str, str]
    """For processes that are to live on this device."""


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    # Sockets live here, and a unix socket's path may have some 100 bytes; pytest's own folders are longer than that.
    runtime = Path(tempfile.mkdtemp(prefix="sunaiva-"))
    home, config, user = tmp_path / "vault", tmp_path / "config", tmp_path / "user"
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
    yield Device(home, config, runtime, environ)
    ask_to_leave(home)  # an agent outlives who started it, and would outlive the test
    shutil.rmtree(runtime, ignore_errors=True)


def model_cache() -> Path:
    return Path(os.environ.get("SUNAIVA_MODEL_CACHE") or user_cache_path("sunaiva") / "models")
