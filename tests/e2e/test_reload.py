"""Reload of the policy snapshot: all workers switch between two calls, or none does and why."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from service.policies.bundle import bundle_bytes, signing_key
from service.policies.library_files import LibraryPlaces, read_files
from tests.e2e.decision_log.instances import until
from tests.e2e.decision_log.test_stopping import begin_call, end_call
from tests.e2e.processes import workers_of
from tests.e2e.readers import ReaderBrowser, readers_file
from tests.e2e.servers import SERVE, Server, environment, free_port, running
from tests.e2e.signing import Signer, ec_signer, entry, write_clients
from tests.policies import LIBRARY, PAYERS
from tests.unit.test_bundle import MADE, private_pem, public_pem

JSON = {"Content-Type": "application/json"}
ORDER_SIGN = "/cds-services/order-sign-crd"
BEFORE, AFTER = "Not covered", "Never covered"


class Service:
    """A service of two workers with a library of its own, and `covercard reload` for it."""

    def __init__(self, folder: Path, server: Server, settings: dict[str, object]) -> None:
        self.folder = folder
        self.server = server
        self.settings = settings
        self.policy = folder / "library" / "mr-spectroscopy" / "2023-10-01.yaml"

    def reload(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SERVE[:-1], "reload", *options],
            cwd=self.folder,
            env=environment(self.settings),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def edit(self, old: str = BEFORE, new: str = AFTER) -> None:
        """Change words of the policy's summary."""
        text = self.policy.read_text("utf-8")
        assert f'summary: "{old}' in text
        self.policy.write_text(text.replace(f'summary: "{old}', f'summary: "{new}'), "utf-8")

    def sign(self, order: bytes) -> str:
        """The summary of the first card for an order."""
        reply = self.server.post(ORDER_SIGN, data=order, headers=JSON)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["cards"][0]["summary"])

    def snapshot(self) -> dict[str, Any]:
        told: dict[str, Any] = self.server.get("/readyz").json()
        return {**told["checks"]["snapshot"], "warnings": told["warnings"]}

    def digests(self, times: int = 20) -> set[str]:
        """The digests that several requests, each on a connection of its own, are told."""
        return {self.snapshot()["policies"] for _ in range(times)}

    def workers(self) -> list[int]:
        return workers_of(self.server.process.pid)

    def told(self, event: str) -> list[dict[str, Any]]:
        return self.server.told(event)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Any]:
    """Begins a service with further settings; it is stopped at the test's end."""
    shutil.copytree(LIBRARY, tmp_path / "library")
    shutil.copy(PAYERS, tmp_path / "library" / "payers.yaml")
    with ExitStack() as started:

        def start(**further: object) -> Service:
            settings: dict[str, object] = {
                "port": free_port(),
                "workers": 2,
                "policies_dir": tmp_path / "library",
                **further,
            }
            server = started.enter_context(running(tmp_path, **settings))
            return Service(tmp_path, server, settings)

        yield start


REFUSED = "reload refused: the snapshot of before stays in force"


def test_edited_policies_come_into_force_in_all_workers_and_the_command_says_so(
    begin: Any, order: bytes
) -> None:
    service = begin()
    (before,) = service.digests()
    service.edit()
    assert service.digests() == {before}
    assert service.sign(order).startswith(BEFORE)
    done = service.reload()
    assert done.returncode == 0, done.stderr
    (after,) = service.digests()
    assert after != before
    assert f"in force: policies {after}, access " in done.stdout
    assert "cases passed" in done.stdout
    assert {service.sign(order)[: len(AFTER)] for _ in range(20)} == {AFTER}
    (line,) = service.told("snapshot in force")
    assert line["policies"] == after
    assert service.snapshot()["reload"]["state"] == "in force"
    again = service.reload()
    assert again.returncode == 0
    assert f"the files are in force already: policies {after}" in again.stdout


