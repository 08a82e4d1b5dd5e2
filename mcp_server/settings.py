"""Settings, from the environment. Nothing else reads it but `cli`: before settings can be loaded, and for the person's editor.

Unknown `SUNAIVA_*` names are refused, so a typo is never a default.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from msgspec import Struct
from platformdirs import user_cache_path, user_config_path, user_state_path

from mcp_server.connect.clients import Places
from mcp_server.home import refuse_unknown, vault_home
from mcp_server.sensitive import Handling, Policy
from shared.errors import InvalidError

VectorStore = Literal["auto", "exact", "chroma"]
Tier = Literal["fast", "late", "cross"]
"""How much time and space recall may take; see `rerank`."""

# Where `sunaiva-cloud serve` listens by default. Nothing is asked there before `sunaiva login`.
CLOUD = "http://127.0.0.1:8400"


class Settings(Struct, frozen=True, kw_only=True):
    """Where things are on this device; no secret is among them."""

    home: Path
    """Holds the vault, and nothing that is not the vault's."""
    key_folder: Path
    """Key files live outside the vault's folder, so that a copied folder alone opens nothing."""
    runtime_folder: Path
    """Sockets. Short, because a unix socket's path may have some 100 bytes only."""
    model_cache: Path
    model_folder: Path | None = None
    vectors: VectorStore = "auto"
    policy: Policy = Policy()
    """What becomes of secrets and personal details in what is to be stored."""
    recall: Tier = "fast"
    cross_encoder: Path | None = None
    cloud: str = CLOUD
    """Where `sunaiva login` logs in unless another address is given."""
    heeds_hints: bool = True
    """Whether what can wait does, on a low battery and on a metered network."""
    sync_vectors: bool = True
    """Whether vectors travel between devices that have the same model."""
    places: Places
    """Where assistants keep their configuration."""
    connect_backups: Path
    """Copies of assistants' configurations before `connect` changed them. They may hold other servers' keys."""
    home_if_unusual: Path | None = None
    """The vault's folder where it is not the usual one: assistants must then be told."""
    passphrase_given: bool = False


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        InvalidError: an unknown `SUNAIVA_*` variable, or a value that is none of its choices.
    """
    env = os.environ if environ is None else environ  # noqa: TID251 (this is the one module)
    refuse_unknown(env)
    vectors = env.get("SUNAIVA_VECTORS", "auto")
    if vectors not in get_args(VectorStore):
        raise InvalidError(f"SUNAIVA_VECTORS is {vectors!r}; it can be auto, exact or chroma.")
    recall = env.get("SUNAIVA_RECALL", "fast")
    if recall not in get_args(Tier):
        raise InvalidError(f"SUNAIVA_RECALL is {recall!r}; it can be fast, late or cross.")
    sparing = env.get("SUNAIVA_SPARING", "auto")
    if sparing not in ("auto", "off"):
        raise InvalidError(f"SUNAIVA_SPARING is {sparing!r}; it can be auto or off.")
    if recall == "cross" and not env.get("SUNAIVA_CROSS_ENCODER"):
        raise InvalidError(
            "SUNAIVA_RECALL=cross needs SUNAIVA_CROSS_ENCODER, the folder of a sentence-transformers CrossEncoder."
        )
    sync_vectors = env.get("SUNAIVA_SYNC_VECTORS", "on")
    if sync_vectors not in ("on", "off"):
        raise InvalidError(f"SUNAIVA_SYNC_VECTORS is {sync_vectors!r}; it can be on or off.")
    return Settings(
        home=vault_home(env),
        key_folder=user_config_path("sunaiva") / "keys",
        runtime_folder=_runtime_folder(env),
        model_cache=Path(env.get("SUNAIVA_MODEL_CACHE") or user_cache_path("sunaiva") / "models"),
        model_folder=_folder(env, "SUNAIVA_MODEL"),
        policy=Policy(
            secrets=_handling(env, "SUNAIVA_SECRETS", "redact"),
            personal=_handling(env, "SUNAIVA_PII", "allow"),
        ),
        vectors=vectors,  # type: ignore[arg-type] # checked against the choices just above
        recall=recall,  # type: ignore[arg-type] # as above
        cross_encoder=_folder(env, "SUNAIVA_CROSS_ENCODER"),
        cloud=env.get("SUNAIVA_CLOUD") or CLOUD,
        heeds_hints=sparing == "auto",
        sync_vectors=sync_vectors == "on",
        places=_places(env),
        connect_backups=user_state_path("sunaiva") / "connect",
        home_if_unusual=vault_home(env) if env.get("SUNAIVA_HOME") else None,
        passphrase_given=bool(env.get("SUNAIVA_PASSPHRASE")),
    )


def _handling(env: Mapping[str, str], name: str, default: Handling) -> Handling:
    chosen = env.get(name, default)
    if chosen not in get_args(Handling):
        raise InvalidError(f"{name} is {chosen!r}; it can be {', '.join(get_args(Handling))}.")
    return chosen  # type: ignore[return-value] # checked against the choices just above


def passphrase(environ: Mapping[str, str] | None = None) -> str | None:
    """The passphrase from the environment, read when needed so that no struct carries it."""
    env = os.environ if environ is None else environ  # noqa: TID251
    return env.get("SUNAIVA_PASSPHRASE") or None


def _folder(env: Mapping[str, str], name: str) -> Path | None:
    given = env.get(name)
    return Path(given).expanduser().absolute() if given else None


def _runtime_folder(env: Mapping[str, str]) -> Path:
    """The session's own runtime folder, or one under /tmp: platformdirs would warn on every start without a session."""
    given = env.get("XDG_RUNTIME_DIR")
    return Path(given) / "sunaiva" if given else Path(f"/tmp/sunaiva-{os.getuid()}")  # noqa: S108 (made 0700, owner checked)


def _places(env: Mapping[str, str]) -> Places:
    def folder(*names: str) -> Path | None:
        found = next((env[name] for name in names if env.get(name)), None)
        return Path(found) if found else None

    return Places(
        home=Path.home(),
        platform=sys.platform,
        config_folder=folder("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME"),
        local_folder=folder("LOCALAPPDATA"),
        claude_folder=folder("CLAUDE_CONFIG_DIR"),
        codex_folder=folder("CODEX_HOME"),
    )
