"""Settings with a password, read from files: COVERCARD_DATABASE_URL_FILE and its like."""

import os
from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.settings import SECRETS, Settings, load_settings, misnamed_settings
from tests.documents import document

SECRET = "hunter2-of-the-payer"
URL = f"postgresql+psycopg://covercard:{SECRET}@db.example.org/covercard"
EACH = pytest.mark.parametrize("name", SECRETS)


def variable(name: str) -> str:
    return f"COVERCARD_{name.upper()}_FILE"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("COVERCARD_")]:
        monkeypatch.delenv(name)


@EACH
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_its_file(
    name: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(f"{URL}{end}".encode())
    monkeypatch.setenv(variable(name), str(file))
    assert getattr(load_settings(), name) == URL


def test_a_secret_is_read_through_the_links_of_a_mounted_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "database-url").write_text(URL)
    (tmp_path / "database-url").symlink_to(Path("..data", "database-url"))
    monkeypatch.setenv("COVERCARD_DATABASE_URL_FILE", str(tmp_path / "database-url"))
    assert load_settings().database_url == URL


@EACH
def test_a_secret_that_is_told_twice_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text(URL)
    monkeypatch.setenv(variable(name), str(file))
    monkeypatch.setenv(variable(name).removesuffix("_FILE"), URL)
    with pytest.raises(ConfigurationError, match="both set") as refused:
        load_settings()
    assert variable(name) in str(refused.value)
    assert SECRET not in str(refused.value)


@EACH
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        f"{URL}\nsecond line\n".encode(),
        f" {URL}".encode(),
        SECRET.encode() + b"\x00",
        SECRET.encode() + b"\xff",
        URL.encode() + b"x" * 4096,
    ],
    ids=["empty", "blank", "two lines", "indented", "a NUL", "no UTF-8", "too long"],
)
@pytest.mark.threat("secret-told")
def test_a_file_that_is_no_secret_is_named_and_not_quoted(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    monkeypatch.setenv(variable(name), str(file))
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert f"{variable(name)}: {file} must hold" in str(refused.value)
    assert SECRET not in str(refused.value)


@EACH
def test_a_file_that_is_not_there_stops_the_start(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable(name), str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match=variable(name)) as refused:
        load_settings()
    assert "no such file" in str(refused.value)


@pytest.mark.threat("secret-told")
def test_a_wrong_secret_in_a_file_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"mysql://covercard:{SECRET}@db.example.org")
    monkeypatch.setenv("COVERCARD_DATABASE_URL_FILE", str(file))
    with pytest.raises(ConfigurationError, match="COVERCARD_DATABASE_URL") as refused:
        load_settings()
    assert SECRET not in str(refused.value)


def test_each_url_that_may_have_a_password_has_a_file() -> None:
    """Each setting that a database's URL is taken in, by the configuration's own words."""
    rows = document("docs/configuration.md").rows("setting")
    urls = {
        name.strip("`").removeprefix("COVERCARD_").lower()
        for name, _, meaning in rows
        if "postgresql+psycopg://" in meaning
    }
    assert urls == set(SECRETS)
    assert {f"{name}_file" for name in SECRETS} <= set(Settings.model_fields)
    assert list(misnamed_settings(map(variable, SECRETS))) == []
