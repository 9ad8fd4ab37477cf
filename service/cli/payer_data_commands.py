"""covercard payer-data: the payer's own records in the embedded source."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.terminal import echo

if TYPE_CHECKING:
    from service.payer_data.record_files import RecordReader
    from service.policies.payers import Payers

_KINDS = ("members", "authorizations", "network", "history", "exemptions")
_SUFFIXES = (".csv", ".ndjson", ".jsonl")


@click.group("payer-data")
def payer_data() -> None:
    """Members, authorizations, network, history and exemptions that answers rest on."""


@payer_data.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--kind", type=click.Choice(_KINDS), help="What a file holds. Default: by its name.")
@click.option("--payer", help="The payer of lines that name none: system|value, or its value.")
@click.option("--delta", is_flag=True, help="Only what changed; otherwise a file is all there is.")
@click.option("--if-empty", is_flag=True, help="Do nothing where anything was imported before.")
@click.option(
    "--allow-refused",
    type=click.IntRange(min=0),
    default=0,
    help="Import although so many lines of a file are refused. Default: none may be.",
)
def import_(
    path: Path, kind: str | None, payer: str | None, delta: bool, if_empty: bool, allow_refused: int
) -> None:
    """Import a CSV or NDJSON file, in one transaction, or each such file of a folder.

    Calls are answered meanwhile, from what was there before. The same file again changes nothing.
    A member file comes first of a folder; without --delta it replaces the payer's members.
    """
    files = [path] if path.is_file() else _files_in(path)
    kinds = [kind or _kind_of(file) for file in files]
    listed = _listed()
    payers = _identifiers(listed)
    default_payer = _payer(payer, payers)
    reader_of = partial(_reader, listed, default_payer)
    with _database() as url:
        if if_empty and not _is_empty(url):
            echo("there are records already; nothing was imported")
            return
        for file, chosen in zip(files, kinds, strict=True):
            _import_one(url, file, reader_of(chosen), chosen, delta, allow_refused)


def _import_one(
    url: str, file: Path, reader: RecordReader, kind: str, delta: bool, allow_refused: int
) -> None:
    from datetime import UTC, datetime

    from service.cli.progress import progress
    from service.payer_data.importing import import_file
    from service.payer_data.record_rows import KINDS

    with progress(f"Reading {file.name}", file.stat().st_size) as advance:
        report = import_file(
            url,
            file,
            KINDS[kind],
            reader,
            whole=not delta,
            most_refused=allow_refused,
            at=datetime.now(UTC),
            advance=advance,
        )
    for line, reason in report.refusals:
        echo(f"{file}:{line}: {reason}", err=True)
    if report.refused > len(report.refusals):
        echo(f"… and {report.refused - len(report.refusals)} more lines", err=True)
    if not report.done:
        raise click.ClickException(
            f"{report.refused} lines of {file} were refused, so nothing of it was imported; "
            f"fix them, or use --allow-refused {report.refused}"
        )
    repeated = f", {report.repeated} repeated" if report.repeated else ""
    echo(
        f"{kind}: {report.added} added, {report.changed} changed, {report.removed} removed, "
        f"{report.unchanged} as before, {report.refused} refused{repeated}"
    )


@payer_data.command()
@click.argument("member")
@click.option("--payer", help="Only of this payer: system|value, or its value.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(member: str, payer: str | None, yes: bool) -> None:
    """Delete all records of the member with the number MEMBER. For good.

    Decisions that were made stay readable. A whole import brings the member back if the file still
    has it.
    """
    from service.payer_data.forgetting import forget as delete

    payers = _identifiers(_listed())
    only = _payer(payer, payers)
    if not yes:
        click.confirm("Delete all records of this member for good?", abort=True)
    with _database() as url:
        gone = delete(url, member, [only] if only else set(payers.values()))
    echo(
        f"{gone.members} members, {gone.authorizations} authorizations, {gone.services} services "
        "deleted"
    )


@payer_data.command()
def status() -> None:
    """Say how many records there are and when they were imported. Shows no member.

    Of a payer's FHIR server it says which resources tell what.
    """
    from service.payer_data.fhir_records import TOLD_BY
    from service.payer_data.overview import overview
    from service.settings import load_settings

    if load_settings().payer_data.startswith("http"):
        for kind, resources in TOLD_BY.items():
            echo(f"{kind}: {resources or 'not told, FHIR has no resource for them'}")
        return
    with _database() as url:
        for line in overview(url):
            echo(line)


@contextlib.contextmanager
def _database() -> Iterator[str]:
    """The embedded source's URL, its tables up to date where that is ours to do."""
    from service.database.table_revisions import prepare
    from service.errors import ConfigurationError, RecordsUnavailable, StoreUnavailable
    from service.payer_data.payer_tables import MIGRATIONS
    from service.settings import load_settings

    url = load_settings().payer_data
    if not url.startswith(("sqlite:", "postgresql")):
        raise ConfigurationError(
            "COVERCARD_PAYER_DATA: records are kept here only where it names a database, "
            "sqlite:///FILE or postgresql+psycopg://…"
        )
    try:
        prepare(url, MIGRATIONS)
        yield url
    except StoreUnavailable as error:
        raise RecordsUnavailable(f"the payer's records cannot be reached ({error})") from None


def _listed() -> Payers:
    """The payers of the payers file, with the programs of theirs."""
    from service.bootstrap.snapshot import library_places
    from service.policies.library import load_payers
    from service.settings import load_settings

    with library_places(load_settings()) as places:
        return load_payers(places.payers, places.programs)


def _identifiers(payers: Payers) -> dict[str, str]:
    """Each identifier of the payers, and the payer's name in the records."""
    return {f"{system}|{value}": p.key for p in payers for system, value in p.identifiers}


def _reader(payers: Payers, default_payer: str | None, kind: str) -> RecordReader:
    from service.payer_data.record_files import RecordReader
    from service.payer_data.record_rows import KINDS

    return RecordReader(KINDS[kind], _identifiers(payers), payers.programs, default_payer)


def _payer(written: str | None, payers: dict[str, str]) -> str | None:
    from service.payer_data.record_files import payers_by_name

    if written is None:
        known = set(payers.values())
        return known.pop() if len(known) == 1 else None
    payer = payers_by_name(payers).get(written)
    if payer is None:
        raise click.BadParameter(f"expected one of {', '.join(payers)}", param_hint="--payer")
    return payer


def _kind_of(file: Path) -> str:
    kind = next((k for k in _KINDS if file.name.lower().startswith(k)), None)
    if kind is None:
        raise click.UsageError(
            f"{file.name} does not begin with a kind; name it by --kind: {', '.join(_KINDS)}"
        )
    return kind


def _files_in(folder: Path) -> list[Path]:
    """The files of a folder that hold records, members first."""
    found = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in _SUFFIXES]
    if not found:
        raise click.UsageError(f"{folder} holds no {', '.join(_SUFFIXES)} file")
    return sorted(found, key=lambda f: _KINDS.index(_kind_of(f)))


def _is_empty(url: str) -> bool:
    from service.payer_data.overview import ever_imported

    return not ever_imported(url)
