"""Value sets on file: _value_sets/<id>/<first day>, as YAML, CSV or a FHIR ValueSet (JSON).

A file holds from the day of its name until the next one of its folder begins; within it a code may
have a first and a last day of its own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

from service.decision.order import Code
from service.decision.value_sets import CodeSpan, ValueSet, ValueSetEntry
from service.errors import Finding, LibraryError
from service.fhir.systems import canonical_code
from service.policies import files
from service.policies.code_tokens import HOW_TO_WRITE, code_system, read_code, read_token
from service.policies.fields import Day, Id, Model, Some, Text, Told, text_only
from service.policies.questionnaire_files import not_json, read_json

VALUE_SETS = "_value_sets"
KINDS = (".yaml", ".csv", ".json")

_COLUMNS = ("system", "code", "first", "last", "name")
_NEEDED = ("system", "code")


class ListedCode(Model):
    """A code, a prefix ("M54*") or a range ("C00-C97") with its system, and its days."""

    code: Text
    first: Told[Day] = None
    last: Told[Day] = None
    name: Told[Text] = None


def _listed(written: object) -> object:
    return {"code": written} if isinstance(text_only(written), str) else written


class ValueSetFile(Model):
    """A value set as YAML: _value_sets/<id>/<first day>.yaml"""

    id: Id = Field(description="The same as the folder.")
    title: Text
    codes: Some[
        Annotated[ListedCode, BeforeValidator(_listed, json_schema_input_type=Text | ListedCode)]
    ]


class _Line(NamedTuple):
    what: Code | CodeSpan
    first: date = date.min
    last: date = date.max
    name: str | None = None


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A value set with the names that its files give to codes, where they give any; and these."""

    codes: ValueSet
    names: Mapping[Code, str]
    lines: Sequence[ValueSetEntry]
    files: Sequence[Path] = ()


def read_value_sets(directory: Path, findings: list[Finding]) -> Mapping[str, NamedSet]:
    """Every value set under a library; what does not fit is added to `findings`."""
    place = directory / VALUE_SETS
    folders = sorted(f for f in place.iterdir() if f.is_dir()) if place.is_dir() else []
    found: dict[str, NamedSet] = {}
    for folder in folders:
        try:
            found[folder.name] = _read(folder)
        except LibraryError as error:
            findings.extend(error.findings)
    return found


def _read(folder: Path) -> NamedSet:
    dated = sorted((_starts(p), p) for p in folder.iterdir() if p.suffix in KINDS)
    if not dated:
        raise _broken(folder, "holds no value set", "add <first day>.yaml, .csv or .json")
    entries: list[ValueSetEntry] = []
    names: dict[Code, str] = {}
    title = folder.name
    for i, (start, path) in enumerate(dated):
        until = dated[i + 1][0] - timedelta(days=1) if i + 1 < len(dated) else date.max
        if until < start:
            raise _broken(path, f"another file begins on {start}", "leave one of the two")
        title, lines = _READERS[path.suffix](path)
        empty, never = True, True
        for what, first, last, name in lines:
            empty = False
            first = first if first > start else start
            last = last if last < until else until
            if first <= last:
                never = False
                entries.append(ValueSetEntry(what, first, last))
            if name and isinstance(what, Code):
                names[what] = name
        if empty:
            raise _broken(path, "the value set is empty", "list a code, or remove the file")
        if never:
            problem = "the value set is empty: no code belongs on a day on which the file holds"
            raise _broken(path, problem, "fix the days of its codes, or remove the file")
    codes = ValueSet(folder.name, entries, title)
    return NamedSet(codes, names, tuple(entries), tuple(path for _, path in dated))


def _starts(path: Path) -> date:
    try:
        return date.fromisoformat(path.stem)
    except ValueError:
        problem = f"{path.stem} is no day"
        raise _broken(path, problem, f"name it by its first day: 2026-01-01{path.suffix}") from None


def _yaml(path: Path) -> tuple[str, Iterator[_Line]]:
    file = files.load(path, ValueSetFile)
    if file.data.id != path.parent.name:
        problem = f"{file.data.id} lies in the folder {path.parent.name}"
        raise LibraryError([file.finding(("id",), problem, "give both the same name")])

    def lines() -> Iterator[_Line]:
        for i, listed in enumerate(file.data.codes):
            try:
                what = read_token(listed.code)
            except ValueError as error:
                found = file.finding(("codes", i), str(error), HOW_TO_WRITE)
                raise LibraryError([found]) from None
            begins, ends = listed.first or date.min, listed.last or date.max
            if ends < begins:
                problem = f"the code ends on {ends}, before it begins"
                found = file.finding(("codes", i, "last"), problem, "fix the first or the last day")
                raise LibraryError([found])
            yield _Line(what, begins, ends, listed.name)

    return file.data.title, lines()