def test_while_calls_come_in_none_is_lost_and_none_contradicts_an_earlier_one(
    begin: Any, order: bytes
) -> None:
    service = begin()
    (before,) = service.digests()
    answers: list[tuple[float, float, str]] = []
    failures: list[str] = []
    stop = threading.Event()

    def hammer() -> None:
        with requests.Session() as session:  # one connection, kept alive
            while not stop.is_set():
                begun = time.monotonic()
                try:
                    reply = session.post(
                        service.server.base + ORDER_SIGN, data=order, headers=JSON, timeout=60
                    )
                    assert reply.status_code == 200, reply.text
                    summary = reply.json()["cards"][0]["summary"]
                except (requests.RequestException, AssertionError) as error:
                    failures.append(repr(error))
                    return
                answers.append((begun, time.monotonic(), summary[: len(AFTER)]))

    callers = [threading.Thread(target=hammer) for _ in range(4)]
    for caller in callers:
        caller.start()
    time.sleep(0.5)
    switches = []
    for old, new in ((BEFORE, AFTER), (AFTER, BEFORE), (BEFORE, AFTER)):
        service.edit(old, new)
        asked = time.monotonic()
        done = service.reload()
        assert done.returncode == 0, done.stderr
        switches.append((asked, time.monotonic(), new))
    time.sleep(0.5)
    stop.set()
    for caller in callers:
        caller.join(60)
    assert failures == []
    assert len(answers) > 50
    for begun, ended, summary in answers:
        former = [new for _, done_at, new in switches if done_at <= begun]
        meanwhile = [new for asked, done_at, new in switches if asked <= ended and done_at > begun]
        possible = {[BEFORE, *former][-1], *meanwhile}
        assert any(summary.startswith(words) for words in possible), (summary, possible)
    assert before not in service.digests()


def test_a_call_ends_under_the_snapshot_that_it_began_with(begin: Any) -> None:
    """It is held in its body: an EHR that it waits for has half a minute at most, and a reload may
    take longer where others need the processors.
    """
    service = begin(body_timeout=60)
    (before,) = service.digests()
    connection = begin_call(service.server.port)
    service.edit()
    assert service.reload().returncode == 0
    (after,) = service.digests()
    assert after != before
    status, _, answer = end_call(connection).partition(b"\n")
    assert status.endswith(b"200 OK")
    assert json.loads(answer)["cards"][0]["summary"].startswith(BEFORE)
    until(lambda: kept_digests(service), "the call is in the log")
    assert kept_digests(service) == [before]


def kept_digests(service: Service) -> list[str]:
    """The digests in the records of all calls."""
    with closing(sqlite3.connect(service.folder / "var" / "covercard.sqlite3")) as log:
        return [digest for (digest,) in log.execute("SELECT policies_digest FROM call")]


def broken_yaml(service: Service) -> None:
    service.policy.write_text(service.policy.read_text("utf-8") + "\n\tnot: yaml: at all", "utf-8")


def a_failing_case(service: Service) -> None:
    cases = service.policy.parent / "cases.yaml"
    text = cases.read_text("utf-8")
    cases.write_text(text.replace("covered: not-covered", "covered: covered", 1), "utf-8")


def an_unknown_policy_of_a_payer(service: Service) -> None:
    payers = service.folder / "library" / "payers.yaml"
    payers.write_text(payers.read_text("utf-8").replace("mr-spectroscopy", "no-such"), "utf-8")


def none_in_force(service: Service) -> None:
    service.policy.unlink()


def no_policies(service: Service) -> None:
    shutil.move(service.folder / "library", service.folder / "moved")


@pytest.mark.threat("unchecked-policy")
@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (broken_yaml, "2023-10-01.yaml"),
        (a_failing_case, "cases fail"),
        (an_unknown_policy_of_a_payer, "no-such"),
        (no_policies, "cannot be read"),
        (none_in_force, "no policy would be in force today"),
    ],
)
def test_wrong_files_are_refused_with_the_reason_and_what_is_in_force_stays(
    begin: Any, order: bytes, break_it: Any, why: str
) -> None:
    service = begin()
    (before,) = service.digests()
    break_it(service)
    done = service.reload()
    assert done.returncode == 1
    assert f"refused, the service goes on with policies {before}" in done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    (line,) = service.told(REFUSED)
    assert why in line["why"]
    told = service.snapshot()
    assert (told["status"], told["files"], told["policies"]) == ("degraded", "differ", before)
    assert told["reload"]["state"] == "refused"
    assert any("covercard reload" in warning for warning in told["warnings"])
    assert any("the last reload was refused" in warning for warning in told["warnings"])
    assert service.sign(order).startswith(BEFORE)
    # A worker that dies comes again with what is in force, whatever the files are.
    old = service.workers()
    os.kill(old[0], signal.SIGKILL)
    wait_for_workers(service, without=old[0])
    assert service.digests() == {before}
    assert service.sign(order).startswith(BEFORE)


