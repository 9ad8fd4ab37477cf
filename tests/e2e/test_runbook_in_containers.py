"""docs/operations.md in containers: docker builds the image and runs the compose file.

Under a Docker of its own (`tests.e2e.engine`). What the images of Python, PostgreSQL and nginx have
in them is Debian's; what is built and run on them is the project's own, as it is written.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.conftest import CLINIC
from tests.e2e.engine import PROJECT, with_docker
from tests.e2e.nspawn import Machine, with_nspawn
from tests.e2e.signing import Signer, ec_signer, entry
from tests.runbook import IN_CONTAINERS, in_prose, run_by

pytestmark = [with_nspawn, pytest.mark.timeout(1800)]

COMMANDS = [typed.command for typed in run_by(IN_CONTAINERS)]
DEPLOY = f"{PROJECT}/examples/deploy"
HOST = "covercard.example.org"
ORDER_SIGN = "/cds-services/order-sign-crd"


@dataclass
class Engine:
    """The machine with Docker, and a client that the service there knows."""

    machine: Machine
    signer: Signer

    def asks(self, path: str, given: bytes = b"", *headers: str) -> tuple[int, str]:
        """Status and body of an answer, from outside: through nginx, by TLS."""
        options = "".join(f" --header '{header}'" for header in headers)
        options += " --data-binary @-" if given else ""
        out = self.machine.does(
            "curl --silent --show-error --write-out '\n%{http_code}' --max-time 30"
            f" --cacert {DEPLOY}/secrets/tls/fullchain.pem --resolve {HOST}:443:127.0.0.1"
            f"{options} https://{HOST}{path}",
            given=given,
        )
        body, _, status = out.rpartition("\n")
        return int(status), body

    def fires(self) -> tuple[int, str]:
        call = fixture_text_today(FIXTURES / "order-sign" / "mrs-medicare-advantage.json")
        [(name, value)] = self.signer.call(f"https://{HOST}{ORDER_SIGN}").items()
        plain = "Content-Type: application/json"
        return self.asks(ORDER_SIGN, call.encode(), plain, f"{name}: {value}")

    def compose(self, words: str) -> str:
        return self.machine.does(f"docker compose {words}", cwd=DEPLOY)

    def is_well(self) -> None:
        """Wait until the image's own health check says so."""
        until = time.monotonic() + 180
        while (said := self.health()) != "healthy":
            assert time.monotonic() < until, f"{said}\n{self.compose('logs --tail 30')}"
            time.sleep(1)

    def health(self) -> str:
        name = self.compose("ps --all --quiet covercard").strip()
        shown = self.machine.does(f"docker inspect --format '{{{{.State.Health.Status}}}}' {name}")
        return shown.strip()


def secrets_are_written(machine: Machine, signer: Signer) -> None:
    """The files that compose.yaml says it needs, for the users that it names."""
    place = f"{DEPLOY}/secrets"
    machine.writes(
        f"{place}/database-url", "postgresql+psycopg://covercard:a-password@postgres/covercard\n"
    )
    machine.writes(f"{place}/clients.yaml", json.dumps({"clients": [entry(signer)]}))
    machine.writes(f"{place}/postgres-password", "a-password")
    machine.does(
        "mkdir tls && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=covercard'"
        f" -addext subjectAltName=DNS:{HOST} -keyout tls/privkey.pem -out tls/fullchain.pem"
        " && chmod 400 database-url clients.yaml postgres-password tls/privkey.pem"
        " && chown 10001 database-url clients.yaml && chown postgres postgres-password",
        cwd=place,
    )


def the_image_is_built_and_the_service_comes_up(
    engine: Engine,
) -> None:
    assert len(COMMANDS) == 2
    for command in COMMANDS:
        done = engine.machine.run(command, cwd=PROJECT, seconds=600)
        if done.returncode != 0:
            logs = engine.machine.run("docker compose logs --tail 30", cwd=DEPLOY).stdout
            raise AssertionError(f"{command}\n{done.stdout}{done.stderr}\n{logs}")
    engine.is_well()
    # Through nginx: discovery for everybody, an answer for the client, nothing that is inside.
    assert engine.asks("/cds-services")[0] == 200
    assert engine.asks(ORDER_SIGN, b"{}", "Content-Type: application/json")[0] == 401
    assert engine.asks("/metrics")[0] == 404
    status, body = engine.fires()
    assert status == 200, body
    (assertion,) = re.findall(r"cc[0-9a-f]{30}", body)
    # It is in PostgreSQL, and the chain is whole.
    covercard = "exec -T covercard covercard"
    until = time.monotonic() + 30
    while (
        "not-covered"
        not in engine.machine.run(
            f"docker compose {covercard} decisions show {assertion}", cwd=DEPLOY
        ).stdout
    ):
        assert time.monotonic() < until
        time.sleep(0.5)
    engine.compose(f"{covercard} decisions verify")
    # A container that comes again has its records.
    engine.compose("restart covercard")
    engine.is_well()
    assert "not-covered" in engine.compose(f"{covercard} decisions show {assertion}")
    assert engine.fires()[0] == 200


def after_a_reload_a_client_that_is_out_gets_in_no_more(engine: Engine) -> None:
    assert engine.fires()[0] == 200
    engine.machine.does(
        f"printf '%s' '{json.dumps({'clients': [entry(ec_signer(CLINIC))]})}' >clients.yaml",
        cwd=f"{DEPLOY}/secrets",
    )
    [command] = in_prose("docker compose exec")
    # Typed by a person it has a terminal, and here none.
    engine.machine.does(command.replace(" exec ", " exec -T "), cwd=DEPLOY)
    assert engine.fires()[0] == 401


def it_is_a_user_who_writes_its_own_folders_alone(
    engine: Engine,
) -> None:
    inside = "exec -T covercard"
    assert engine.compose(f"{inside} id --user").strip() == "10001"
    for place in ("/", "/opt/covercard", "/opt/covercard/.venv/bin", "/etc"):
        refused = engine.machine.run(f"docker compose {inside} touch {place}/a-file", cwd=DEPLOY)
        assert refused.returncode != 0, place
    engine.compose(f"{inside} touch /var/lib/covercard/a-file /tmp/a-file")
    assert "CapEff:\t0000000000000000" in engine.compose(f"{inside} grep CapEff /proc/1/status")


def a_stop_is_heard_and_ends_in_order(engine: Engine) -> None:
    engine.compose("stop covercard")
    name = engine.compose("ps --all --quiet covercard").strip()
    state = "{{.State.ExitCode}} {{.State.OOMKilled}}"
    assert engine.machine.does(f"docker inspect --format '{state}' {name}").split() == [
        "0",
        "false",
    ]
    engine.compose("down --volumes")


def test_the_commands_in_their_order_and_what_is_then_running(tmp_path: Path) -> None:
    with with_docker(tmp_path) as machine:
        signer = ec_signer(CLINIC, kid="clinic-1")
        secrets_are_written(machine, signer)
        engine = Engine(machine, signer)
        the_image_is_built_and_the_service_comes_up(engine)
        it_is_a_user_who_writes_its_own_folders_alone(engine)
        after_a_reload_a_client_that_is_out_gets_in_no_more(engine)
        a_stop_is_heard_and_ends_in_order(engine)
