"""Three instances behind the nginx of the example, on one PostgreSQL: whatever is done to one of
them, no call is lost, and no two answers contradict each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from service.auth.auth_tables import AUTH
from service.cli.ehr_stub.fhir_server import DEMO_TOKEN
from service.database.engines import open_engine
from service.database.table_revisions import revision, upgrade
from service.decision_log.log_revision import DECISION_LOG
from tests.conftest import FIXTURES, fixture_text_today
from tests.e2e.certificates import Authority
from tests.e2e.conftest import HOSPITAL
from tests.e2e.decision_log.instances import Instance, until
from tests.e2e.decision_log.postgres import PostgresMissing, postgres
from tests.e2e.fetch.ehrs import Ehr, Handler, serve
from tests.e2e.nginx import NGINX, in_front
from tests.e2e.servers import ROOT, free_port
from tests.e2e.signing import Signer, ec_signer, entry, write_clients
from tests.later_version import LATER, migrated

pytestmark = pytest.mark.skipif(
    NGINX is None, reason="nginx is not installed (on Debian: apt-get install nginx-light)"
)

PATH = "/cds-services/order-sign-crd"
LIBRARY = ROOT / "service" / "policies" / "library"
FORMER, PRESENT = "Magnetic Resonance Spectroscopy", "MR Spectroscopy, as published again"
CLIENTS = 4
PAUSE_SECONDS = 0.06
"""Below the calls a second that the example lets through."""


@dataclass(frozen=True)
class Answered:
    """A call's begin by the monotonic clock, its order's number and hookInstance, its status, and
    what it said.
    """

    began: float
    order: int
    instance: str
    status: int
    said: tuple[str, ...]


@dataclass
class Calls:
    """Calls of several clients, one after the other each, until they are told to stop.

    Each client has one of the orders.
    """

    url: str
    trusted: Path
    hospital: Signer | None
    orders: tuple[dict[str, Any], ...]
    clients: int = CLIENTS
    answers: list[Answered] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(number % len(self.orders),), daemon=True)
            for number in range(self.clients)
        ]

    def __enter__(self) -> Calls:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)

    def more(self, number: int = 15) -> None:
        """Wait until so many more calls, begun from now on, are answered."""
        now = time.monotonic()
        until(
            lambda: self.broken or sum(a.began >= now for a in self.answers) >= number,
            f"{number} answers; {self.broken[:1]}",
            120,
        )

    def _client(self, number: int) -> None:
        session = requests.Session()
        while not self._stop.is_set():
            instance = str(uuid.uuid4())
            body = {**self.orders[number], "hookInstance": instance}
            headers = self.hospital.call(self.url + PATH) if self.hospital else {}
            began = time.monotonic()
            try:
                reply = session.post(
                    self.url + PATH,
                    json=body,
                    headers=headers,
                    verify=str(self.trusted),
                    timeout=60,
                )
            except requests.RequestException as error:
                self.broken.append(repr(error))
                continue
            self.answers.append(Answered(began, number, instance, reply.status_code, said(reply)))
            time.sleep(PAUSE_SECONDS)


def said(reply: requests.Response) -> tuple[str, ...]:
    """The cards' summaries and links, and what is covered; of a refusal its text."""
    if reply.status_code != 200:
        return (reply.text,)
    answer = reply.json()
    found = []
    for card in answer["cards"]:
        found += [card["summary"], *(link["label"] for link in card.get("links", []))]
    for action in answer["systemActions"]:
        for extension in action["resource"]["extension"]:
            found += [
                part["valueCode"] for part in extension["extension"] if part["url"] == "covered"
            ]
    return tuple(found)


@dataclass
class Site:
    """What the clients see, and what is behind it."""

    folder: Path
    url: str
    trusted: Path
    hospital: Signer | None
    instances: list[Instance]
    database_url: str

    def calls(self, *orders: bytes, clients: int = CLIENTS) -> Calls:
        read = tuple(map(json.loads, orders))
        return Calls(self.url, self.trusted, self.hospital, read, clients)


