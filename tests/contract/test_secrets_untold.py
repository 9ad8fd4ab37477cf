"""Whatever fails: no password of a setting, and no message of a library, is printed or logged."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import sqlalchemy.exc
import structlog

from service.cli import main
from service.errors import ConfigurationError
from service.settings import load_settings
from service.uncaught import tell_uncaught, told
from tests.documents import ROOT
from tests.e2e.servers import environment

SECRET = "opensesame"
Told = Callable[..., str]

URLS = [
    f"postgresql+psycopg://user:{SECRET}@127.0.0.1:9/db",
    f"postgresql+psycopg://user:{SECRET}@127.0.0.1:9/db?bogus={SECRET}",
    f"postgresql+psycopg://127.0.0.1:9/db?user=u&password={SECRET}",
    f"postgresql+psycopg://user:x{SECRET}:{SECRET}@127.0.0.1:{SECRET}/db",
    f"postgresql+psycopg://user:p@{SECRET}@127.0.0.1/db",
    f"postgresql+psycopg://user:p/{SECRET}@127.0.0.1/db",
    f"postgresql+psycopg://user:p#{SECRET}@127.0.0.1/db",
    f"postgresql+psycopg://user:{SECRET}",
    f"postgresql+psycopg://[{SECRET}",
    f"postgresql://user:{SECRET}@127.0.0.1/db",
]
FIXTURE = str(ROOT / "fhir_fixtures/order-sign/mrs-medicare-advantage.json")
COMMANDS: list[tuple[str, ...]] = [
    ("db", "upgrade"),
    ("decisions", "find", "--patient", "ann"),
    ("decisions", "export"),
    ("decisions", "prune", "--dry-run"),
    ("payer-data", "status"),
]


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Told:
    """Runs a command as the program does; everything that it wrote, and that it failed."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["covercard", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (1, 2, 3)
        written = capfd.readouterr()
        return written.out + written.err

    return run


@pytest.fixture(autouse=True)
def plain_hooks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The hooks and the log as they were, after each test; a folder of its own."""
    for module, hook in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    monkeypatch.chdir(tmp_path)
    configured = structlog.get_config()
    yield
    structlog.configure(**configured)


@pytest.mark.threat("secret-told")
@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_that_cannot_be_used_is_told_without_its_password(
    telling: Told, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], url: str
) -> None:
    monkeypatch.setenv("COVERCARD_DATABASE_URL", url)
    monkeypatch.setenv("COVERCARD_PAYER_DATA", url)
    written = telling(*command)
    assert "covercard: " in written
    assert SECRET not in written
    assert "Traceback" not in written


FAULTS: list[Exception] = [
    sqlalchemy.exc.OperationalError("SELECT", {"x": SECRET}, Exception(f"password={SECRET}")),
    sqlalchemy.exc.ArgumentError(f"postgresql://user:{SECRET}@host"),
    psycopg.OperationalError(f"connection to {SECRET} failed"),
    requests.ConnectionError(f"https://user:{SECRET}@host"),
    UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET),
    OSError(2, SECRET, SECRET),
    ValueError(f"invalid literal for int() with base 10: '{SECRET}'"),
    KeyError(SECRET),
]


def fails(error: Exception) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> None:
        try:
            raise RuntimeError(SECRET)
        except RuntimeError as first:
            raise error from first

    return call


@pytest.mark.threat("secret-told")
@pytest.mark.parametrize("error", FAULTS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("service.database.engines.create_engine", ("db", "upgrade")),
        ("service.database.table_revisions.open_engine", ("decisions", "stats")),
        (
            "requests.post",
            ("fire", FIXTURE, "--url", f"http://user:{SECRET}@127.0.0.1:9"),
        ),
    ],
    ids=["engine", "migration", "http"],
)
def test_an_error_of_a_library_is_told_without_its_message(
    telling: Told,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    place: str,
    command: tuple[str, ...],
) -> None:
    monkeypatch.setenv("COVERCARD_DATABASE_URL", URLS[0])
    monkeypatch.setattr(place, fails(error))
    written = telling(*command)
    # Of an error behind another, the type of the cause may be all that is told.
    assert type(error).__name__ in written or "RuntimeError" in written
    assert SECRET not in written


@pytest.mark.threat("secret-told")
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("public_url", f"https://user:{SECRET}@covercard.example.org"),
        ("former_base_urls", f"https://user:{SECRET}@covercard.example.org"),
        ("fhir_servers", f"https://user:{SECRET}@ehr.example.org/fhir"),
        ("fhir_aliases", f"https://user:{SECRET}@a.example.org=https://b.example.org"),
        ("cors_origins", f"https://user:{SECRET}@ehr.example.org"),
        ("payer_data", f"https://user:{SECRET}@payer.example.org/fhir"),
        ("payer_data_token_url", f"https://user:{SECRET}@payer.example.org/token"),
        ("database_url", f"mysql://user:{SECRET}@db.example.org"),
        ("database_url", f"postgresql+psycopg://user:a@{SECRET}@db.example.org/x"),
    ],
)
def test_a_wrong_setting_is_named_and_not_quoted(setting: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(**{setting: value})
    assert f"COVERCARD_{setting.upper()}" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///var/covercard.sqlite3",
        "sqlite:////srv/a#b.sqlite3",
        "postgresql+psycopg:///db?host=/run/postgresql",
        "postgresql+psycopg://user:p%40ss%2Fword@[::1]:5432/db?sslmode=verify-full",
        "postgresql+psycopg://user@db.example.org/db",
    ],
)
def test_a_database_url_that_has_one_meaning_is_taken(url: str) -> None:
    assert load_settings(database_url=url).database_url == url
    assert load_settings(payer_data=url).payer_data == url


IN_A_PROCESS = {
    "a worker that cannot start": """
