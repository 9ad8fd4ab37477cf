"""The decision log over HTTP: what its pages say when there is nothing, too much, or trouble."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.bootstrap.app import RECORDER, create_app
from service.database.engines import database_file
from service.decision_log import reading
from service.decision_log.policy_stats import PolicyStats
from service.policies.answer_texts import load_texts
from service.settings import Settings
from service.web.decision_pages import bars
from tests.conftest import FIXTURES, NOW, fixture_text, in_folder
from tests.e2e.readers import READER, SECRET, readers_file

REQUEST = fixture_text(FIXTURES / "order-sign" / "mrs-medicare-advantage.json").encode()
SIGNS_IN = {"name": READER, "secret": SECRET}
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages wait for all that is recorded, however busy the machine; for two seconds elsewhere."""
    monkeypatch.setattr(reading, "SETTLE_SECONDS", 60.0)


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return in_folder(tmp_path, readers_file=readers_file(tmp_path))


@pytest.fixture
def app(own: Settings) -> Iterator[Flask]:
    app = create_app(own, clock=lambda: NOW)
    yield app
    app.extensions[RECORDER].stop()


@pytest.fixture
def reader(app: Flask) -> FlaskClient:
    """Somebody who has signed in."""
    client = app.test_client()
    reply = client.post("/decisions/sign-in", data=SIGNS_IN)
    assert reply.status_code == 303
    return client


def sign(client: FlaskClient, request: bytes = REQUEST) -> str:
    """Fires an order; the assertion id of what is answered."""
    reply = client.post(
        "/cds-services/order-sign-crd", data=request, content_type="application/json"
    )
    return re.findall(r"cc[0-9a-f]{30}", reply.text)[0]


def look(reader: FlaskClient, **form: str) -> TestResponse:
    page = reader.get("/decisions").text
    (token, *_) = re.findall(r'name="form_token" value="([^"]+)"', page)
    return reader.post("/decisions", data={"form_token": token, **form}, headers=BROWSER)


def words(reply: TestResponse) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", reply.text))


def test_before_anything_is_recorded_there_is_nothing_to_find(reader: FlaskClient) -> None:
    assert "No decision fits" in words(look(reader, patient="ann"))
    assert "No card was shown in these days." in words(reader.get("/decisions/feedback"))


def test_records_that_are_not_in_the_database_yet_are_mentioned(
    reader: FlaskClient, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(reader)
    assert "cannot be found yet" not in words(look(reader, patient="nobody"))
    # What has waited for a whole second is mentioned.
    monkeypatch.setattr(reading, "SETTLE_SECONDS", 2.0)
    with closing(sqlite3.connect(database_file(own.database_url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        sign(reader)
        assert "not in the database and cannot be found yet" in words(look(reader, patient="ann"))


def test_of_many_decisions_the_newest_are_listed_and_it_says_that_there_are_more(
    reader: FlaskClient,
) -> None:
    for _ in range(51):
        sign(reader)
    reply = look(reader, patient="ann")
    assert "50 decisions, the newest" in words(reply)
    assert reply.text.count('<li class="panel">') == 50
    assert "There are more than 50." in words(reply)


def test_of_a_decision_that_no_policy_made_the_list_says_why(reader: FlaskClient) -> None:
    sign(reader, fixture_text(FIXTURES / "order-sign" / "unlisted-code.json").encode())
    reply = look(reader, patient="", order="ServiceRequest/mri-head")
    assert "Conditional 70551" in words(reply)
    assert "No coverage policy for these codes is on file here." in words(reply)


@pytest.mark.parametrize(
    "form",
    [
        {"call": "0" * 32, "position": "0"},
        {"call": "' OR 1=1 --", "position": "0"},
        {"call": "x", "position": "-1"},
        {"call": "x", "position": "9" * 30},
        {"assertion_id": "\x00\u202e<script>"},
    ],
)
def test_what_is_no_decision_is_not_found(reader: FlaskClient, form: dict[str, str]) -> None:
    sign(reader)
    reply = look(reader, **form)
    assert reply.status_code == 200
    assert "No decision has this assertion id, and no call this id." in words(reply)
    assert "<script>" not in reply.text


def test_while_the_database_is_away_a_page_says_so(
    reader: FlaskClient, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SETTLE_SECONDS", 0.5)
    sign(reader)
    file = Path(own.database_url.removeprefix("sqlite:///"))
    file.rename(file.with_suffix(".moved"))
    file.mkdir()
    reply = reader.get("/decisions/feedback", headers=BROWSER)
    assert reply.status_code == 503
    assert reply.mimetype == "text/html"
    assert "Not now" in words(reply)
    assert str(file) not in reply.text
    assert reply.headers["Cache-Control"] == "no-store"


def test_more_readers_than_there_are_places_are_told_to_come_again(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.bootstrap.wire_pages.LOOKS_AT_A_TIME", 0)
    client = create_app(own).test_client()
    stranger = client.get("/decisions", headers=BROWSER)
    assert (stranger.status_code, stranger.headers["Location"]) == (303, "/decisions/sign-in")
    assert client.post("/decisions/sign-in", data=SIGNS_IN).status_code == 303
    reply = client.get("/decisions", headers=BROWSER)
    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "1"
    assert "Too many look-ups at a time" in words(reply)


def test_the_place_of_a_reader_is_free_again_after_each_look(reader: FlaskClient) -> None:
    assert {reader.get("/decisions").status_code for _ in range(20)} == {200}
    assert {reader.post("/decisions", data={"x": ""}).status_code for _ in range(20)} == {403}


def test_the_page_says_how_a_card_fared_and_by_which_policy(reader: FlaskClient) -> None:
    sign(reader)
    counted = words(reader.get("/decisions/feedback"))
    assert "mr-spectroscopy" in counted
    assert "2 cards in 1 call" in counted
    assert re.search(r"Nothing was said 2 100%", counted)
    before = words(reader.get("/decisions/feedback?since=2020-01-01&until=2020-12-31"))
    assert "No card was shown in these days." in before
    assert "A day is written as YYYY-MM-DD." in words(reader.get("/decisions/feedback?since=soon"))


def test_bars_are_as_long_as_their_share_and_rare_reasons_are_one_bar() -> None:
    reasons = Counter({f"reason-{n:02}": 20 - n for n in range(15)})
    total = reasons.total()
    stats = PolicyStats("p", cards=total + 10, accepted=4, overridden=reasons)
    shown = bars(stats, load_texts())
    assert shown[0].cards == 4
    assert shown[-1].name == "Nothing was said"
    assert shown[-1].cards == 6
    assert shown[-2].name == "Dismissed: other reasons"
    assert sum(b.cards for b in shown) == stats.cards
    assert sum(b.share for b in shown) == pytest.approx(100, abs=1)
    assert len(shown) == 15


def test_a_reason_of_ours_is_told_in_its_words_and_anothers_cannot_reorder_the_page() -> None:
    reasons = Counter({"patient-informed": 1, "\u202eabc": 1})
    names = [b.name for b in bars(PolicyStats("p", cards=2, overridden=reasons), load_texts())]
    assert "Dismissed: The patient was told about the cost and wants the service" in names
    assert "Dismissed: \N{REPLACEMENT CHARACTER}abc" in names