@contextlib.contextmanager
def three_instances(*, tokens: bool, ehr: str = "") -> Iterator[Site]:
    """Instances of one worker each; with `tokens` a call carries the hospital's, whose EHR is at
    the base URL `ehr`.
    """
    with tempfile.TemporaryDirectory(prefix="covercard-tests-") as name, ExitStack() as started:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            database = started.enter_context(postgres(folder / "postgres", free_port()))
        except PostgresMissing as missing:
            pytest.skip(str(missing))
        upgrade(database.url, DECISION_LOG)
        upgrade(database.url, AUTH)
        authority = Authority(folder, "authority")
        authority.issue("localhost")
        hospital = ec_signer(HOSPITAL) if tokens else None
        port = free_port()
        url = f"https://localhost:{port}"
        instances = []
        for number in (1, 2, 3):
            home = folder / f"instance-{number}"
            shutil.copytree(LIBRARY, home / "policies")
            settings = {
                "workers": 1,
                "database_url": database.url,
                "public_url": url,
                "proxies": 1,
                "policies_dir": home / "policies",
                "payers_file": ROOT / "service" / "policies" / "payers.yaml",
                # An answer does not depend on how busy the machine of the EHR is.
                "fetch_budget_ms": 20_000,
            }
            if hospital is not None:
                known = {**entry(hospital), "fhir_servers": [ehr] if ehr else []}
                settings["clients_file"] = write_clients(home, known)
            instance = Instance(home, free_port(), settings)
            instance.begin()
            started.callback(instance.kill)
            instances.append(instance)
        for instance in instances:
            until(instance.ready, f"{instance.base} answers", 120)
        started.enter_context(in_front(folder, port, *(i.port for i in instances)))
        yield Site(folder, url, authority.file, hospital, instances, database.url)


@pytest.fixture(scope="module")
def open_site() -> Iterator[Site]:
    with three_instances(tokens=False) as site:
        yield site


def stop(instance: Instance) -> None:
    assert instance.process is not None
    instance.process.terminate()
    assert instance.process.wait(timeout=60) == 0


def no_call_is_lost(calls: Calls) -> None:
    assert calls.broken == []
    assert {answer.status for answer in calls.answers} == {200}, Counter(
        (a.status, a.said) for a in calls.answers if a.status != 200
    )


def publish_again(instance: Instance) -> None:
    """Another edition of the policy at this instance."""
    policies = instance.folder / "policies"
    (policies / "manifest.yaml").unlink()
    file = policies / "mr-spectroscopy" / "2023-10-01.yaml"
    text = file.read_text("utf-8")
    assert f"title: {FORMER}\n" in text
    file.write_text(text.replace(f"title: {FORMER}\n", f"title: {PRESENT}\n"), "utf-8")


def test_a_policy_is_switched_by_a_rolling_restart(order: bytes) -> None:
    with three_instances(tokens=True) as site:
        with site.calls(order) as calls:
            calls.more()
            (former,) = {answer.said for answer in calls.answers}
            for instance in site.instances:
                stop(instance)
                publish_again(instance)
                instance.start()
                calls.more(5)
            switched = time.monotonic()
            calls.more(30)
        no_call_is_lost(calls)
    present = tuple(words.replace(FORMER, PRESENT) for words in former)
    assert present != former
    assert {answer.said for answer in calls.answers} == {former, present}
    assert {a.said for a in calls.answers if a.began > switched} == {present}


def test_a_policy_is_switched_while_all_instances_run(open_site: Site, order: bytes) -> None:
    def digests() -> set[str]:
        told = [instance.readiness() for instance in open_site.instances]
        return {each["checks"]["snapshot"]["policies"] for each in told}

    (before,) = digests()
    with open_site.calls(order) as calls:
        calls.more()
        (former,) = {answer.said for answer in calls.answers}
        for instance in open_site.instances:
            assert instance.process is not None
            publish_again(instance)
            instance.process.send_signal(signal.SIGHUP)
        until(lambda: len(digests()) == 1 and before not in digests(), "all have switched")
        switched = time.monotonic()
        calls.more(30)
    no_call_is_lost(calls)
    present = tuple(words.replace(FORMER, PRESENT) for words in former)
    assert {answer.said for answer in calls.answers} == {former, present}
    assert {a.said for a in calls.answers if a.began > switched} == {present}


