"""The policy snapshot: read once, known by its digest wherever an answer or a page is looked at."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.bootstrap.snapshot import (
    Snapshot,
    as_bytes,
    digests_on_disk,
    from_bytes,
    read_snapshot,
)
from service.cli import cli
from service.errors import ConfigurationError
from service.policies import library_files
from service.settings import Settings
from tests.conftest import FIXTURES, NOW, ROOT, in_folder, settle
from tests.e2e.readers import READER, SECRET, readers_file
from tests.policies import SOUND

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
BROWSER = {"Accept": "text/html,*/*;q=0.8"}
CLIENTS = ROOT / "examples" / "clients.example.yaml"


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path, readers_file=readers_file(tmp_path))


@pytest.fixture
def snapshot(own: Settings) -> Snapshot:
    return read_snapshot(own)


@pytest.fixture
def http(own: Settings, snapshot: Snapshot) -> Iterator[FlaskClient]:
    app = create_app(own, clock=lambda: NOW, snapshot=snapshot)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def test_readiness_and_metrics_tell_the_digests(http: FlaskClient, snapshot: Snapshot) -> None:
    digests = snapshot.digests
    told = http.get("/readyz").get_json()["checks"]["snapshot"]
    assert (told["policies"], told["access"]) == (digests.policies, digests.access)
    line = f'covercard_snapshot{{access="{digests.access}",policies="{digests.policies}"}} 1.0'
    assert line in http.get("/metrics").text.splitlines()


def test_each_page_tells_the_digest(http: FlaskClient, snapshot: Snapshot) -> None:
    http.post("/decisions/sign-in", data={"name": READER, "secret": SECRET})
    digest = snapshot.digests.policies
    for page in ("/", "/policies", "/policies/mr-spectroscopy", "/decisions"):
        reply = http.get(page, headers=BROWSER)
        assert reply.status_code == 200
        assert f"<code>{digest}</code>" in reply.text, page
    for data in ("/policies.json", "/policies/mr-spectroscopy.json"):
        assert http.get(data).get_json()["policies_digest"] == digest


def test_a_record_keeps_the_digest_and_each_way_to_look_at_it_shows_it(
    http: FlaskClient, own: Settings, snapshot: Snapshot, fixture: Read, monkeypatch: Any
) -> None:
    answer = http.post(URL, json=fixture("order-sign/mrs-medicare-advantage"))
    assert answer.status_code == 200
    settle(http)
    digest = snapshot.digests.policies
    call = answer.headers["Covercard-Call"].replace("-", "")
    monkeypatch.setenv("COVERCARD_DATABASE_URL", own.database_url)
    monkeypatch.setenv("COVERCARD_RECORDS_DIR", str(own.records_dir))
    run = CliRunner()
    shown = run.invoke(cli, ["decisions", "show", call])
    assert digest in shown.output
    (line,) = run.invoke(cli, ["decisions", "export"]).output.splitlines()
    assert json.loads(line)["policies_digest"] == digest
    table = run.invoke(cli, ["decisions", "export", "--format", "csv"]).output
    (row,) = csv.DictReader(io.StringIO(table))
    assert row["policies_digest"] == digest
    http.post("/decisions/sign-in", data={"name": READER, "secret": SECRET})
    (token, *_) = re.findall(r'name="form_token" value="([^"]+)"', http.get("/decisions").text)
    page = http.post("/decisions", data={"form_token": token, "call": call}, headers=BROWSER)
    assert f"<dd>{digest}</dd>" in page.text


def test_fire_explains_by_which_policies(snapshot: Snapshot) -> None:
    file = FIXTURES / "order-sign" / "mrs-medicare-advantage.json"
    told = CliRunner().invoke(cli, ["fire", str(file), "--explain"])
    assert f"Policies: {snapshot.digests.policies}" in told.output


def test_what_is_handed_to_another_process_answers_the_same(
    own: Settings, snapshot: Snapshot, fixture: Read
) -> None:
    answers = []
    for each in (snapshot, from_bytes(as_bytes(snapshot))):
        app = create_app(own, clock=lambda: NOW, snapshot=each)
        reply = app.test_client().post(URL, json=fixture("order-sign/mrs-medicare-advantage"))
        page = app.test_client().get("/policies/mr-spectroscopy.json")
        answers.append(([c["summary"] for c in reply.get_json()["cards"]], page.get_json()))
        app.extensions[RECORDER].stop()
    assert answers[0] == answers[1]
    assert from_bytes(as_bytes(snapshot)).digests == snapshot.digests


@pytest.mark.parametrize("library", [SOUND, ROOT / "examples" / "policies"])
def test_every_library_can_be_handed_over(library: Path, tmp_path: Path) -> None:
    settings = in_folder(tmp_path, policies_dir=library, clients_file=CLIENTS)
    read = read_snapshot(settings)
    other = from_bytes(as_bytes(read))
    assert [v.version for v in other.library.policies] == [v.version for v in read.library.policies]
    assert other.digests == read.digests
    assert other.clients is not None
    assert other.clients.trusted().keys() == {
        "https://ehr.hospital.example.org",
        "https://ehr.clinic.example.org",
    }


def test_a_changed_client_changes_what_is_told_and_a_changed_secret_only_what_is_not(
    tmp_path: Path,
) -> None:
    clients = tmp_path / "clients.yaml"
    shutil.copy(CLIENTS, clients)
    readers = readers_file(tmp_path)
    settings = in_folder(tmp_path, clients_file=clients, readers_file=readers)
    before = digests_on_disk(settings)
    assert SECRET not in repr(before)
    assert before.secret not in repr(before)
    readers.write_text(readers.read_text("utf-8").replace(SECRET, SECRET[::-1]), "utf-8")
    other_secret = digests_on_disk(settings)
    # An oracle to try guessed secrets against is not shown to everyone at /readyz.
    assert (other_secret.policies, other_secret.access) == (before.policies, before.access)
    assert other_secret.secret != before.secret
    text = clients.read_text("utf-8")
    clients.write_text(text.replace("name: Example Clinic", "name: Clinic"), "utf-8")
    assert digests_on_disk(settings).access != before.access


def test_files_that_change_under_the_reader_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    shutil.copytree(SOUND, library)
    settings = in_folder(tmp_path, policies_dir=library)
    policy = library / "example-scan" / "2024-01-01.yaml"
    changes = iter(("Once. ", "Never. "))
    from service.bootstrap import snapshot as module

    def load(*places: Any) -> Any:
        loaded = real(*places)
        with_change = next(changes, None)
        if with_change is not None:
            policy.write_text(f"# {with_change}\n" + policy.read_text("utf-8"), "utf-8")
        return loaded

    real = module.load_library
    monkeypatch.setattr(module, "load_library", load)
    read = module.read_snapshot(settings)
    with module.library_places(settings) as places:
        assert read.digests.policies == library_files.digest_on_disk(places)
    changes = iter(map(str, range(10)))
    with pytest.raises(ConfigurationError, match="files are changed while they are read"):
        module.read_snapshot(settings)
