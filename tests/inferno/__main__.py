"""`python -m tests.inferno [configuration…]`: runs the suites and compares with what is expected.

Prints a table test by test, then what came out otherwise than expected, then a line each:
`INFERNO <name> required a/b all c/d`. Ends with 1 where anything surprised, with 3 where a part
cannot be had on this machine. With `--allow-missing` the latter is said and is no failure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.e2e.certificates import Authority
from tests.e2e.nginx import NGINX, in_front
from tests.e2e.servers import environment, free_port, running
from tests.inferno import dtr, kit, suites
from tests.inferno.expected import reasons, surprises
from tests.materials import ROOT, MissingPart
from tests.validator import server as validator

CONFIGURATIONS: Mapping[str, Mapping[str, Any]] = YAML(typ="safe").load(
    Path(__file__).parent / "configurations.yaml"
)
PRESETS = ROOT / "fhir_fixtures" / "inferno"


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.inferno")
    arguments.add_argument("names", nargs="*", metavar="configuration")
    arguments.add_argument("--allow-missing", action="store_true")
    asked = arguments.parse_args()
    unknown = [n for n in asked.names if n not in CONFIGURATIONS]
    if unknown:
        arguments.error(f"no such configuration: {', '.join(unknown)}")
    try:
        return _run(asked.names or [*CONFIGURATIONS])
    except MissingPart as missing:
        print(f"INFERNO NOT RUN: this machine lacks {missing}", flush=True)
        return 0 if asked.allow_missing else 3


def _run(names: list[str]) -> int:
    if NGINX is None:
        raise MissingPart("nginx (on Debian: apt-get install nginx-light)")
    out = ROOT / "build" / "inferno"
    # The validator first: `make validate` needs it as well, the kits' machine serves only here.
    validator.set_up()
    kit.set_up()
    out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    surprised = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        authority = Authority(folder, "authority")
        authority.issue("localhost")
        with (
            validator.running(free_port(), out / "validator.log") as judge,
            kit.running(authority.file, judge) as inferno,
        ):
            for name in names:
                outcome = _run_one(name, inferno, folder)
                print(_table(name, outcome), flush=True)
                otherwise = [*surprises(outcome, CONFIGURATIONS[name]["expected"])]
                for line in otherwise:
                    print(f"UNEXPECTED {name} {line}", flush=True)
                (out / f"{name}.txt").write_text(_table(name, outcome, errors=True), "utf-8")
                surprised = surprised or bool(otherwise)
                lines.append(outcome.line(name))
    print("\n".join(lines))
    return 1 if surprised else 0


def _run_one(name: str, inferno: str, folder: Path) -> suites.Outcome:
    """Start the service as the configuration says, behind nginx, and let the suite call it."""
    told = CONFIGURATIONS[name]
    suite = told["suite"]
    presets = kit.presets_of(told["kit"]) if "kit" in told else PRESETS
    port = free_port()
    home = folder / name
    home.mkdir()
    for file in ("localhost.pem", "localhost.key"):
        (home / file).write_bytes((folder / file).read_bytes())
    settings: dict[str, object] = {"public_url": f"https://localhost:{port}"}
    settings |= {key: ROOT / value for key, value in told.get("settings", {}).items()}
    if "payer_data" in told:
        settings["payer_data"] = f"sqlite:///{home}/payer-data.sqlite3"
        _import(ROOT / told["payer_data"], settings)
    inputs: dict[str, object] = suites.preset(presets / told["preset"], inferno)
    if "dtr" in told:
        settings["clients_file"] = dtr.clients_file(home)
        with running(home, **settings) as service, in_front(home, port, service.port):
            address = str(settings["public_url"])
            return suites.run(inferno, suite, dtr.inputs(inputs, address, service, told["dtr"]))
    inputs |= {"base_url": settings["public_url"], **told.get("inputs", {})}
    if "client" in told:
        settings["clients_file"] = _clients(home, f"{inferno}/custom/{suite}")
        inputs["encryption_method"] = told["client"]
    with running(home, **settings) as service, in_front(home, port, service.port):
        return suites.run(inferno, suite, inputs)


def _import(records: Path, settings: Mapping[str, object]) -> None:
    """Put the payer's own records where the service will look for them."""
    command = [sys.executable, "-c", "from service.cli import main; main()", "payer-data", "import"]
    subprocess.run(
        [*command, str(records)], env=environment(settings), check=True, capture_output=True
    )


def _clients(folder: Path, issuer: str) -> Path:
    """The kit as a client: its issuer is the address of the suite, its FHIR server lies below."""
    file = folder / "clients.yaml"
    file.write_text(
        "clients:\n"
        f'  - issuer: "{issuer}"\n'
        "    name: Inferno\n"
        f'    jwks_url: "{issuer}/jwks.json"\n'
        f'    fhir_servers: ["{issuer}/fhir"]\n',
        "utf-8",
    )
    return file


def _table(name: str, outcome: suites.Outcome, *, errors: bool = False) -> str:
    rows = [f"{name}:"]
    because = reasons(CONFIGURATIONS[name]["expected"])
    for v in outcome.verdicts:
        kind = "optional" if v.optional else "required"
        rows.append(f"  {v.id:9} {v.result:5} {kind} {v.title}")
        if not v.passed and v.id in because:
            rows.append(f"            expected: {because[v.id]}")
        if errors and not v.passed:
            rows.extend(f"            {line[:2000]}" for line in (v.said, *v.errors) if line)
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
