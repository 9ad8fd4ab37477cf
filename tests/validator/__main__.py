"""`python -m tests.validator`: the official validator's word on everything that is emitted.

Prints each error that is ours, then a line a version: `VALIDATE 2.0 N resources, 0 errors`. What
stems from a request or from a guide itself stands in `known.yaml` with its reason. Ends with 1
where there is an error, with 3 where a part cannot be had on this machine; with `--allow-missing`
the latter is said and is no failure.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, in_folder
from tests.e2e.servers import environment, free_port
from tests.materials import ROOT, MissingPart
from tests.validator import server
from tests.validator.emitted import Emitted, documents, everything

_KNOWN = [
    (re.compile(entry["error"]), entry["in"])
    for entry in YAML(typ="safe").load(Path(__file__).parent / "known.yaml")
]
_GUIDES = {"2.0": server.CRD_2_0, "2.2": server.CRD_2_2}
_DTR_GUIDES = {"2.0": server.DTR_2_0, "2.2": server.DTR_2_2}
_OF_A_KIND = re.compile(r"/CRDHooksResponse-")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.validator")
    arguments.add_argument("--allow-missing", action="store_true")
    asked = arguments.parse_args()
    try:
        return _run()
    except MissingPart as missing:
        print(f"VALIDATE NOT RUN: this machine lacks {missing}", flush=True)
        return 0 if asked.allow_missing else 3


def _run() -> int:
    server.set_up()
    lines: list[str] = []
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        log = ROOT / "build" / "validate.log"
        log.parent.mkdir(exist_ok=True)
        loaded = [*_GUIDES.values(), *_DTR_GUIDES.values()]
        with server.running(free_port(), log, loaded) as base:
            for version in _GUIDES:
                seen = errors = 0
                for emitted in _emitted(folder, version):
                    seen += 1
                    for error in _errors(base, emitted):
                        errors += 1
                        print(f"ERROR {version} {emitted.where}: {error}", flush=True)
                lines.append(f"VALIDATE {version} {seen} resources, {errors} errors")
                wrong += errors
    print("\n".join(lines))
    return 1 if wrong else 0


def _emitted(folder: Path, version: str) -> Iterator[Emitted]:
    """Of the service as it is shipped, then of one whose buttons bring form and response along."""
    for suggestion, emit in (("task", everything), ("task-form-and-response", documents)):
        app = create_app(_settings(folder, suggestion), clock=lambda: NOW)
        yield from _each_once(emit(app.test_client(), version))
        app.extensions[RECORDER].stop()


def _settings(folder: Path, suggestion: str) -> Any:
    """With every example policy, and the payer's records that the presets are answered from."""
    told = {
        "notice_suggestion": suggestion,
        "payers_file": ROOT / "examples" / "inferno" / "payers.yaml",
        "added_policies_dir": ROOT / "examples" / "policies",
        "payer_data": f"sqlite:///{folder}/payer-data.sqlite3",
    }
    command = [sys.executable, "-c", "from service.cli import main; main()", "payer-data", "import"]
    records = str(ROOT / "examples" / "inferno" / "payer-data")
    subprocess.run([*command, records], env=environment(told), check=True, capture_output=True)
    return in_folder(folder, **told)


def _each_once(found: Iterator[Emitted]) -> Iterator[Emitted]:
    """Whatever differs by more than the ids that every answer makes anew."""
    seen: set[tuple[str, str]] = set()
    for emitted in found:
        key = (emitted.profile, _ID.sub("", json.dumps(emitted.what)))
        if key not in seen:
            seen.add(key)
            yield emitted


def _errors(base: str, emitted: Emitted) -> Iterator[str]:
    guides = (_DTR_GUIDES if emitted.of_dtr else _GUIDES)[emitted.version]
    found = _messages(base, emitted.what, guides, emitted.profile)
    if found and emitted.before is not None:
        sent = _messages(base, emitted.before, guides, emitted.profile)
        of_the_request = {_bare(m) for m in sent}
        found = [m for m in found if _bare(m) not in of_the_request]
    yield from (message for message in found if not _known(message, emitted.version))


def _known(message: str, version: str) -> bool:
    return any(p.search(message) and of in ("all", version) for p, of in _KNOWN)


def _bare(message: str) -> str:
    """Without the place, which differs between a resource and one in an answer."""
    return message.partition(" ")[2]


def _messages(base: str, what: Any, guides: Sequence[str], profile: str) -> list[str]:
    issues = server.validate(base, what, guides, profile)
    errors = [i for i in issues if i["level"] in ("ERROR", "FATAL")]
    if _OF_A_KIND.search(profile):
        # A resource may be of any of the model's profiles, and is held against each; it is
        # validated by itself, against its own.
        errors = [e for e in errors if ".resource" not in e["location"]]
    return [f"{e['location']} {e['message']}" for e in errors]


if __name__ == "__main__":
    sys.exit(main())
