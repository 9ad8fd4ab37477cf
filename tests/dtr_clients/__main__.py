"""`make dtr-clients`: fetches the renderers, and has them fill in every form.

Ends with 1 where a test fails, with 3 where a part cannot be had on this machine. With
`--allow-missing` the latter is said and is no failure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.dtr_clients import set_up
from tests.e2e.chromium import CHROMIUM
from tests.materials import ROOT, MissingPart

TESTS = "tests/e2e/test_published_renderers.py"


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.dtr_clients")
    arguments.add_argument("--allow-missing", action="store_true")
    asked = arguments.parse_args()
    try:
        if not CHROMIUM.exists():
            raise MissingPart("Chromium (on Debian: apt-get install chromium)")
        set_up()
    except MissingPart as missing:
        print(f"DTR CLIENTS NOT RUN: this machine lacks {missing}", flush=True)
        return 0 if asked.allow_missing else 3
    return subprocess.run([sys.executable, "-m", "pytest", "-q", TESTS], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
