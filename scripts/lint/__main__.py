"""`python scripts/lint [FOLDER]`: the rules of this project that no linter knows. Exit status 1 if one is broken."""

import sys
from pathlib import Path

from broad_excepts import broad_excepts
from commits import commits
from long_functions import long_functions
from shared_modules import shared_modules
from sleeps import sleeps
from source import Rule, Source, read

FOLDERS = ("mcp_server", "cloud_api", "sync_service", "shared", "tests", "bench", "scripts")
RULES: tuple[Rule, ...] = (broad_excepts, commits, long_functions, shared_modules, sleeps)


def main(root: Path) -> int:
    sources: list[Source] = [
        read(root, path) for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))
    ]
    findings = sorted(finding for rule in RULES for finding in rule(sources))
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.rule}: {finding.sentence}")
    print(f"{len(sources)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
