"""`shared` holds what two packages need, and is no place for what found no other: one importer means it lives there.

Confession: with one application built, `tests` counts as a package. Once a second application exists, that must end.
"""

import ast
from collections.abc import Iterator

from source import Finding, Source

IMPORTERS_MIN = 2
RULE = "shared-module"


def shared_modules(sources: list[Source]) -> Iterator[Finding]:
    importers: dict[str, set[str]] = {}
    for source in sources:
        package = source.path.split("/")[0]
        for module in _shared_imports(source.tree):
            importers.setdefault(module, set()).add(package)
    for source in sources:
        module = source.path.removesuffix(".py").replace("/", ".")
        if (
            not source.is_under("shared")
            or source.path.endswith("__init__.py")
            or source.excuses(1, RULE)
        ):
            continue
        packages = importers.get(module, set()) - {"shared"}
        if len(packages) < IMPORTERS_MIN:
            known = ", ".join(sorted(packages)) or "nobody"
            sentence = f"Imported by {known} only; `shared` is for two packages or more: move it to its user."
            yield Finding(source.path, 1, RULE, sentence)


def _shared_imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="shared", names=names):
                yield from (f"shared.{alias.name}" for alias in names)
            case ast.ImportFrom(module=str(module)) if module.startswith("shared."):
                yield module
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.startswith("shared."))
            case _:
                pass
