"""Lasting parts: what a client has had, fetched keys and counters stay while a snapshot follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from service.auth.clients import read_clients
from service.bootstrap.app import RECORDER, create_app
from service.bootstrap.lasting import Lasting
from service.bootstrap.snapshot import read_snapshot
from service.settings import Settings
from tests.conftest import NOW, in_folder
from tests.e2e.signing import Signer, ec_signer, write_clients

Read = Callable[[str], dict[str, Any]]
URL = "/cds-services/order-sign-crd"
ISSUER, JWKS = "https://ehr.example.org", "https://ehr.example.org/jwks.json"


def two(settings: Settings) -> tuple[Flask, Flask]:
    """An application, and one of another snapshot that follows it in the same worker."""
    lasting = Lasting()
    snapshots = [read_snapshot(settings), read_snapshot(settings)]
    first, second = (
        create_app(settings, clock=lambda: NOW, snapshot=each, lasting=lasting)
        for each in snapshots
    )
    assert first is not second
    return first, second


def fetched(signer: Signer, answers: list[bytes | None]) -> Callable[[str], bytes]:
    """A fetch of key sets that gives these answers, and fails for None."""

    def fetch(url: str) -> bytes:
        assert url == JWKS
        answer = answers.pop(0)
        if answer is None:
            raise AssertionError("keys that are there already are fetched again")
        return answer

    return fetch


def test_keys_that_were_fetched_stay_with_their_client(tmp_path: Path) -> None:
    """Its URL may be down at the moment of a reload."""
    signer = ec_signer(ISSUER)
    key_set = json.dumps({"keys": [signer.public()]}).encode()
    file = write_clients(tmp_path, {"issuer": ISSUER, "jwks_url": JWKS})
    fetch = fetched(signer, [key_set, None])
    before = read_clients(file).trusted(fetch)
    assert before[ISSUER].keys.find(signer.kid, "ES384")
    renamed = {"issuer": ISSUER, "name": "Renamed", "jwks_url": JWKS}
    after = read_clients(write_clients(tmp_path, renamed)).trusted(fetch, before=before)
    assert after[ISSUER].client.name == "Renamed"
    assert after[ISSUER].keys.find(signer.kid, "ES384")


def test_keys_do_not_stay_for_another_client_or_another_url(tmp_path: Path) -> None:
    file = write_clients(tmp_path, {"issuer": ISSUER, "jwks_url": JWKS})
    before = read_clients(file).trusted()
    other = {"issuer": "https://other.example.org", "jwks_url": JWKS}
    moved = {"issuer": ISSUER, "jwks_url": f"{JWKS}?v=2".replace("?v=2", ".new")}
    after = read_clients(write_clients(tmp_path, other, moved)).trusted(before=before)
    former = before[ISSUER].keys
    assert all(trusted.keys is not former for trusted in after.values())


def test_a_revoked_client_is_none_and_its_name_is_still_taken(tmp_path: Path) -> None:
    entries = [
        {"issuer": ISSUER, "name": "One", "jwks_url": JWKS, "revoked": True},
        {"issuer": "https://other.example.org", "name": "Two", "jwks_url": JWKS},
    ]
    trusted = read_clients(write_clients(tmp_path, *entries)).trusted()
    assert list(trusted) == ["https://other.example.org"]
    all_gone = read_clients(write_clients(tmp_path, entries[0])).trusted()
    assert all_gone == {}


@pytest.mark.usefixtures("one_minute")
def test_what_a_caller_has_had_of_its_minute_still_counts(tmp_path: Path, fixture: Read) -> None:
    settings = in_folder(tmp_path, calls_per_minute=3, call_counts="memory")
    request = fixture("order-sign/mrs-medicare-advantage")
    codes = []
    first, second = two(settings)
    for app in (first, first, second, second):
        codes.append(app.test_client().post(URL, json=request).status_code)
    first.extensions[RECORDER].stop()
    assert codes == [200, 200, 200, 429]


def test_counters_and_the_recorder_go_on(tmp_path: Path, fixture: Read) -> None:
    first, second = two(in_folder(tmp_path))
    request = fixture("order-sign/mrs-medicare-advantage")
    for app in (first, second, first):
        assert app.test_client().post(URL, json=request).status_code == 200
    text = second.test_client().get("/metrics").text
    (line,) = [
        li
        for li in text.splitlines()
        if li.startswith("covercard_calls_total{") and "answered" in li
    ]
    assert line.endswith(" 3.0")
    assert first.extensions[RECORDER] is second.extensions[RECORDER]
    assert first.extensions[RECORDER].settle(60)
    first.extensions[RECORDER].stop()


def test_a_session_goes_on_where_its_reader_stays(tmp_path: Path) -> None:
    from tests.e2e.readers import READER, SECRET, readers_file

    settings = in_folder(tmp_path, readers_file=readers_file(tmp_path))
    first, second = two(settings)
    before = first.test_client()
    assert before.post("/decisions/sign-in", data={"name": READER, "secret": SECRET}).status_code
    cookie = before.get_cookie("covercard-reader", path="/decisions")
    assert cookie is not None
    after = second.test_client()
    after.set_cookie("covercard-reader", cookie.value, path="/decisions")
    assert after.get("/decisions").status_code == 200
    first.extensions[RECORDER].stop()
