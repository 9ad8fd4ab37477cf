"""Shared options, and opening of the log for reading."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from service.cli.terminal import echo

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from service.decision_log.queries import TimeSpan
    from service.decision_log.recorder import Recorder
    from service.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

_AGE = re.compile(r"(\d{1,6})([hdwy])")
_MOST_YEARS = 100
_YEARS = range(1900, 9999)
"""Years of instants: a day more or less, and any offset, stay within what a date can be."""
_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365.25 * 24}


class Age(click.ParamType[timedelta]):
    """An age: 24h, 7d, 2w, 10y."""

    name = "age"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = _AGE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no age; write 24h, 7d, 2w or 10y", param, ctx)
        hours = int(match[1]) * _HOURS[match[2]]
        if hours > _MOST_YEARS * _HOURS["y"]:
            self.fail(f"{value!r} is more than {_MOST_YEARS}y", param, ctx)
        return timedelta(hours=hours)


class Moment(click.ParamType[datetime]):
    """A day, an instant, or an age; a day begins in COVERCARD_TIME_ZONE."""

    name = "when"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        if _AGE.fullmatch(text):
            return datetime.now(UTC) - Age().convert(text, param, ctx)
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{value!r} is no day, instant or age: 2026-12-01, 7d", param, ctx)
        if at.year not in _YEARS:
            self.fail(f"{value!r} is of no year from 1900 to 9998", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=load().zone)


def span_options(command: F) -> F:
    """--since and --until."""
    until = click.option(
        "--until", type=Moment(), help="Only before: a day, an instant, or an age."
    )
    since = click.option("--since", type=Moment(), help="Only from: 2026-12-01, 24h, 7d, 1y.")
    return since(until(command))


client_option = click.option(
    "--client", help="Only calls of this client, by its name in the clients file."
)


def load() -> Settings:
    from service.settings import load_settings

    return load_settings()


def span_of(since: datetime | None, until: datetime | None) -> TimeSpan:
    from service.decision_log.queries import TimeSpan

    return TimeSpan(since, until)


@contextlib.contextmanager
def opened(settings: Settings, what: str, detail: Mapping[str, object]) -> Iterator[Connection]:
    """A connection to the log, after this user's access is recorded.

    Raises as `open_log` does, and ClickException if the log does not exist yet.
    """
    from service.decision_log.access_log import user
    from service.decision_log.reading import NothingRecorded, open_log

    try:
        with (
            recorder_of(settings) as recorder,
            open_log(
                settings.database_url,
                recorder,
                user(),
                what,
                detail,
                replica=settings.read_database_url,
            ) as connection,
        ):
            yield connection
    except NothingRecorded as error:
        raise click.ClickException(f"{error}; is COVERCARD_DATABASE_URL right?") from None


def mention_waiting(settings: Settings) -> None:
    """Warn of records that are not in the rows yet, which no search finds."""
    with recorder_of(settings) as recorder:
        waiting = recorder.health().waiting
    if waiting.seconds >= 1:
        echo(
            f"what was recorded in the last {waiting.seconds:.0f} seconds waits in"
            f" {settings.records_dir} and is not in the database yet",
            err=True,
        )


@contextlib.contextmanager
def recorder_of(settings: Settings) -> Iterator[Recorder]:
    """This command's recorder, for the service's folder."""
    from service.bootstrap.wire_records import records_place
    from service.decision_log.opening import open_recorder

    recorder = open_recorder(settings.database_url, records_place(settings, in_log=False))
    try:
        yield recorder
    finally:
        recorder.stop()
