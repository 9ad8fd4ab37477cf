"""Terminal and JSON of `covercard policy diff`: two libraries, and the changes between them."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from service.cli.terminal import echo
from service.policies.bundle import extracted, read_bundle, verifying_key
from service.policies.library import OnFile, load_library
from service.policies.library_changes import (
    AnswerChanged,
    ContentChanged,
    LibraryChanges,
)
from service.policies.library_files import (
    PAYERS,
    PROGRAMS,
    LibraryPlaces,
    digest_on_disk,
)
from service.policies.program_table import PROGRAMS_FILE
from service.policies.published import PROGRAM_NAMES

_NO_POLICY = "no policy"
_LONGEST = 300
_PLURAL = {"policy": "Policies", "notice": "Notices", "form": "Forms", "value set": "Value sets"}
_PLURAL |= {"program": "Programs", "payer": "Payers"}


@dataclass(frozen=True, slots=True)
class LibrarySide:
    """One library of the two; `signed` is None for a folder, False without a key to check with.

    `made` is the moment at which a bundle was made.
    """

    path: Path
    library: OnFile
    digest: str
    signed: bool | None
    made: datetime | None = None


def read_side(path: Path, key: Path | None, payers: Path) -> LibrarySide:
    """A library in a bundle or a folder; `key` is that of bundles, None to check no signature.

    `payers` is the payers file of a folder without one. Raises ConfigurationError.
    """
    if path.is_dir():
        own, programs = path / PAYERS, path / PROGRAMS
        places = LibraryPlaces(
            path,
            own if own.is_file() else payers,
            programs=programs if programs.is_file() else PROGRAMS_FILE,
        )
        return LibrarySide(path, _read(places), digest_on_disk(places), None)
    bundle = read_bundle(path, verifying_key(key) if key else None)
    with extracted(bundle) as places:
        return LibrarySide(path, _read(places), bundle.digest, bundle.signed, bundle.made)


def _read(places: LibraryPlaces) -> OnFile:
    return load_library(places.directory, places.payers, places.added, places.programs)


def changes_json(before: LibrarySide, after: LibrarySide, changes: LibraryChanges) -> object:
    """The changes as plain values: days ISO, what is absent null."""
    return {
        "from": _side_json(before),
        "to": _side_json(after),
        "answers": [_plain(asdict(change)) for change in changes.answers],
        "contents": [asdict(change) for change in changes.contents],
    }


def _side_json(side: LibrarySide) -> dict[str, object]:
    return {
        "path": str(side.path),
        "policies": side.digest,
        "made": side.made.isoformat() if side.made else None,
        "signature_checked": side.signed,
    }


def _plain(told: dict[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, date) else v for k, v in told.items()}


def show_changes(before: LibrarySide, after: LibrarySide, changes: LibraryChanges) -> None:
    """Write the changes for policy staff: answers first, then the rest by kind."""
    for name, side in (("from", before), ("to", after)):
        checked = "" if side.signed is not False else ", signature not checked: name --public-key"
        made = f", made {side.made.isoformat()}" if side.made else ""
        echo(f"{name:4} {side.path}: policies {side.digest}{made}{checked}")
    if not changes.answers and not changes.contents:
        echo("\nnothing changes")
        return
    if changes.answers:
        echo("\nAnswers")
        for answer in changes.answers:
            _show_answer(answer)
    else:
        echo("\nNo answer changes.")
    for kind, same in itertools.groupby(changes.contents, key=lambda change: change.kind):
        echo(f"\n{_PLURAL[kind]}")
        for change in same:
            _show_content(change)


def _show_answer(answer: AnswerChanged) -> None:
    echo(f"  {answer.policy}, {PROGRAM_NAMES[answer.program]}, {_period(answer)}:")
    echo(f"    {answer.before or _NO_POLICY} → {answer.after or _NO_POLICY}")
    echo(f"    codes {', '.join(answer.codes)}")
    whom = ", ".join(answer.payers)
    echo(f"    members of {whom}" if whom else "    nobody: no payer applies the policy for it")


def _period(answer: AnswerChanged) -> str:
    match answer.first, answer.last:
        case None, None:
            return "on every day"
        case first, None:
            return f"from {first} on"
        case None, last:
            return f"to {last}"
    return f"from {answer.first} to {answer.last}"


def _show_content(change: ContentChanged) -> None:
    place = f"{change.about}: {change.item}" if change.item else change.about
    if change.before is None:
        echo(f"  + {place}: {_short(change.after)}")
    elif change.after is None:
        echo(f"  - {place}: {_short(change.before)}")
    else:
        echo(f"  ~ {place}: {_short(change.before)} → {_short(change.after)}")


def _short(text: str | None) -> str:
    words = " ".join((text or "").split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