def wait_for_workers(service: Service, without: int) -> None:
    """Wait until there are two workers again, none of which is that one."""

    def are_there() -> bool:
        now = service.workers()
        return without not in now and len(now) == 2

    until(are_there, "the worker comes again")
    time.sleep(1.5)  # it loads; whoever connects meanwhile reaches the other one


@pytest.mark.threat("unchecked-policy")
def test_a_worker_that_dies_after_a_reload_comes_again_with_the_snapshot_in_force(
    begin: Any, order: bytes
) -> None:
    service = begin()
    service.edit()
    assert service.reload().returncode == 0
    (after,) = service.digests()
    broken_yaml(service)
    old = service.workers()
    os.kill(old[0], signal.SIGKILL)
    wait_for_workers(service, without=old[0])
    assert service.digests(40) == {after}
    assert service.sign(order).startswith(AFTER)


def test_sighup_does_the_same(begin: Any, order: bytes) -> None:
    service = begin()
    service.edit()
    service.server.process.send_signal(signal.SIGHUP)
    assert service.told("snapshot in force")
    assert service.sign(order).startswith(AFTER)
    # Those of before go on: no call is lost.
    assert len(service.workers()) == 2


def test_many_reloads_at_once_end_with_the_files_as_they_are(begin: Any, order: bytes) -> None:
    service = begin()
    workers = service.workers()
    for old, new in ((BEFORE, AFTER), (AFTER, BEFORE), (BEFORE, AFTER)):
        service.edit(old, new)
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(service.reload) for _ in range(3)]
            for _ in asked:
                service.server.process.send_signal(signal.SIGHUP)
            assert [each.result().returncode for each in asked] == [0] * 3
        assert service.sign(order).startswith(new)
    assert service.workers() == workers


def opened(process: int) -> tuple[int, int]:
    """The descriptors and threads of a process."""
    return len(list(Path(f"/proc/{process}/fd").iterdir())), len(
        list(Path(f"/proc/{process}/task").iterdir())
    )


def test_reloads_leave_no_threads_and_no_open_files_behind(begin: Any, order: bytes) -> None:
    service = begin(call_counts="database")
    service.sign(order)
    words = [BEFORE, AFTER]
    for _ in range(2):
        service.edit(*words)
        words.reverse()
        assert service.reload().returncode == 0
    processes = [service.server.process.pid, *service.workers()]
    for _ in range(10):
        service.sign(order)
    before = [opened(process) for process in processes]
    for _ in range(6):
        service.edit(*words)
        words.reverse()
        assert service.reload().returncode == 0
        for _ in range(4):
            service.sign(order)
    after = [opened(process) for process in processes]
    for (files, threads), (files_after, threads_after) in zip(before, after, strict=True):
        # Threads for requests come and go: there is room for those of a few more.
        assert files_after <= files + 4
        assert threads_after <= threads + 4


def test_without_a_running_service_the_command_says_so(begin: Any) -> None:
    service = begin()
    other = service.settings | {"port": free_port()}
    service.settings, own = other, service.settings
    done = service.reload()
    assert done.returncode == 2
    assert "no service runs" in done.stderr
    service.settings = own
    # One that was killed left its file: another process may have its number by now.
    service.server.process.kill()
    service.server.process.wait()
    done = service.reload()
    assert done.returncode == 2
    assert "no service runs" in done.stderr


def posted(service: Service, signer: Signer, order: bytes) -> int:
    url = service.server.base + ORDER_SIGN
    return requests.post(
        url, data=order, headers={**JSON, **signer.call(url)}, timeout=30
    ).status_code