def test_an_instance_is_killed_and_comes_again(open_site: Site, order: bytes) -> None:
    """Without tokens: one that was let in where it is killed is accepted nowhere else."""
    killed = open_site.instances[1]
    with open_site.calls(order) as calls:
        calls.more()
        for _ in range(2):
            killed.kill()
            calls.more()
            killed.start()
            calls.more(5)
    no_call_is_lost(calls)
    assert len({answer.said for answer in calls.answers}) == 1


def slowly(handler: Handler) -> None:
    """The good answer, late: while an instance waits for it, the call is in its middle."""
    time.sleep(0.3)
    serve(handler)


@pytest.fixture
def slow_ehr() -> Iterator[Ehr]:
    ehr = Ehr()
    ehr.misbehave = dict.fromkeys(("Coverage", "Encounter", "Patient"), slowly)
    yield ehr
    ehr.close()


def read_from(ehr: Ehr) -> bytes:
    """A call whose data are read from this EHR."""
    call = json.loads(fixture_text_today(FIXTURES / "order-sign" / "mrs-original-medicare.json"))
    token = {"access_token": DEMO_TOKEN, "token_type": "Bearer"}
    return json.dumps(
        {**call, "fhirServer": ehr.base, "fhirAuthorization": token, "prefetch": {}}
    ).encode()


KILLS = 5
"""Of an instance, and of a worker after it has come again."""


def test_no_call_with_a_token_is_lost_where_an_instance_is_killed_in_the_middle_of_it(
    slow_ehr: Ehr, order: bytes
) -> None:
    """The proxy repeats the call, with its token, at another instance, which lets it in.

    Where the killed one had put it on record already, the second record says that it is the first
    one's repetition.
    """
    with three_instances(tokens=True, ehr=slow_ehr.base) as site:
        with site.calls(order, read_from(slow_ehr), clients=8) as calls:
            calls.more()
            for kill in range(KILLS):
                killed = site.instances[kill % len(site.instances)]
                time.sleep(random.uniform(0, 0.5))
                killed.kill()
                calls.more()
                killed.start()
                calls.more(5)
                (worker,) = killed.workers()
                time.sleep(random.uniform(0, 0.5))
                os.kill(worker, signal.SIGKILL)
                calls.more()
        no_call_is_lost(calls)
        assert len({(answer.order, answer.said) for answer in calls.answers}) == 2
        marks = marks_by_instance(site)
    assert {answer.instance for answer in calls.answers} <= marks.keys()
    # Of no call there are two records that do not tell which one repeats the other.
    assert all(sum(not repeated for repeated in of_call) <= 1 for of_call in marks.values())
    # The kills came in the middle of calls.
    assert any(any(of_call) for of_call in marks.values())


def marks_by_instance(site: Site) -> dict[str, list[bool]]:
    """By hookInstance, whether each record of it is marked as a repetition, in order."""
    for instance in site.instances:
        until(instance.settled, f"all of {instance.base} is in the database: {instance.ready()}")
    marks: dict[str, list[bool]] = {}
    with open_engine(site.database_url).connect() as connection:
        kept = connection.execute(
            text("SELECT hook_instance, repeated FROM call ORDER BY received_at")
        )
        for instance, repeated in kept:
            marks.setdefault(instance, []).append(bool(repeated))
    return marks


def test_a_later_version_migrates_the_tables_while_this_one_runs(
    open_site: Site, order: bytes, tmp_path: Path
) -> None:
    """And a worker or an instance that dies afterwards comes again, for the tables serve it too."""
    with open_site.calls(order) as calls:
        calls.more()
        migrated(
            open_site.database_url,
            tmp_path / "migrations",
            DECISION_LOG,
            "call",
            usable_from=DECISION_LOG.revision,
        )
        calls.more()
        (worker,) = open_site.instances[0].workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda: open_site.instances[0].workers() not in ([], [worker]), "another came")
        calls.more()
        open_site.instances[1].kill()
        open_site.instances[1].start()
        calls.more()
    no_call_is_lost(calls)
    assert len({answer.said for answer in calls.answers}) == 1
    for instance in open_site.instances:
        until(instance.settled, f"all of {instance.base} is in the database: {instance.ready()}")
    with open_engine(open_site.database_url).connect() as connection:
        kept = connection.execute(text("SELECT count(*) FROM call")).scalar_one()
    assert kept >= len(calls.answers)
    assert revision(open_site.database_url, DECISION_LOG) == LATER
