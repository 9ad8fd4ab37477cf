"""The age of the payer's own records, for the alert on data that are stale."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.payer_data import import_ages
from service.payer_data.import_ages import ImportAges
from service.payer_data.sources import prepare_source
from tests.conftest import NOW, in_folder
from tests.contract.payer_records import EXAMPLES, Plan, plan


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database has as long as it takes to tell of its imports; a second elsewhere."""
    monkeypatch.setattr(import_ages, "_LOOK_SECONDS", 60.0)


@contextlib.contextmanager
def with_tables(folder: Path) -> Iterator[Plan]:
    url = f"sqlite:///{folder}/payer-data.sqlite3"
    prepare_source(url)
    with plan(url, folder) as made:
        yield made


def ages(client: FlaskClient) -> dict[str, float]:
    shown = client.get("/metrics").text
    found = re.findall(r'^covercard_payer_data_age_seconds\{kind="(\w+)"\} (\S+)$', shown, re.M)
    return {kind: float(seconds) for kind, seconds in found}


def test_the_age_of_each_kind_counts_from_its_last_import(tmp_path: Path) -> None:
    with with_tables(tmp_path) as own:
        own.take(EXAMPLES / "network.csv", "network", at=NOW - timedelta(days=9))
        own.take(EXAMPLES / "members.csv", "members", at=NOW - timedelta(days=3))
        own.take(EXAMPLES / "members.csv", "members", at=NOW - timedelta(days=2))
        told = ages(own.app.test_client())
    assert told == {"members": 2 * 86_400, "network": 9 * 86_400}


def test_what_was_said_last_grows_older_while_the_database_is_away(tmp_path: Path) -> None:
    with with_tables(tmp_path) as own:
        own.take(EXAMPLES / "members.csv", "members", at=NOW)
        url = own.url
    day, clock = timedelta(days=1), [0.0]
    at = [NOW + day]
    known = ImportAges(url, lambda: at[0], lambda: clock[0])
    assert known.seconds() == {"members": 86_400}
    Path(url.removeprefix("sqlite:///")).write_bytes(b"no database")
    at[0], clock[0] = NOW + 2 * day, 3600.0
    assert known.seconds() == {"members": 2 * 86_400}


def test_without_records_of_its_own_nothing_is_told(tmp_path: Path) -> None:
    for payer_data in ("", f"sqlite:///{tmp_path}/none.sqlite3"):
        app = create_app(in_folder(tmp_path, payer_data=payer_data), clock=lambda: NOW)
        assert ages(app.test_client()) == {}
        app.extensions[RECORDER].stop()
