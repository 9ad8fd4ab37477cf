"""docs/operations.md is a runbook: each of its commands is run by a test, most of them also here.

Here the machine is a folder, which every system has: `HERE` says what stands for what. On machines
with systemd, containers or a cluster the same commands are run as they are written, by the tests
that `tests.runbook` names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from service.decision_log.log_revision import DECISION_LOG
from tests.conftest import ROOT
from tests.e2e.conftest import CLINIC, HOSPITAL
from tests.e2e.servers import Server, environment, free_port, running
from tests.e2e.signing import Signer, ec_signer, entry, write_clients
from tests.later_version import migrated
from tests.runbook import COMMANDS as ON_THE_PAGE
from tests.runbook import ON_A_FOLDER, RUN_BY, Typed, run_by

COMMANDS = run_by(ON_A_FOLDER)
ASSERTION = "cc" + "0" * 30

HERE: Mapping[str, tuple[str, str]] = {
    "systemd-analyze ": (
        "is run with the units where systemd is",
        "tests/deploy/test_systemd.py",
    ),
    "install -D ": ("is run with a root of its own", "tests/deploy/test_systemd.py"),
    "docker ": ("there is no container engine", "tests/deploy/test_containers.py"),
    "openssl ": ("is run in its section's order", "tests/unit/test_bundle.py"),
    "chmod ": ("is run in its section's order", "tests/unit/test_bundle.py"),
    "covercard policy bundle ": ("is run in its section's order", "tests/unit/test_bundle.py"),
    "covercard policy diff ": ("is run in its section's order", "tests/unit/test_bundle.py"),
    "kubectl ": ("there is no cluster", "tests/deploy/test_kubernetes.py"),
}
"""Beginnings of commands that are not run here: why, and what holds them."""

HERE: Mapping[str, str] = {
    "/var/lib/covercard": "{machine}/state",
    "/etc/covercard": "{machine}/etc",
    "/backup": "{machine}/backup",
    "/srv/payer-data": f"{ROOT}/examples/payer-data",
    "http://127.0.0.1:8642": "{base}",
    ASSERTION: "{assertion}",
    " -o covercard -g covercard": "",
    "make -C /opt/covercard": f"make --dry-run -C {ROOT}",  # installing takes a network
}
"""What stands in a command → what stands for it on the test's machine."""

STAND_INS = {
    "editor": f'exec {sys.executable} "$MACHINE/edit.py" "$1"',
    "journalctl": 'cat "$MACHINE"/log-*',  # without systemd the journal is the file of its output
    "covercard": f"exec {sys.executable} -c 'from service.cli import main; main()' \"$@\"",
}
"""Programs of a machine under systemd, and its person's editor → what does their work here."""

ENDS_WITH_1 = {"covercard decisions verify": "A segment is corrupt"}
"""Commands whose exit code tells what was found, by the part of the page where it does."""


@dataclass
class Machine:
    """A machine with the service on it; `said` is what each command of a part has printed."""

    folder: Path
    signers: tuple[Signer, Signer]
    started: ExitStack = field(default_factory=ExitStack)
    server: Server | None = None
    assertion: str = ASSERTION
    port: int = field(default_factory=free_port)

    @property
    def settings(self) -> dict[str, object]:
        state = self.folder / "state"
        return {
            "database_url": f"sqlite:///{state}/covercard.sqlite3",
            "records_dir": state / "records",
            "payer_data": f"sqlite:///{self.folder}/payer-data.sqlite3",
            "clients_file": self.folder / "etc" / "clients.yaml",
            "client_auth": "required",
            "public_url": f"http://127.0.0.1:{self.port}",
            "port": self.port,
            "workers": 1,
        }

    def systemctl(self, action: str) -> None:
        if action in ("stop", "restart"):
            self.started.close()
            self.server = None
        if action in ("start", "restart") and self.server is None:
            self.server = self.started.enter_context(running(self.folder, **self.settings))
        if action == "status":
            assert self.server is not None and self.server.process.poll() is None

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        for there, here in HERE.items():
            stands_for = here.format(
                machine=self.folder,
                base=f"http://127.0.0.1:{self.port}",
                assertion=self.assertion,
            )
            command = command.replace(there, stands_for)
        variables = environment(self.settings) | {
            "MACHINE": str(self.folder),
            "EDITOR": str(self.folder / "bin" / "editor"),
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
        }
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def fire(self, signer: Signer, order: bytes) -> requests.Response:
        assert self.server is not None
        path = "/cds-services/order-sign-crd"
        headers = {"Content-Type": "application/json"}
        signed = signer.call(self.server.base + path)
        return self.server.post(path, data=order, headers={**headers, **signed})


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    for name in ("state", "etc", "backup", "bin"):
        (tmp_path / name).mkdir(mode=0o700)
    hospital, clinic = ec_signer(HOSPITAL), ec_signer(CLINIC, kid="clinic-1")
    write_clients(tmp_path / "etc", entry(hospital), entry(clinic))
    for name, does in STAND_INS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
    # The person at the editor takes the first client out.
    (tmp_path / "edit.py").write_text(
        "import json, sys\n"
        "told = json.load(open(sys.argv[1]))\n"
        "del told['clients'][0]\n"
        "json.dump(told, open(sys.argv[1], 'w'))\n"
    )
    made = Machine(tmp_path, (hospital, clinic))
    with made.started:
        yield made


