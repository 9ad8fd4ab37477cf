"""Who may read the decision log in a browser: the readers file and the sessions made of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.auth.readers import Readers, load_readers
from service.auth.replay_detection import Use
from service.auth.sessions import IDLE, LONGEST, Sessions
from service.errors import LibraryError
from tests.e2e.signing import changed

SECRET = "kX3-q9vLwT7_b2Zr8NfYc5HdMj4PsAeG"
OTHER = "Wd6_uRk1-Vt8EoZy3QnBh5CxLm9SgJa2"
SECOND = timedelta(seconds=1)


class Ended:
    """Remembers in memory what has ended."""

    def __init__(self) -> None:
        self._ended: set[tuple[str, str]] = set()

    def use(self, issuer: str, jti: str, expires: datetime, request: str | None = None) -> Use:
        first = (issuer, jti) not in self._ended
        self._ended.add((issuer, jti))
        return Use.FIRST if first else Use.REPLAYED

    def used(self, issuer: str, jti: str) -> bool:
        return (issuer, jti) in self._ended


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "readers.yaml"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def two(folder: Path, first: str = SECRET, second: str = OTHER) -> Readers:
    entries = f"readers:\n  - {{name: desk, secret: {first}}}\n  - {{name: Bo, secret: {second}}}\n"
    return load_readers(written(folder, entries))


def test_a_reader_is_known_by_name_and_secret_together(tmp_path: Path) -> None:
    readers = two(tmp_path)
    found = readers.who("desk", SECRET)
    assert found is not None and found.name == "desk"
    for name, secret in (("desk", OTHER), ("Bo", SECRET), ("", ""), ("nobody", SECRET)):
        assert readers.who(name, secret) is None
    assert readers.who("desk", SECRET + " ") is None
    assert readers.who("desk", "\ud800") is None


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ('""', "too short"),
        ("change-me", "too short"),
        ("a" * 64, "easily guessed"),
        ("abcdefghij" * 4, "easily guessed"),
        ("z234567z234567z234567z234567z234", "easily guessed"),
    ],
)
def test_a_weak_secret_stops_the_start_and_is_not_repeated(
    tmp_path: Path, secret: str, said: str
) -> None:
    with pytest.raises(LibraryError, match=said) as told:
        two(tmp_path, first=secret)
    assert "readers[0].secret" in str(told.value)
    assert "token_urlsafe" in str(told.value)
    assert len(secret) < 3 or secret not in str(told.value)


@pytest.mark.threat("weak-secret")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("readers: []", "readers"),
        ("", "dictionary"),
        ("readers:\n  - name: desk", "secret"),
        (f"readers:\n  - {{name: desk, secret: {SECRET}, role: admin}}", "role"),
        (f"readers:\n  - {{name: 'a\\nb', secret: {SECRET}}}", "name"),
        (f"readers:\n  - {{name: a, name: b, secret: {SECRET}}}", "strict YAML"),
        (f"readers: [{{name: a, secret: {SECRET}}}, {{name: a, secret: {OTHER}}}]", "is taken"),
        (f"readers: [{{name: a, secret: {SECRET}}}, {{name: b, secret: {SECRET}}}]", "another"),
    ],
)
def test_a_file_that_is_wrong_stops_the_start_and_shows_no_secret(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(LibraryError, match=said) as told:
        load_readers(written(tmp_path, text))
    assert SECRET not in str(told.value)


def test_a_file_that_everybody_may_read_stops_the_start(tmp_path: Path) -> None:
    path = written(tmp_path, f"readers: [{{name: a, secret: {SECRET}}}]", 0o644)
    with pytest.raises(LibraryError, match="everyone can read"):
        load_readers(path)


def test_the_example_does_not_start_as_it_is() -> None:
    example = Path(__file__).parent.parent.parent / "examples" / "readers.example.yaml"
    with pytest.raises(LibraryError, match="too short"):
        load_readers(example)


def test_a_session_is_found_again_by_whoever_has_the_same_file(tmp_path: Path) -> None:
    clock = Clock()
    here, there = Sessions(two(tmp_path), Ended(), clock), Sessions(two(tmp_path), Ended(), clock)
    session = here.begin("desk", SECRET)
    assert session is not None
    found = there.found(here.written(session))
    assert found == session
    assert found.allows_form(session.form_token)
    assert not found.allows_form("")
    assert SECRET not in repr(session) + here.written(session)


def test_a_wrong_secret_begins_no_session(tmp_path: Path) -> None:
    assert Sessions(two(tmp_path), Ended(), Clock()).begin("desk", OTHER) is None


@pytest.mark.threat("forged-session")
def test_a_session_ends_when_it_is_not_used_and_at_the_latest_after_hours(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(two(tmp_path), Ended(), clock)
    session = sessions.begin("desk", SECRET)
    assert session is not None
    text = sessions.written(session)
    clock.now += IDLE + SECOND
    assert sessions.found(text) is None
    while clock.now < session.begun + LONGEST:
        text = sessions.written(session)
        assert sessions.found(text) is not None
        clock.now += IDLE / 2
    clock.now = session.begun + LONGEST + SECOND
    assert sessions.found(text) is None


def test_a_session_that_was_changed_or_is_anothers_is_none(tmp_path: Path) -> None:
    sessions = Sessions(two(tmp_path), Ended(), Clock())
    session = sessions.begin("desk", SECRET)
    assert session is not None
    name, _, signed = sessions.written(session).partition(".")
    bo = b"Bo".hex()
    spoilt = [f"{bo}.{signed}", f"{name}.{changed(signed)}", f"{name}.x{signed}", name, "", "zz.a"]
    spoilt += [f"{name}.", f"{b'nobody'.hex()}.{signed}", f"ff.{signed}"]
    assert [text for text in spoilt if sessions.found(text) is not None] == []


@pytest.mark.threat("forged-session")
def test_another_secret_ends_the_sessions_of_the_one_before(tmp_path: Path) -> None:
    clock = Clock()
    before = Sessions(two(tmp_path), Ended(), clock)
    session = before.begin("desk", SECRET)
    assert session is not None
    after = Sessions(two(tmp_path, first=SECRET[::-1]), Ended(), clock)
    assert after.found(before.written(session)) is None


def test_a_session_that_was_ended_is_none_wherever_a_copy_of_it_comes_up(tmp_path: Path) -> None:
    clock, ended = Clock(), Ended()
    here, there = (Sessions(two(tmp_path), ended, clock) for _ in range(2))
    session, other = here.begin("desk", SECRET), here.begin("desk", SECRET)
    assert session is not None and other is not None
    copy = here.written(session)
    here.end(session)
    assert there.found(copy) is None
    assert there.found(here.written(other)) == other
