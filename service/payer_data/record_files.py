"""Record files: CSV with a header, or NDJSON; each line is a record or a refusal.

The columns are the fields of `records`, with the same names (`docs/payer-data.md` lists them). A
refusal describes the form of a field and quotes no value.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import msgspec

from service.decision.policy import Program
from service.decision.programs import ProgramTable
from service.errors import ConfigurationError
from service.fhir.systems import CPT, HCPCS, canonical_code
from service.payer_data.numbers import plain_number
from service.payer_data.record_rows import PayerRecordKind
from service.payer_data.records import (
    Authorization,
    Exemption,
    Member,
    NetworkContract,
    Record,
    ServiceRendered,
)

REMOVE = "remove"
"""The column of a delta that is true for a record to remove."""

_CPT_SHAPE = re.compile(r"[0-9]{4}[0-9A-Z]")
_HCPCS_SHAPE = re.compile(r"[A-Z][0-9]{4}")
_NPI = re.compile(r"[0-9]{10}")
_MOST_SHOWN = 40
_PERIODS = (("starts", "ends"), ("hospice_starts", "hospice_ends"))
_YES = frozenset({"true", "1", "yes", "y"})
_NO = frozenset({"false", "0", "no", "n", ""})


class Refusal(NamedTuple):
    """An invalid line: its number (the first is 1), and the reason."""

    line: int
    reason: str


class ReadLine(NamedTuple):
    """A valid line: a record to store or, in a delta, to remove."""

    line: int
    record: Record
    remove: bool


class _Wrong(ValueError):
    """An invalid field; the message is the expectation."""


@dataclass(frozen=True, slots=True)
class Column:
    """Format of one field; a `required` one must not be empty."""

    name: str
    parse: Callable[[Any], Any]
    required: bool = False


def _text(value: Any) -> str:
    if isinstance(value, str):
        if "\0" in value:  # which no text of PostgreSQL can hold
            raise _Wrong("expected text without NUL")
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _Wrong("expected text")


def _short(value: Any) -> str:
    """A text for one line of a card."""
    text = _text(value)
    if len(text) > _MOST_SHOWN or not text.isprintable():
        raise _Wrong(f"expected at most {_MOST_SHOWN} printable characters")
    return text


def _number(value: Any) -> str:
    number = plain_number(_text(value))
    if not number:
        raise _Wrong("expected a number with letters or digits")
    return number


def _day(value: Any) -> date:
    try:
        return _days(_text(value))
    except ValueError:
        raise _Wrong("expected a day, YYYY-MM-DD") from None


_days = lru_cache(maxsize=65_536)(date.fromisoformat)
"""Days of a file are few, its lines are millions."""


def _several(parse: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:
        written = value.split(";") if isinstance(value, str) else value
        if not isinstance(written, list):
            raise _Wrong("expected values separated by semicolons, or a list")
        return tuple(dict.fromkeys(parse(v) for v in written if v != ""))

    return read


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        word = _text(value).lower()
        if word not in words:
            raise _Wrong(f"expected one of {', '.join(words)}")
        return word

    return read


def _count(value: Any) -> int:
    text = _text(value)
    if not text.isdecimal() or int(text) == 0:
        raise _Wrong("expected a whole number from 1")
    return int(text)


def _npi(value: Any) -> str:
    text = _text(value)
    if not _NPI.fullmatch(text):
        raise _Wrong("expected an NPI of ten digits")
    return text


def _code(value: Any) -> str:
    """ "system|value"; CPT and HCPCS codes are recognized by their form without a system."""
    system, bar, value = _text(value).rpartition("|")
    if not bar:
        value = value.upper()
        shapes = ((_CPT_SHAPE, CPT), (_HCPCS_SHAPE, HCPCS))
        system = next((s for shape, s in shapes if shape.fullmatch(value)), "")
    code = canonical_code(system, value)
    if code is None:
        raise _Wrong("expected a CPT or HCPCS code, or system|code")
    return f"{code.system}|{code.value}"


_NUMBER = Column("number", _number, required=True)
_STARTS, _ENDS = Column("starts", _day), Column("ends", _day)
_MEMBER = Column("member", _number, required=True)

COLUMNS: Mapping[type[Record], Sequence[Column]] = {
    Member: (
        _NUMBER,
        Column("person", _text),
        Column("program", _text, required=True),
        Column("birth_date", _day, required=True),
        Column("family", _text),
        Column("given", _text),
        Column("alternates", _several(_number)),
        Column("plan", _text),
        Column("group", _text),
        _STARTS,
        _ENDS,
        Column("pays", _one_of("primary", "secondary")),
        Column("dual", _one_of("none", "partial", "full", "qmb")),
        Column("hospice_starts", _day),
        Column("hospice_ends", _day),
        Column("deceased", _day),
    ),
    Authorization: (
        Column("number", _short, required=True),
        _MEMBER,
        Column("codes", _several(_code), required=True),
        Column("status", _one_of("approved", "pending", "denied", "cancelled"), required=True),
        Column("kind", _one_of("prior-authorization", "organization-determination")),
        _STARTS,
        _ENDS,
        Column("units", _count),
        Column("decided", _day),
    ),
    NetworkContract: (Column("npi", _npi, required=True), Column("plan", _text), _STARTS, _ENDS),
    ServiceRendered: (
        _MEMBER,
        Column("code", _code, required=True),
        Column("day", _day, required=True),
    ),
    Exemption: (
        Column("npi", _npi, required=True),
        Column("codes", _several(_code), required=True),
        _STARTS,
        _ENDS,
    ),
}


def payers_by_name(payers: Mapping[str, str]) -> Mapping[str, str]:
    """The payers by each identifier, and by a value that only one of them has."""
    meant: dict[str, set[str]] = {}
    for identifier, payer in payers.items():
        meant.setdefault(identifier.rpartition("|")[2], set()).add(payer)
    short = {value: found.pop() for value, found in meant.items() if len(found) == 1}
    return {**short, **payers}


class RecordReader:
    """Reader of lines of one kind.

    `payers` are all identifiers of the payers that are answered for, "system|value", each with the
    one by which the records name the payer; a line may name a payer by a value alone where that is
    enough, and none where `default_payer` is given. `programs` has the programs of members.
    """

    def __init__(
        self,
        kind: PayerRecordKind,
        payers: Mapping[str, str],
        programs: ProgramTable,
        default_payer: str | None = None,
    ) -> None:
        self._type = kind.type
        self._columns = COLUMNS[kind.type]
        self._names = frozenset({c.name for c in self._columns} | {"payer", REMOVE})
        self._payers = payers_by_name(payers)
        known = (e.id for e in programs if e.words_for is not Program.UNKNOWN)
        self._programs = dict.fromkeys(known)
        self._by_name = {c.name: c for c in self._columns}
        self._required = tuple(c.name for c in self._columns if c.required)
        self._default = default_payer

    def read(self, path: Path, file: TextIO) -> Iterator[ReadLine | Refusal]:
        """The non-empty lines. Raises ConfigurationError for an unreadable file."""
        try:
            if path.suffix.lower() == ".csv":
                yield from self._csv(file)
            elif path.suffix.lower() in (".ndjson", ".jsonl"):
                yield from self._ndjson(file)
            else:
                raise ConfigurationError(f"{path}: expected a .csv, .ndjson or .jsonl file")
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path}: expected UTF-8 text ({error.reason})") from None
        except csv.Error as error:
            raise ConfigurationError(f"{path}: expected CSV ({error})") from None

    def _csv(self, file: TextIO) -> Iterator[ReadLine | Refusal]:
        rows = csv.reader(file, strict=True)
        header = [name.strip().lower() for name in next(rows, [])]
        unknown = [name for name in header if name not in self._names]
        if unknown or len(set(header)) < len(header):
            known = ", ".join(sorted(self._names))
            raise ConfigurationError(
                f"the first line must name each column once, of these: {known}"
            )
        columns = [self._by_name.get(name) for name in header]
        payer_at = header.index("payer") if "payer" in header else None
        remove_at = header.index(REMOVE) if REMOVE in header else None
        for row in rows:
            if len(row) == len(header):
                payer = "" if payer_at is None else row[payer_at]
                removal = "" if remove_at is None else row[remove_at]
                told = zip(columns, row, strict=True)
                yield self._record(rows.line_num, told, payer, removal)
            elif row:
                yield Refusal(rows.line_num, f"{len(row)} fields, the header has {len(header)}")

    def _ndjson(self, file: TextIO) -> Iterator[ReadLine | Refusal]:
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                values = decode(line)
            except msgspec.DecodeError:
                yield Refusal(number, "expected one JSON object")
                continue
            unknown = values.keys() - self._names
            if unknown:
                yield Refusal(number, f"unknown field; known are {', '.join(sorted(self._names))}")
            else:
                told = [(self._by_name.get(name), value) for name, value in values.items()]
                yield self._record(number, told, values.get("payer"), values.get(REMOVE))

    def _record(
        self,
        line: int,
        told: Iterable[tuple[Column | None, Any]],
        payer_told: Any,
        removal: Any,
    ) -> ReadLine | Refusal:
        given: dict[str, Any] = {}
        for column, value in told:
            # An empty list is as empty as an empty text.
            if column is not None and value is not None and value != "" and value != []:
                try:
                    given[column.name] = column.parse(value)
                except _Wrong as wrong:
                    return Refusal(line, f"{column.name}: {wrong}")
        for name in self._required:
            if name not in given:
                return Refusal(line, f"{name}: is missing")
        payer = self._payer(payer_told)
        if payer is None:
            return Refusal(line, "payer: expected a payer of the payers file, as system|value")
        for first, last in _PERIODS:
            if last in given and first in given and given[last] < given[first]:
                return Refusal(line, f"{last}: is before {first}")
        flag = str(removal).strip().lower() if removal else ""
        if flag not in _YES | _NO:
            return Refusal(line, f"{REMOVE}: expected true or false")
        if self._type is Member:
            if given["program"] not in self._programs:
                return Refusal(line, f"program: expected one of {', '.join(self._programs)}")
            given.setdefault("person", given["number"])
            if "alternates" in given:
                others = tuple(n for n in given["alternates"] if n != given["number"])
                given["alternates"] = others
        return ReadLine(line, self._type(payer=payer, **given), flag in _YES)

    def _payer(self, written: Any) -> str | None:
        if written is None or written == "":
            return self._default
        return self._payers.get(written.strip()) if isinstance(written, str) else None
