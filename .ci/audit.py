"""Are vulnerabilities known in the locked packages? Asks the advisories that pip-audit uses.

Ends with 1 if one is known, with 0 if none is, and with 0 and a line that says SKIPPED where the
advisories cannot be reached: a machine without that network has not been told that all is well.
Where only some packages are known there, the others are named. Anything else that goes wrong is 2.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-otel.lock",
    "requirements-parquet.lock",
)
SKIPPED = "audit: SKIPPED: advisories cannot be reached"
_SECONDS = 300
_AWAY = ("connection", "connect to", "timed out", "timeout", "temporary failure", "max retries")
"""What is said of a network that is not there."""


def main() -> int:
    audit = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
    audit += ["--format", "json", "--progress-spinner", "off"]
    files = [argument for lock in LOCKS for argument in ("-r", str(ROOT / lock))]
    try:
        done = subprocess.run(  # noqa: S603
            [*audit, *files], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        print(SKIPPED)
        return 0
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        if any(words in done.stderr.lower() for words in _AWAY):
            print(SKIPPED)
            return 0
        print(done.stderr, file=sys.stderr, end="")
        print("audit: FAILED: pip-audit gave no report", file=sys.stderr)
        return 2
    lines, status = verdict(packages)
    print("\n".join(lines))
    return status


def verdict(packages: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """What to say of pip-audit's report, and the exit status."""
    known = list(_vulnerabilities(packages))
    if known:
        return [*known, f"audit: FAILED: {len(known)} known vulnerabilities"], 1
    unknown = sorted({p["name"] for p in packages if "vulns" not in p})
    audited = len({p["name"] for p in packages}) - len(unknown)
    if not audited:
        return [SKIPPED], 0
    said = [f"audit: {audited} packages, no known vulnerability"]
    if unknown:
        said.append(f"audit: SKIPPED: no advisories for {', '.join(unknown)}")
    return said, 0


def _vulnerabilities(packages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    seen = set()
    for package in packages:
        for found in package.get("vulns", []):
            name = f"{package['name']} {package['version']}"
            if (name, found["id"]) not in seen:
                seen.add((name, found["id"]))
                repair = ", ".join(found.get("fix_versions", [])) or "no version yet"
                yield f"{name}: {found['id']}, repaired in {repair}"


if __name__ == "__main__":
    sys.exit(main())
