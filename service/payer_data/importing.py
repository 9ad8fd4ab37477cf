"""Import of a file into the embedded source: one transaction with the changes only.

A whole file replaces all records of its kind and payers; a delta adds, changes and removes its
records. Repeating a file changes nothing. Lines go to a temporary table first (by COPY on
PostgreSQL), which is then compared with the records, if there are any of the kind.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from service.decision_log.instants import microseconds
from service.errors import ConfigurationError
from service.payer_data.record_files import ReadLine, RecordReader, Refusal
from service.payer_data.record_rows import PayerRecordKind
from service.payer_data.repetitions import Repetitions
from service.payer_data.staging import Staged, open_staging

_TOLD = 1_000
"""Reported refusals; further ones are counted."""


@dataclass(slots=True)
class ImportReport:
    """Result of an import, in records; `refused` counts lines, `refusals` are the first of them.

    `repeated` are lines superseded by a later line of the file.
    """

    kind: str
    whole: bool
    records: int = 0
    repeated: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    done: bool = False

    @property
    def unchanged(self) -> int:
        removals = 0 if self.whole else self.removed
        return self.records - self.repeated - self.added - self.changed - removals

    def refuse(self, refusal: Refusal) -> None:
        self.refused += 1
        if len(self.refusals) < _TOLD:
            self.refusals.append(refusal)


def import_file(
    url: str,
    path: Path,
    kind: PayerRecordKind,
    reader: RecordReader,
    *,
    whole: bool,
    most_refused: int,
    at: datetime,
    advance: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """Import a file; the report has `done` False if more lines than allowed were refused.

    Then, and after any error, nothing is changed. `advance` is called with the bytes read. Raises
    ConfigurationError for a file that is unreadable or without records, StoreUnavailable if the
    database is unavailable.
    """
    report = ImportReport(kind.name, whole)
    repetitions = Repetitions()
    digest = hashlib.sha256()
    with open_staging(url, kind) as staging:
        with _opened(path, digest.update, advance) as file:
            lines = reader.read(path, file)
            staging.fill(_staged(lines, kind, report, repetitions))
        if report.refused > most_refused:
            return report
        if not report.records:
            raise ConfigurationError(f"{path}: has no record in it; nothing was changed")
        if repetitions.suspected():
            report.repeated = staging.drop_repeated()
        found = staging.compare(report.records - report.repeated, whole=whole)
        report.added, report.changed, report.removed = found
        staging.merge()
        staging.note(
            at=microseconds(at),
            kind=kind.name,
            whole=int(whole),
            file_sha256=digest.hexdigest(),
            added=report.added,
            changed=report.changed,
            removed=report.removed,
            refused=report.refused,
        )
        staging.commit()
    report.done = True
    return report


def _staged(
    lines: Iterable[ReadLine | Refusal],
    kind: PayerRecordKind,
    report: ImportReport,
    repetitions: Repetitions,
) -> Iterator[Staged]:
    records = 0
    for line in lines:
        if isinstance(line, Refusal):
            report.refuse(line)
        elif line.remove and report.whole:
            report.refuse(Refusal(line.line, "remove: is for a delta; leave the record out"))
        else:
            records += 1
            rows = kind.rows(line.record)
            repetitions.add(kind.identity(rows[0]))
            remove = int(line.remove)
            for row in rows:
                yield Staged(*row, line.line, remove)
    report.records = records


class _Counted(io.RawIOBase):
    """A file that reports the bytes read."""

    def __init__(self, path: Path, *told: Callable[[memoryview], Any]) -> None:
        self._file = path.open("rb", buffering=0)
        self._told = told

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer) or 0
        for each in self._told:
            each(memoryview(buffer)[:count])
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _opened(
    path: Path, digest: Callable[[memoryview], None], advance: Callable[[int], None]
) -> io.TextIOWrapper:
    try:
        counted = _Counted(path, digest, lambda read: advance(len(read)))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    return io.TextIOWrapper(io.BufferedReader(counted, 1 << 18), "utf-8-sig", newline="")
