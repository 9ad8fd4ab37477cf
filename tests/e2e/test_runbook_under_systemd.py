"""docs/operations.md under systemd: every command as it is written, nothing in place of anything.

The machine is a real one under systemd-nspawn: systemd boots there, the program is installed into
/opt/covercard, the unit with all its hardening serves at its port, `covercard` is the command of
examples/deploy, the journal is the journal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.conftest import CLINIC, HOSPITAL
from tests.e2e.nspawn import Machine, booted, project_files, with_nspawn
from tests.e2e.signing import Signer, ec_signer, entry
from tests.runbook import UNDER_SYSTEMD, Typed, in_prose, run_by

pytestmark = [with_nspawn, pytest.mark.timeout(1200)]

COMMANDS = run_by(UNDER_SYSTEMD)
PROJECT = "/opt/covercard"
PUBLIC_URL = "https://covercard.example.org"
ASSERTION = "cc" + "0" * 30
ORDER_SIGN = "/cds-services/order-sign-crd"

INSTALLS = """
cannot() { echo "$1"; exit 77; }
command -v make >/dev/null || cannot "make is not installed: apt-get install make"
python3 -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    cannot "the machine's own Python is not 3.11 with venv: apt-get install python3-venv"
rm -rf /opt/covercard /var/lib/covercard /etc/covercard
mkdir -p /opt/covercard /srv/payer-data
tar -C /opt/covercard -xf "$PROJECT_FILES"
cp /opt/covercard/examples/payer-data/* /srv/payer-data/
make -C /opt/covercard .venv/.run >/tmp/make 2>&1 || {
    cat /tmp/make
    ! grep -qiE 'connection|resolution|timed out' /tmp/make || cannot "packages are out of reach"
    exit 1
}
"""
"""While there is a network: the packages. The runbook's own `make` then finds them in place."""


@dataclass
class Service:
    """The service on its machine, and two clients that it knows."""

    machine: Machine
    signers: tuple[Signer, Signer]
    assertion: str = ASSERTION
    said: dict[str, str] = field(default_factory=dict)

    def fires(self, signer: Signer) -> tuple[int, str]:
        """Status and body of the answer to a good call, with the clients' own token."""
        call = fixture_text_today(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
        [(name, value)] = signer.call(PUBLIC_URL + ORDER_SIGN).items()
        out = self.machine.does(
            "curl --silent --show-error --write-out '\n%{http_code}' --data-binary @- "
            f"--header 'Content-Type: application/json' --header '{name}: {value}' "
            f"http://127.0.0.1:8642{ORDER_SIGN}",
            given=call.encode(),
        )
        body, _, status = out.rpartition("\n")
        return int(status), body

    def ready(self) -> dict[str, object]:
        told: dict[str, object] = json.loads(
            self.machine.does("curl --silent --show-error http://127.0.0.1:8642/readyz")
        )
        return told


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("systemd")
    files = project_files(folder / "project.tar")
    variables = {"EDITOR": "/usr/local/bin/takes-the-hospital-out"}
    # The archive lies below the files that the machine is made of.
    installs = INSTALLS.replace("$PROJECT_FILES", str(files))
    with booted(folder, prepared_by=installs, variables=variables) as machine:
        yield Service(machine, (ec_signer(HOSPITAL), ec_signer(CLINIC, kid="clinic-1")))


def files_are_written(service: Service) -> None:
    """What the page says goes into files: the database's URL, the clients; and the payer's data."""
    there = service.machine
    there.writes("/etc/covercard/database-url", "sqlite:////var/lib/covercard/covercard.sqlite3\n")
    clients = {"clients": [entry(signer) for signer in service.signers]}
    there.writes("/etc/covercard/clients.yaml", json.dumps(clients))
    settings = there.reads("/etc/covercard/covercard.env")
    more = "COVERCARD_PAYER_DATA=sqlite:////var/lib/covercard/payer-data.sqlite3\n"
    there.writes("/etc/covercard/covercard.env", settings + more)
    there.does("install -d -m 0700 -o covercard -g covercard /backup")
    there.writes(
        "/usr/local/bin/takes-the-hospital-out",
        "#!/usr/bin/env python3\n"
        "import json, sys\n"
        "told = json.load(open(sys.argv[1]))\n"
        "del told['clients'][0]\n"
        "json.dump(told, open(sys.argv[1], 'w'))\n",
        0o755,
    )


def answer_is_on_record(service: Service) -> None:
    """A call of each client, the last one's assertion id kept for what follows."""
    for signer in service.signers:
        status, body = service.fires(signer)
        assert status == 200, body
        (service.assertion,) = re.findall(r"cc[0-9a-f]{30}", body)


def a_new_version_lies_there(service: Service) -> None:
    """With a lock that is newer than what is installed, so that make installs."""
    answer_is_on_record(service)
    service.machine.does(f"touch {PROJECT}/requirements.lock")


def a_segment_is_damaged(service: Service) -> None:
    """Bytes of no record, in the middle of a segment that is still read."""
    service.machine.does(
        "systemctl stop covercard && "
        "last=$(ls /var/lib/covercard/records/*.segment | tail -n 1) && "
        "printf '\\0garbage%.0s' $(seq 64) >>$last && systemctl start covercard"
    )


BEFORE: Mapping[str, Callable[[Service], None]] = {
    "chmod 600 /etc/covercard/database-url": files_are_written,
    "covercard db backup /backup/before-upgrade": a_new_version_lies_there,
    "ls -l /var/lib/covercard/records": a_segment_is_damaged,
}
"""What has happened, or somebody has done, before this command; the last time that it stands."""

LAST = {command: n for n, (_, command) in enumerate((c.heading, c.command) for c in COMMANDS)}

ENDS_WITH_1 = {Typed("A segment is corrupt", "covercard decisions verify")}
"""Commands whose exit code tells what was found."""


def typed_as_it_is_written(service: Service, typed: Typed) -> str:
    command = typed.command.replace(ASSERTION, service.assertion)  # nobody has that id
    done = service.machine.run(command, cwd=PROJECT, seconds=300)
    told = f"{typed.heading}: {command}\n{done.stdout}{done.stderr}"
    if done.returncode != int(typed in ENDS_WITH_1):
        journal = service.machine.run("journalctl --no-pager --output cat --lines 60").stdout
        raise AssertionError(f"{told}\n{journal}")
    return done.stdout


def test_the_page_from_its_first_command_to_its_last(service: Service) -> None:
    for n, typed in enumerate(COMMANDS):
        if typed.command in BEFORE and LAST[typed.command] == n:
            BEFORE[typed.command](service)
        said = typed_as_it_is_written(service, typed)
        service.said[typed.heading] = service.said.get(typed.heading, "") + said
        if [t.heading for t in COMMANDS[n + 1 : n + 2]] != [typed.heading]:
            AFTER.get(typed.heading, nothing)(service)
    assert set(service.said) == {typed.heading for typed in COMMANDS}


def nothing(service: Service) -> None:
    pass


def it_answers(service: Service) -> None:
    assert service.ready()["status"] in ("ready", "degraded")
    answer_is_on_record(service)


def the_nightly_removal_runs(service: Service) -> None:
    it_answers(service)
    service.machine.does("systemctl is-active covercard-prune.timer")
    service.machine.does("systemctl start covercard-prune.service")


def systemctl_reloads_it_too(service: Service) -> None:
    [command] = in_prose("systemctl reload")
    service.machine.does(f"{command} || {{ journalctl --unit covercard --lines 40; false; }}")
    it_answers(service)


def the_log_is_whole(service: Service) -> None:
    shown = service.machine.does(f"covercard decisions show {service.assertion}")
    assert "not-covered" in shown
    it_answers(service)


def the_client_is_out(service: Service) -> None:
    hospital, clinic = service.signers
    assert service.fires(hospital)[0] == 401
    assert service.fires(clinic)[0] == 200
    service.signers = (clinic, clinic)


def the_evidence_is_written(service: Service) -> None:
    evidence = service.machine.reads("/backup/evidence.html")
    assert service.assertion in evidence and "not-covered" in evidence
    assert "Patient/ann" in service.said["A dispute"]


def the_age_is_told(service: Service) -> None:
    said = service.said["Payer data is stale"]
    assert 'covercard_payer_data_age_seconds{kind="members"}' in said


def the_journal_has_the_call(service: Service) -> None:
    assert '"event":"call"' in service.said["Records are not drained"].replace(": ", ":")


AFTER: Mapping[str, Callable[[Service], None]] = {
    "systemd": the_nightly_removal_runs,
    "Policy snapshot": systemctl_reloads_it_too,
    "Start": it_answers,
    "Stop": it_answers,
    "Upgrade": it_answers,
    "Roll back": the_log_is_whole,
    "Back up and restore": the_log_is_whole,
    "Records are not drained": the_journal_has_the_call,
    "Payer data is stale": the_age_is_told,
    "Revoke a client": the_client_is_out,
    "A dispute": the_evidence_is_written,
}
"""What the machine must be like when a part of the page was followed."""


def test_what_is_prepared_and_checked_is_on_the_page() -> None:
    assert set(AFTER) <= {typed.heading for typed in COMMANDS}
    assert set(BEFORE) <= {typed.command for typed in COMMANDS}
    assert set(COMMANDS) >= ENDS_WITH_1