def _csv(path: Path) -> tuple[str, Iterator[_Line]]:
    """Columns system, code, and where wanted first, last and name."""
    return path.parent.name, _csv_lines(path)


def _csv_lines(path: Path) -> Iterator[_Line]:
    with path.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.reader(opened, strict=True)
        try:
            at, width = _columns(path, next(rows, []))
            of_columns = itemgetter(*at)
            for row in rows:
                if not row:
                    continue
                if len(row) > width:
                    raise ValueError(f"the line has more than {width} cells")
                row.extend([""] * (width + 1 - len(row)))
                system, code, first, last, name = of_columns(row)
                begins = date.fromisoformat(first) if first else date.min
                ends = date.fromisoformat(last) if last else date.max
                if ends < begins:
                    raise ValueError(f"the code ends on {last}, before it begins")
                yield _Line(read_code(system, code), begins, ends, name or None)
        except UnicodeDecodeError as error:
            raise _broken(path, "is not UTF-8", "save it as UTF-8") from error
        except (ValueError, csv.Error) as error:
            problem = str(error).replace("Invalid isoformat string:", "there is no day")
            repair = 'fix the line: "icd10,M54.5,2026-01-31,2026-12-31,name"'
            raise _broken(path, problem, repair, rows.line_num) from None


def _columns(path: Path, named: Sequence[str]) -> tuple[Sequence[int], int]:
    """Positions of the columns (past the end, of one that is absent), and their number."""
    repair = f"begin with: {','.join(_COLUMNS)}"
    if not set(_NEEDED) <= set(named):
        problem = "the first line does not name the columns system and code"
        raise _broken(path, problem, repair, 1)
    if unknown := [c for c in named if c not in _COLUMNS]:
        raise _broken(path, f"there is no column {unknown[0]!r}", repair, 1)
    return [named.index(c) if c in named else len(named) for c in _COLUMNS], len(named)


def _fhir(path: Path) -> tuple[str, Iterator[_Line]]:
    """A ValueSet with its expansion: what is only described there is not expanded here."""
    try:
        resource: Any = read_json(path)
    except (ValueError, RecursionError) as error:
        raise LibraryError([not_json(path, error)]) from error
    if not isinstance(resource, dict) or resource.get("resourceType") != "ValueSet":
        raise _broken(path, "is no ValueSet", "write a FHIR ValueSet with its expansion")
    expansion = resource.get("expansion")
    contains = expansion.get("contains") if isinstance(expansion, dict) else None
    if not isinstance(expansion, dict) or not isinstance(contains, list):
        raise _broken(path, "has no expansion.contains", "expand the value set, then save it")
    count = _number_of(contains)
    total = expansion.get("total")
    if expansion.get("offset") or (isinstance(total, int) and total > count):
        problem = f"its expansion has {count} codes of {total}: it is a part"
        raise _broken(path, problem, "expand it without paging, then save all of it")
    return str(resource.get("title") or resource.get("name") or path.parent.name), _contained(
        path, contains
    )


def _number_of(contains: Sequence[Any]) -> int:
    """Number of an expansion's entries, those within others included."""
    pending = list(contains)
    for item in pending:
        pending.extend(_within(item))
    return len(pending)


def _within(item: object) -> Sequence[Any]:
    inner = item.get("contains") if isinstance(item, dict) else None
    return inner if isinstance(inner, list) else ()


def _contained(path: Path, contains: Sequence[Any]) -> Iterator[_Line]:
    pending = list(contains)
    for item in pending:
        if not isinstance(item, dict):
            raise _broken(path, "expansion.contains holds what is no mapping", "fix the expansion")
        if not isinstance(item.get("contains", []), list):
            raise _broken(
                path, "contains within expansion.contains is no list", "fix the expansion"
            )
        pending.extend(_within(item))
        if item.get("abstract") is True or "code" not in item:
            continue
        system = code_system(str(item.get("system") or ""))
        code = canonical_code(system, str(item["code"]))
        if code is None:
            raise _broken(path, f"{item['code']!r} has no system", "expand it with systems")
        display = item.get("display")
        yield _Line(code, name=display if isinstance(display, str) else None)


_READERS = {".yaml": _yaml, ".csv": _csv, ".json": _fhir}


def _broken(path: Path, problem: str, repair: str, line: int | None = None) -> LibraryError:
    return LibraryError([Finding(path, "(file)", problem, repair, line)])