@pytest.mark.parametrize("how", ["removed", "revoked"])
def test_a_revoked_client_is_out_at_the_next_call_and_the_others_stay(
    begin: Any, order: bytes, tmp_path: Path, how: str
) -> None:
    hospital = ec_signer("https://ehr.hospital.example.org")
    clinic = ec_signer("https://ehr.clinic.example.org", kid="clinic")
    entries = [entry(hospital), entry(clinic)]
    service = begin(clients_file=write_clients(tmp_path, *entries))
    for signer in (hospital, clinic):
        assert posted(service, signer, order) == 200
    access = service.snapshot()["access"]
    if how == "removed":
        write_clients(tmp_path, entries[1])
    else:
        write_clients(tmp_path, {**entries[0], "revoked": True}, entries[1])
    done = service.reload()
    assert done.returncode == 0, done.stderr
    assert {posted(service, hospital, order) for _ in range(12)} == {401}
    assert {posted(service, clinic, order) for _ in range(12)} == {200}
    assert service.snapshot()["access"] != access
    # Back again.
    write_clients(tmp_path, *entries)
    assert service.reload().returncode == 0
    assert posted(service, hospital, order) == 200


def test_a_broken_clients_file_is_refused_and_quotes_nothing(
    begin: Any, order: bytes, tmp_path: Path
) -> None:
    hospital = ec_signer("https://ehr.hospital.example.org")
    service = begin(clients_file=write_clients(tmp_path, entry(hospital)))
    (tmp_path / "clients.yaml").write_text("clients: [{issuer: secret-thing, jwks: {}, x: y}]")
    done = service.reload()
    assert done.returncode == 1
    assert "clients.yaml" in done.stderr
    assert "secret-thing" not in done.stderr + service.server.printed()
    assert posted(service, hospital, order) == 200


@pytest.mark.parametrize("how", ["removed", "another secret"])
def test_the_session_of_a_removed_reader_ends(begin: Any, tmp_path: Path, how: str) -> None:
    service = begin(readers_file=readers_file(tmp_path))
    browser = ReaderBrowser(service.server)
    assert browser.sign_in().url.endswith("/decisions")
    page = service.server.base + "/decisions"
    assert browser.get(page, timeout=30, allow_redirects=False).status_code == 200
    if how == "removed":
        readers_file(tmp_path, name="somebody else")
    else:
        readers_file(tmp_path, secret="q9wLk3X-vLwT7_b2Zr8NfYc5HdMj4PsAeGx")
    assert service.reload().returncode == 0
    for _ in range(12):
        reply = browser.get(page, timeout=30, allow_redirects=False)
        assert (reply.status_code, reply.headers["Location"]) == (303, "/decisions/sign-in")


def test_start_command_and_readiness_tell_when_the_bundle_was_made_and_no_older_one_is_taken(
    begin: Any, tmp_path: Path
) -> None:
    key, file = private_pem(tmp_path), tmp_path / "policies.bundle"
    files = dict(read_files(LibraryPlaces(tmp_path / "library", tmp_path / "library/payers.yaml")))
    moments = [MADE + timedelta(days=day) for day in (0, 1, 2)]
    file.write_bytes(bundle_bytes(files, signing_key(key), moments[1]))
    service = begin(policies_dir="", policy_bundle=file, policy_bundle_key=public_pem(tmp_path))
    assert service.server.says(f"Policies of the bundle made {moments[1].isoformat()}")
    assert service.snapshot()["bundle_made"] == moments[1].isoformat()
    name = "policies/mr-spectroscopy/2023-10-01.yaml"
    files[name] = files[name].replace(BEFORE.encode(), AFTER.encode())
    file.write_bytes(bundle_bytes(files, signing_key(key), moments[0]))
    done = service.reload()
    assert done.returncode == 1
    assert f"was made {moments[0].isoformat()}" in done.stderr
    assert service.snapshot()["bundle_made"] == moments[1].isoformat()
    file.write_bytes(bundle_bytes(files, signing_key(key), moments[2]))
    done = service.reload()
    assert done.returncode == 0, done.stderr
    assert f"bundle made {moments[2].isoformat()}" in done.stdout
    assert {service.snapshot()["bundle_made"] for _ in range(20)} == {moments[2].isoformat()}