def answer_is_on_record(machine: Machine, order: bytes) -> None:
    """A call of each client, the last one's assertion id kept for what follows."""
    for signer in machine.signers:
        reply = machine.fire(signer, order)
        assert reply.status_code == 200, reply.text
        (machine.assertion,) = re.findall(r"cc[0-9a-f]{30}", reply.text)


def a_segment_is_damaged(machine: Machine, order: bytes) -> None:
    """Bytes of no record, in the middle of a segment that is still read."""
    machine.systemctl("stop")
    segments = sorted((machine.folder / "state" / "records").glob("*.segment"))
    assert segments
    with segments[-1].open("ab") as segment:
        segment.write(b"\x00garbage" * 64)
    machine.systemctl("start")


def a_later_version_was_installed(machine: Machine, order: bytes) -> None:
    """Its `db upgrade` has migrated the tables, and it is to be taken back."""
    url = str(machine.settings["database_url"])
    later = machine.folder / "later"
    migrated(url, later, DECISION_LOG, "call", usable_from=DECISION_LOG.revision)


BEFORE: Mapping[str, Callable[[Machine, bytes], None]] = {
    "Upgrade": answer_is_on_record,
    "Roll back": a_later_version_was_installed,
    "A segment is corrupt": a_segment_is_damaged,
}
"""What has happened to the machine when somebody opens this part of the page."""


def the_client_is_out(machine: Machine, order: bytes, said: str) -> None:
    hospital, clinic = machine.signers
    assert machine.fire(hospital, order).status_code == 401
    assert machine.fire(clinic, order).status_code == 200


def the_evidence_is_written(machine: Machine, order: bytes, said: str) -> None:
    evidence = (machine.folder / "backup" / "evidence.html").read_text("utf-8")
    assert machine.assertion in evidence and "not-covered" in evidence
    assert "Patient/ann" in said


def the_log_is_whole(machine: Machine, order: bytes, said: str) -> None:
    shown = machine.run(f"covercard decisions show {ASSERTION}")
    assert shown.returncode == 0 and "not-covered" in shown.stdout


def the_age_is_told(machine: Machine, order: bytes, said: str) -> None:
    assert 'covercard_payer_data_age_seconds{kind="members"}' in said


AFTER: Mapping[str, Callable[[Machine, bytes, str], None]] = {
    "Roll back": the_log_is_whole,
    "Back up and restore": the_log_is_whole,
    "Revoke a client": the_client_is_out,
    "A dispute": the_evidence_is_written,
    "Payer data is stale": the_age_is_told,
}
"""What the machine must be like when a part of the page was followed."""


@pytest.mark.timeout(900)
def test_the_page_from_its_first_command_to_its_last(machine: Machine, order: bytes) -> None:
    part, said = "", ""
    for heading, command in [(c.heading, c.command) for c in (*COMMANDS, Typed("", ""))]:
        if heading != part:
            if part in AFTER:
                AFTER[part](machine, order, said)
            part, said = heading, ""
            if part in BEFORE:
                BEFORE[part](machine, order)
        if not command:
            continue
        if command == "covercard serve":
            machine.systemctl("start")
        elif command.startswith("systemctl "):
            _, action, unit = command.split()
            assert unit == "covercard"
            machine.systemctl(action)
        else:
            done = machine.run(command)
            found = ENDS_WITH_1.get(command) == heading
            told = f"{heading}: {command}\n{done.stdout}{done.stderr}"
            assert done.returncode == int(found), told
            said += done.stdout
    assert machine.server is not None


def test_every_command_of_the_page_is_run_by_a_test() -> None:
    assert {typed.heading for typed in ON_THE_PAGE} == set(RUN_BY)


@pytest.mark.parametrize("test", sorted({test for tests in RUN_BY.values() for test in tests}))
def test_each_test_that_is_named_runs_the_commands_of_its_headings(test: str) -> None:
    """Each takes them from the page itself, so that none that is added is left out."""
    source = (ROOT / test).read_text("utf-8")
    assert "run_by(" in source


@pytest.mark.parametrize("command", [typed.command for typed in ON_THE_PAGE])
def test_each_command_is_one_of_a_shell(command: str) -> None:
    done = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("there", HERE)
def test_each_stand_in_stands_for_something_on_the_page(there: str) -> None:
    assert any(there in typed.command for typed in COMMANDS)


def test_each_part_that_is_prepared_or_checked_is_on_the_page() -> None:
    headings = {typed.heading for typed in COMMANDS}
    assert {*BEFORE, *AFTER, *ENDS_WITH_1.values()} <= headings
