"""covercard decisions evidence: one file for a dispute, which needs and runs nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.cli import cli
from service.database.engines import database_file
from service.settings import Settings
from tests.conftest import in_folder, settle
from tests.contract.answer_rules import parts, stated

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[2J"


class Page(HTMLParser):
    """The elements, the text a reader sees, and the JSON of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.json = ""
        self._within: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inner = self._within[-1] if self._within else ""
        if inner == "script":
            self.json += data
        elif inner != "style":
            self.text += f" {' '.join(data.split())}" if inner != "pre" else data


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path / "records")


@pytest.fixture
def http(own: Settings) -> Iterator[FlaskClient]:
    app = create_app(own)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture
def run(own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("COVERCARD_DATABASE_URL", own.database_url)
    monkeypatch.setenv("COVERCARD_RECORDS_DIR", str(own.records_dir))
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["decisions", *arguments], catch_exceptions=False)

    return invoke


Run = Callable[..., Result]


def posted(http: FlaskClient, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The assertion id and the answer of a call."""
    answer = http.post(URL, json=request).get_json()
    settle(http)
    (statement,) = stated(answer)
    (told,) = parts(statement, "coverage-assertion-id")
    return str(told), answer


def test_the_file_has_all_that_is_on_record_to_read_and_as_json(
    run: Run, http: FlaskClient, fixture: Read, tmp_path: Path, own: Settings
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request.pop("fhirAuthorization", None)
    assertion_id, answer = posted(http, request)
    item = {
        "card": answer["cards"][0]["uuid"],
        "outcome": "overridden",
        "overrideReason": {"userComment": "the plan has agreed"},
        "outcomeTimestamp": "2026-12-01T10:00:00Z",
    }
    http.post(f"{URL}/feedback", json={"feedback": [item]})
    written = run("evidence", assertion_id)
    assert written.exit_code == 0, written.output
    file = tmp_path / f"evidence-{assertion_id}.html"
    assert str(file.name) in written.output
    assert file.stat().st_mode & 0o777 == 0o600
    page = Page(file.read_text("utf-8"))
    policy = (own.policies_dir / "mr-spectroscopy" / "2023-10-01.yaml").read_text("utf-8")
    for told in (
        assertion_id,
        "not-covered",
        "Patient/ann",
        "ServiceRequest/mrs-brain: 76390",
        answer["cards"][0]["summary"],
        "the plan has agreed",
        "76390 is in group mrs",
        "What the payer's own records said",
        "Place in the chain of records",
        "mr-spectroscopy/2023-10-01.yaml",
        "with this very text",
        policy,
    ):
        assert told in page.text, told
    kept = json.loads(page.json)
    assert json.loads(kept["request"]["text"]) == request
    assert json.loads(kept["answer"]["text"]) == answer
    for body in ("request", "answer"):
        digest = hashlib.sha256(kept[body]["text"].encode()).hexdigest()
        assert digest == kept[body]["sha256"]
        assert digest in page.text
    assert kept["policy"]["text"] == policy
    assert kept["policy"]["is_as_published"] is True
    assert kept["decision"]["covered"] == "not-covered"
    assert {"coding", "coverage", "policy"} <= {topic for topic, _, _ in kept["trace"]}
    assert kept["call"]["feedback"][0]["comment"] == "the plan has agreed"
    assert kept["chain"] == proof_of(own, kept["call"]["call_id"])
    assert kept["chain"]["hash"] in page.text


def proof_of(own: Settings, call_id: str) -> dict[str, Any]:
    """The place of a call's record, as the chain has it."""
    with sqlite3.connect(database_file(own.database_url)) as log:
        chain, sequence, own_hash, content = log.execute(
            "SELECT chain, sequence, hash, content_hash FROM chain_record WHERE call_id = ?",
            [call_id],
        ).fetchone()
    log.close()
    return {
        "chain": f"{chain:016x}",
        "sequence": sequence,
        "hash": own_hash.hex(),
        "content_hash": content.hex(),
    }


def test_evidence_is_never_overwritten(
    run: Run, http: FlaskClient, fixture: Read, tmp_path: Path
) -> None:
    assertion_id, _ = posted(http, fixture("order-sign/mrs-medicare-advantage"))
    file = tmp_path / "dispute.html"
    file.write_text("an earlier one")
    refused = run("evidence", assertion_id, "--output", str(file))
    assert refused.exit_code == 1
    assert "never overwritten" in refused.output
    assert file.read_text() == "an earlier one"
    (tmp_path / "link.html").symlink_to(tmp_path / "elsewhere.html")
    assert run("evidence", assertion_id, "--output", str(tmp_path / "link.html")).exit_code == 1
    assert not (tmp_path / "elsewhere.html").exists()
    nowhere = run("evidence", assertion_id, "--output", str(file / "below.html"))
    assert nowhere.exit_code == 1
    assert "cannot be written" in nowhere.output


@pytest.mark.threat("output-injection")
def test_what_a_call_holds_is_shown_as_text_and_runs_nothing(
    run: Run, http: FlaskClient, fixture: Read, tmp_path: Path
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    request["hookInstance"] = HOSTILE
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["code"]["text"] = HOSTILE
    order["code"]["coding"][0]["display"] = HOSTILE
    assertion_id, answer = posted(http, request)
    http.post(
        f"{URL}/feedback",
        json={
            "feedback": [
                {
                    "card": answer["cards"][0]["uuid"],
                    "outcome": "overridden",
                    "overrideReason": {"userComment": HOSTILE},
                    "outcomeTimestamp": "2026-12-01T10:00:00Z",
                }
            ]
        },
    )
    assert run("evidence", assertion_id).exit_code == 0
    html = (tmp_path / f"evidence-{assertion_id}.html").read_text("utf-8")
    assert not {"\u202e", "\x1b"} & set(html)
    page = Page(html)
    scripts = [attrs for tag, attrs in page.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "evidence"}]
    assert not [tag for tag, _ in page.elements if tag in ("img", "iframe", "object", "base")]
    names = {name for _, attrs in page.elements for name in attrs}
    assert not [name for name in names if name.startswith("on") or name == "src"]
    kept = json.loads(page.json)
    assert json.loads(kept["request"]["text"])["hookInstance"] == HOSTILE


def test_the_file_loads_nothing_from_elsewhere(
    run: Run, http: FlaskClient, fixture: Read, tmp_path: Path
) -> None:
    assertion_id, _ = posted(http, fixture("order-sign/mrs-medicare-advantage"))
    run("evidence", assertion_id)
    page = Page((tmp_path / f"evidence-{assertion_id}.html").read_text("utf-8"))
    assert not [tag for tag, _ in page.elements if tag in ("link", "img", "iframe")]
    (policy,) = [
        attrs["content"]
        for tag, attrs in page.elements
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert str(policy).startswith("default-src 'none'")


def test_a_policy_that_was_changed_or_is_gone_is_told(
    run: Run,
    http: FlaskClient,
    fixture: Read,
    own: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assertion_id, _ = posted(http, fixture("order-sign/mrs-medicare-advantage"))
    library = tmp_path / "library"
    shutil.copytree(own.policies_dir, library)
    version = library / "mr-spectroscopy" / "2023-10-01.yaml"
    version.write_text(version.read_text("utf-8") + "# a late remark\n", "utf-8")
    monkeypatch.setenv("COVERCARD_POLICIES_DIR", str(library))
    run("evidence", assertion_id, "--output", "changed.html")
    changed = Page((tmp_path / "changed.html").read_text("utf-8"))
    assert "with another text: the file was changed since" in changed.text
    assert "# a late remark" in changed.text
    assert json.loads(changed.json)["policy"]["is_as_published"] is False
    version.unlink()
    run("evidence", assertion_id, "--output", "gone.html")
    gone = Page((tmp_path / "gone.html").read_text("utf-8"))
    assert (
        "Version 2023-10-01 of mr-spectroscopy is not in the library of this machine" in gone.text
    )
    assert json.loads(gone.json)["policy"] is None


def test_evidence_is_of_one_client_and_others_with_the_id_are_told(
    run: Run, http: FlaskClient, fixture: Read, own: Settings, tmp_path: Path
) -> None:
    assertion_id, _ = posted(http, fixture("order-sign/mrs-medicare-advantage"))
    with sqlite3.connect(database_file(own.database_url)) as log:
        (call,) = log.execute("SELECT call_id FROM call").fetchone()
        for table, change in (("call", ", client = 'hospital'"), ("determination", "")):
            log.execute(f"CREATE TEMP TABLE t AS SELECT * FROM {table}")
            log.execute(f"UPDATE t SET call_id = ?{change}", [f"00{call[2:]}"])
            log.execute(f"INSERT INTO {table} SELECT * FROM t")
            log.execute("DROP TABLE t")
    log.close()
    both = run("evidence", assertion_id)
    assert "other clients have a decision with this id (hospital); see --client" in both.stderr
    run("evidence", assertion_id, "--client", "hospital", "--output", "one.html")
    kept = json.loads(Page((tmp_path / "one.html").read_text("utf-8")).json)
    assert kept["decision"]["client"] == "hospital"


def test_an_unknown_assertion_has_no_evidence_and_the_look_is_logged(
    run: Run, http: FlaskClient, fixture: Read, tmp_path: Path
) -> None:
    posted(http, fixture("order-sign/mrs-medicare-advantage"))
    unknown = run("evidence", "cc-nobody")
    assert unknown.exit_code == 1
    assert "no decision has this assertion id" in unknown.output
    assert list(tmp_path.glob("*.html")) == []
    assert "evidence" in run("accesses").output
