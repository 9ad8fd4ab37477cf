"""`make forms`: compiles the CQL of the forms, and writes the Libraries that changed."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

from tests.cql import compiled, library, set_up, sources, written
from tests.materials import ROOT, MissingPart


def main() -> int:
    try:
        set_up()
        found = sources()
        elm = compiled({source.name: source.text for source in found})
    except MissingPart as missing:
        print(f"Not compiled: this needs {missing}.", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        print("Not compiled: see the problems above.", file=sys.stderr)
        return 1
    today = datetime.now(UTC).date().isoformat()
    for source in found:
        made = library(source, elm, today)
        path = source.output
        if path.is_file():
            before = json.loads(path.read_text("utf-8"))
            if before == {**made, "date": before["date"]}:
                continue
        path.parent.mkdir(exist_ok=True)
        path.write_text(written(made), "utf-8")
        print(f"Wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