import service.bootstrap.app
from service.cli.serve import wsgi_app
def fail(*_, **__): raise RuntimeError("opensesame")
service.bootstrap.app.create_app = fail
wsgi_app()
""",
    "a thread": """
import threading
from service.logs import configure_logging
configure_logging()
def fail(): raise RuntimeError("opensesame")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
""",
    "the process": """
from service.logs import configure_logging
configure_logging()
raise RuntimeError("opensesame")
""",
    "a destructor": """
from service.logs import configure_logging
configure_logging()
class Broken:
    def __del__(self): raise RuntimeError("opensesame")
Broken()
""",
}


@pytest.mark.threat("secret-told")
@pytest.mark.parametrize("program", IN_A_PROCESS.values(), ids=IN_A_PROCESS)
def test_an_error_of_the_service_is_a_line_of_the_log_without_its_message(program: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert json.loads(ended.stdout)["kind"] == "RuntimeError"
    assert SECRET not in ended.stdout + ended.stderr


@pytest.mark.threat("secret-told")
@pytest.mark.threat("output-injection")
def test_a_line_that_a_command_logs_has_no_message_and_no_control() -> None:
    program = """
import structlog
from service.logs import log_of_a_command
log_of_a_command()
log = structlog.get_logger("service.test")
try:
    raise RuntimeError("opensesame")
except RuntimeError:
    log.exception("failed", told="\\x1b]0;owned\\x07")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment({}) | {"FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == ""
    assert "failed" in ended.stderr and "RuntimeError" in ended.stderr
    assert SECRET not in ended.stderr
    assert not {"\x1b", "\x07"} & set(ended.stderr)


@pytest.mark.threat("secret-told")
def test_an_uncaught_error_is_told_with_those_behind_it_and_no_message() -> None:
    heard: list[BaseException] = []
    tell_uncaught(heard.append)
    try:
        fails(KeyError(SECRET))()
    except KeyError as error:
        sys.excepthook(KeyError, error, error.__traceback__)
        text = told(error)
    assert heard
    first, second = text.splitlines()
    assert first.startswith("unexpected KeyError at tests.contract.test_secrets_untold:")
    assert second.startswith("unexpected RuntimeError at ")
    assert SECRET not in text


def test_a_key_press_that_ends_the_program_is_no_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    heard: list[BaseException] = []
    tell_uncaught(heard.append)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert heard == []
    assert "KeyboardInterrupt" in capfd.readouterr().err
