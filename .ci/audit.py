"""Are vulnerabilities known in the locked packages? Asks the advisories that pip-audit uses.

Ends with 1 if one is known, with 0 if none is, and with 0 and a line that says SKIPPED where the
advisories cannot be reached: a machine without that network has not been told that all is well.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
_SECONDS = 120


def main() -> int:
    audit = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
    files = [argument for lock in LOCKS for argument in ("-r", str(ROOT / lock))]
    try:
        done = subprocess.run(  # noqa: S603
            [*audit, *files], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        print("audit: SKIPPED, the advisories did not answer in time")
        return 0
    print(done.stdout, end="")
    if done.returncode and "known vulnerabilit" not in done.stderr:
        print("audit: SKIPPED, the advisories cannot be read from here")
        return 0
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
