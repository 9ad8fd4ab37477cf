"""Are vulnerabilities known in the locked packages? Asks PyPI's advisories through pip-audit.

Ends with 0 if none is known, 1 if one is, and with 0 and a line that says SKIPPED where the
advisories cannot be reached: a machine without that network has not been told that all is well.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import requests

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")


def advisories_can_be_reached() -> bool:
    """Whether PyPI tells of the first locked package's vulnerabilities (or that it has none)."""
    first = re.match(r"(\S+)==(\S+)", (ROOT / LOCKS[0]).read_text("utf-8"))
    if first is None:
        raise SystemExit(f"{LOCKS[0]}: does not begin with a package")
    try:
        reply = requests.get(f"https://pypi.org/pypi/{first[1]}/{first[2]}/json", timeout=20)
        return "vulnerabilities" in reply.json()
    except requests.RequestException:
        return False


def main() -> int:
    if not advisories_can_be_reached():
        print("audit: SKIPPED, the advisories at https://pypi.org cannot be reached from here")
        return 0
    # Strict: a package that cannot be looked up is a failure, not a pass.
    audit = [sys.executable, "-m", "pip_audit", "--strict", "--disable-pip", "--require-hashes"]
    files = [argument for lock in LOCKS for argument in ("-r", str(ROOT / lock))]
    return subprocess.run([*audit, *files], check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
