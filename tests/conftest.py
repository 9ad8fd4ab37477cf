"""What tests share: the place of the fixtures, a fixed clock, and a wired service."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.auth import sign_in_limits
from service.auth.client_share import MinuteCounts
from service.auth.rate_limit import CallLimit
from service.bootstrap import app as app_module
from service.bootstrap import security, wire_pages
from service.bootstrap.app import CALLS, RECORDER, create_app
from service.decision_log import recorder
from service.fixture_days import with_days
from service.settings import Settings, load_settings

Seen = TypeVar("Seen")

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fhir_fixtures"
NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
TODAY = NOW.date()


FAR_DAYS = {"2035-06-10": 9, "2035-05-30": -2}
"""Days of the one fixture that other tools post as it is → the days from today that they stand for.

They lie far ahead, so that they do not age either; tests look at them close by, as at the others.
"""


def fixture_text(path: Path, today: date = TODAY) -> str:
    """A file of the fixtures, its days reckoned from `today`: that of the tests' fixed clock."""
    text = with_days(path.read_text("utf-8"), today)
    for far, days in FAR_DAYS.items():
        text = text.replace(far, (today + timedelta(days)).isoformat())
    return text


def fixture_text_today(path: Path) -> str:
    """The file as the program itself sends it, for a service with a clock of its own."""
    return with_days(path.read_text("utf-8"), datetime.now(UTC).date())


@contextlib.contextmanager
def without_further_threads() -> Iterator[None]:
    """A block in which the system has no more threads."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield


# How long an example of a property takes is the machine's matter: a busy one disproves none.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def no_test_writes_into_the_checkout(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Whatever is recorded under default settings goes to a folder of the tests'.

    And no default depends on the cores of the machine.
    """
    folder = tmp_path_factory.mktemp("default-records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVERCARD_DATABASE_URL", f"sqlite:///{folder}/covercard.sqlite3")
        patch.setenv("COVERCARD_RECORDS_DIR", str(folder / "records"))
        patch.setenv("COVERCARD_WORKERS", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def no_recorder_tells_an_anchor_meanwhile() -> Iterator[None]:
    """Recorders of this process log the ends of their chains on standard output, once a minute:
    among what a command has printed there, such a line would be taken for its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "_ANCHOR_SECONDS", 3600.0)
        yield


@pytest.fixture
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is made in this test counts by a minute that does not end."""
    counts = functools.partial(MinuteCounts, NOW.timestamp)
    for module in (app_module, security, wire_pages):
        monkeypatch.setattr(module, "MinuteCounts", counts)
    limit = functools.partial(CallLimit, seconds=NOW.timestamp)
    for module in (security, sign_in_limits):
        monkeypatch.setattr(module, "CallLimit", limit)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The default settings, but with records in a folder of the tests'."""
    return in_folder(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[FlaskClient]:
    """The service as HTTP clients meet it, on a fixed day."""
    app = create_app(settings, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def in_folder(folder: Path, **settings: object) -> Settings:
    """Settings with the database and the records in a folder."""
    return load_settings(
        **{
            "database_url": f"sqlite:///{folder}/covercard.sqlite3",
            "records_dir": folder / "records",
            **settings,
        }
    )


def files_below(folder: Path, look: Callable[[Path], Seen]) -> dict[Path, Seen]:
    """What is seen of each file below a folder that a service uses.

    One that the service takes away between the list and the look is left out: it writes its state
    under hidden names first, and probes the folder with files that it removes.
    """
    seen = {}
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if file.is_file():
                seen[file] = look(file)
    return seen


def applications(app: Flask) -> tuple[Flask, Flask]:
    """The pages' application and the calls', which is mounted in it."""
    calls: Flask = app.extensions[CALLS]
    return app, calls


def settle(client: FlaskClient) -> None:
    """Wait until all that a service has recorded is in the rows."""
    assert client.application.extensions[RECORDER].settle(60)


@pytest.fixture
def fixture() -> Callable[[str], dict[str, Any]]:
    """Reads a hook request of fhir_fixtures by its name, `order-sign/mrs-medicare-advantage`."""

    def read(name: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(fixture_text(FIXTURES / f"{name}.json"))
        return loaded

    return read


@pytest.fixture
def fixture_today() -> Callable[[str], dict[str, Any]]:
    """Reads it as of today, for a service with a clock of its own: the days of a fixture are over
    some weeks after those of the tests' fixed clock.
    """

    def read(name: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(fixture_text_today(FIXTURES / f"{name}.json"))
        return loaded

    return read


@pytest.fixture
def sign(client: FlaskClient) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Posts an order-sign request and returns the answer of a 200."""

    def post(request: dict[str, Any]) -> dict[str, Any]:
        reply = client.post("/cds-services/order-sign-crd", json=request)
        assert reply.status_code == 200, reply.get_data(as_text=True)
        answer: dict[str, Any] = reply.get_json()
        return answer

    return post
