"""covercard policy: lint, test and show, for policy staff."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.terminal import console, echo, echo_json

if TYPE_CHECKING:
    from service.policies.cases import Case, CaseResult
    from service.policies.library_files import LibraryPlaces
    from service.policies.policy_store import PolicyStore
    from service.settings import Settings

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_DAY = click.DateTime(["%Y-%m-%d"])
_DIRECTORY = click.option(
    "--dir", "directory", type=_FOLDER, help="Policy folder. Default: COVERCARD_POLICIES_DIR."
)


@click.group()
def policy() -> None:
    """Check, test and show the coverage policies."""


@policy.command()
@_DIRECTORY
@click.option(
    "--payers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Payers file. Default: COVERCARD_PAYERS_FILE, or none with --dir.",
)
@click.option("--on", type=_DAY, help="Day of the check of reviews and editions. Default: today.")
def lint(directory: Path | None, payers: Path | None, on: datetime | None) -> None:
    """Check every file of the policy library, and the wording; exit code 1 with an error."""
    from service.policies.answer_texts import lint_texts
    from service.policies.lint import lint_library

    day = on.date() if on else _today(_settings())
    with _places(directory) as places:
        programs = None
        if directory is None:
            payers, programs = payers or places.payers, places.programs
        findings = [*lint_library(places.directory, payers, day, programs), *lint_texts()]
    for finding in findings:
        echo(_short(finding))
    errors = sum(not f.warning for f in findings)
    echo(f"{errors} errors, {len(findings) - errors} warnings")
    if errors:
        sys.exit(1)


@policy.command()
@_DIRECTORY
@click.option(
    "--coverage", is_flag=True, help="Print the share of conditions with a case on both sides."
)
def test(directory: Path | None, coverage: bool) -> None:
    """Run every case of every policy; exit code 1 with a failure, or without cases."""
    from service.policies.cases import run_all_cases
    from service.policies.library import load_notices, load_policies

    with _places(directory) as places:
        policies = load_policies(places.directory)
        notices = load_notices(places.directory)
        results = run_all_cases([places.directory], policies, notices)
    failed = [r for r in results if not r.passed]
    if failed:
        _print_failures(failed)
    echo(f"{len(results)} cases, {len(failed)} failed")
    if coverage:
        _print_coverage(policies, [r.case for r in results])
    if failed or not results:
        sys.exit(1)


@policy.command()
@click.argument("policy_id", metavar="ID")
@click.option("--on", type=_DAY, help="Day of the policy. Default: today.")
@_DIRECTORY
def show(policy_id: str, on: datetime | None, directory: Path | None) -> None:
    """Show the policy ID as in force on a day."""
    from service.cli.policy_display import policy_page
    from service.policies.library import load_notices, load_policies

    today = _today(_settings())
    day = on.date() if on else today
    with _places(directory) as places:
        policies, notices = load_policies(places.directory), load_notices(places.directory)
    versions = policies.versions(policy_id)
    if not versions:
        on_file = ", ".join(policies.ids()) or "none"
        raise click.ClickException(f"no policy {policy_id!r} is on file; on file: {on_file}")
    version = policies.in_force(policy_id, day)
    if version is None:
        spans = ", ".join(f"{v.starts} to {v.ends or 'open'}" for v in versions)
        raise click.ClickException(f"{policy_id} is not in force on {day}; it is from {spans}")
    console().print(policy_page(version, notices, day, today))


@policy.command()
@click.argument("policy_id", metavar="ID")
@click.option("--case", "sentence", required=True, help="The case's sentence, or its beginning.")
@_DIRECTORY
def explain(policy_id: str, sentence: str, directory: Path | None) -> None:
    """Show how the rules of the policy ID come out in a case."""
    from service.cli.policy_explain import explained
    from service.policies.cases import CASES, load_cases, run_case
    from service.policies.library import load_notices, load_policies

    with _places(directory) as places:
        policies, notices = load_policies(places.directory), load_notices(places.directory)
        folder = places.directory / policy_id
        if not (folder / CASES).is_file():
            on_file = ", ".join(policies.ids()) or "none"
            raise click.ClickException(
                f"no cases of {policy_id!r} are on file; policies: {on_file}"
            )
        cases = load_cases(folder)
    found = [c for c in cases if c.it == sentence] or [
        c for c in cases if c.it.lower().startswith(sentence.lower())
    ]
    if len(found) != 1:
        known = "".join(f"\n  {c.it}" for c in found or cases)
        problem = "several cases begin" if found else "no case begins"
        raise click.ClickException(f"{problem} with {sentence!r}; name one of:{known}")
    (case,) = found
    result = run_case(case, policies, notices)
    console().print(explained(case, result, result.determination.policy))


@policy.command()
@click.argument("policy_id", metavar="ID")
@click.option("--start", type=_DAY, help="The first day in force. Default: today.")
@_DIRECTORY
def new(policy_id: str, start: datetime | None, directory: Path | None) -> None:
    """Write the skeleton of a new policy ID with its cases, to be filled in."""
    from service.policies.new_policy import new_policy

    settings = _settings()
    day = start.date() if start else _today(settings)
    for path in new_policy(directory or _to_be_written(settings), policy_id, day):
        echo(f"wrote {_short(path)}")
    echo("Fill them in; covercard policy lint names what is left, covercard policy test runs")
    echo("the cases. Then list the policy under each payer that applies it, and publish it.")


@policy.command()
@click.argument("name", metavar="ID")
@click.option("--because", metavar="REASON", help="Why a published file is published again.")
@click.option("--on", type=_DAY, help="The day of publication. Default: today.")
@_DIRECTORY
def publish(name: str, because: str | None, on: datetime | None, directory: Path | None) -> None:
    """Publish the policy or notice ID: its files are never edited from here on.

    Their hashes go into the library's manifest.yaml, which lint holds them to.
    """
    from service.policies.publishing import publish as publish_files

    settings = _settings()
    day = on.date() if on else _today(settings)
    entries = publish_files(directory or _to_be_written(settings), name, day, because)
    for entry in entries:
        echo(f"published {entry.file}")
    if not entries:
        echo(f"{name} is published as it is")


@policy.command()
@click.argument(
    "kind",
    metavar="[KIND]",
    type=click.Choice(["policy", "notice", "payers", "programs", "cases"]),
    default="policy",
)
def schema(kind: str) -> None:
    """Print the JSON Schema of a kind of file, for editors."""
    from service.policies.editor_schema import editor_schema

    echo_json(editor_schema(kind))


@policy.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="PEM file of the private key (Ed25519) that signs it.",
)
@click.option("--replace", is_flag=True, help="Replace a file that is there.")
def bundle(out: Path, key: Path, replace: bool) -> None:
    """Write the policies, notices, payers and programs of the settings to one signed file, OUT.

    They are checked and their cases run first; exit code 1 with a failure. It tells the moment at
    which it was made: a running service takes no bundle for one that was made later.
    """
    from service.bootstrap.snapshot import Library, library_places
    from service.policies.bundle import bundle_bytes, signing_key
    from service.policies.cases import run_all_cases
    from service.policies.library_files import digest_of, read_files
    from service.private_files import written_whole

    settings = _settings()
    signer = signing_key(key)
    with library_places(settings) as places:
        files = read_files(places)
        library = Library(settings, places)
        results = run_all_cases(places.folders, library.policies, library.notices)
    failed = [r for r in results if not r.passed]
    if failed:
        _print_failures(failed)
        sys.exit(1)
    if digest_of(files) != library.digest:
        raise click.ClickException("the files were changed meanwhile; run this again")
    made = datetime.now(UTC).replace(microsecond=0)
    try:
        with written_whole(out, replace=replace) as file:
            file.write(bundle_bytes(files, signer, made))
    except FileExistsError:
        raise click.ClickException(f"{out} is there already: name another, or --replace") from None
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written: {error.strerror}") from None
    echo(f"wrote {_short(out)}: policies {library.digest}, {len(files)} files")
    echo(f"made {made.isoformat()}")
    echo(f"{len(results)} cases passed")


@policy.command()
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--public-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PEM file of the public key that bundles must be signed for. Default:"
    " COVERCARD_POLICY_BUNDLE_KEY, or none: their signatures are not checked.",
)
@click.option(
    "--payers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Payers file of a folder without payers.yaml. Default: COVERCARD_PAYERS_FILE.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def diff(
    before: Path, after: Path, public_key: Path | None, payers: Path | None, as_json: bool
) -> None:
    """Show what changes for whom from the policies of A to those of B, bundles or folders.

    Exit code 1 if anything changes.
    """
    from service.cli.library_diff import changes_json, read_side, show_changes
    from service.policies.library_changes import library_changes

    settings = _settings()
    key = public_key or settings.policy_bundle_key
    sides = [read_side(path, key, payers or settings.payers_file) for path in (before, after)]
    changes = library_changes(sides[0].library, sides[1].library)
    if as_json:
        echo_json(changes_json(sides[0], sides[1], changes))
    else:
        show_changes(sides[0], sides[1], changes)
    if changes.answers or changes.contents:
        sys.exit(1)


def _places(directory: Path | None) -> AbstractContextManager[LibraryPlaces]:
    """The places of a folder's library with no other payers, or of the settings' own."""
    from service.bootstrap.snapshot import library_places
    from service.policies.library_files import LibraryPlaces

    if directory is None:
        return library_places(_settings())
    return nullcontext(LibraryPlaces(directory, directory / "payers.yaml"))


def _to_be_written(settings: Settings) -> Path:
    if settings.policy_bundle is not None:
        raise click.ClickException(
            "COVERCARD_POLICY_BUNDLE is not changed: name the folder that it is made of with --dir"
        )
    return settings.policies_dir


def _short(text: object) -> str:
    """Without the folder that everything lies under."""
    return str(text).replace(f"{Path.cwd()}/", "", 1)


def _settings() -> Settings:
    from service.settings import load_settings

    return load_settings()


def _today(settings: Settings) -> date:
    return datetime.now(settings.zone).date()


def _print_coverage(policies: PolicyStore, cases: Sequence[Case]) -> None:
    """The share of conditions that cases show on both sides, and what is left of them."""
    from service.policies.rule_coverage import sides

    for version in policies:
        if not version.rules:
            continue
        own = [c for c in cases if c.policy == version.id and c.day and version.in_force_on(c.day)]
        shown = sides(version, own)
        full = sum(len(found) == 2 for found in shown.values())
        share = round(100 * full / len(shown))
        echo(f"{version.id} {version.version}: {share} % of {len(shown)} conditions on both sides")
        for (rule, words), found in shown.items():
            for side in (True, False):
                if side not in found:
                    echo(f"  {rule}: no case in which {words!r} is {str(side).lower()}")


def _print_failures(failed: list[CaseResult]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Cases that failed", title_justify="left", show_lines=True)
    for column in ("policy", "it", "difference"):
        table.add_column(column, overflow="fold")
    for result in failed:
        differences = "\n".join(result.differences)
        table.add_row(Text(result.case.policy), Text(result.case.it), Text(differences))
    console().print(table)
