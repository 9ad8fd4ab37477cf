"""Library files: strict YAML 1.2, checked against a JSON Schema, with messages that help to mend.

Duplicate keys, unknown fields, unquoted days and unquoted codes are errors. Line numbers are looked
up only when something is wrong, for they cost a second reading.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from service.errors import Finding, LibraryError
from service.policies import complaints

Kind = Literal["policy", "notice", "payers", "cases"]
Where = tuple[str | int, ...]
"""The way to a field from the top of the file: ("services", 0, "name")."""


@dataclass(frozen=True, slots=True)
class LibraryFile:
    """A file as read; `data` fits the schema of its kind once `check` has found nothing."""

    path: Path
    data: Any

    def finding(self, where: Where, problem: str, repair: str, *, warning: bool = False) -> Finding:
        """Something wrong at a field of this file."""
        return Finding(
            self.path, field_name(where), problem, repair, _line(self.path, where), warning
        )


def field_name(where: Where) -> str:
    """("services", 0, "name") as "services[0].name"; the file itself as "(file)"."""
    name = ""
    for step in where:
        name += f"[{step}]" if isinstance(step, int) else f".{step}"
    return name.lstrip(".") or "(file)"


def parse(path: Path) -> LibraryFile:
    """Read YAML. Raises LibraryError if the file cannot be read or is not strict YAML 1.2."""
    try:
        return LibraryFile(path, _yaml().load(path.read_text("utf-8")))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise _broken(path, problem, "check that it exists and may be read") from error
    except UnicodeDecodeError as error:
        raise _broken(path, "is not UTF-8", "save it as UTF-8") from error
    except DuplicateKeyError as error:
        problem = str(error.problem).split(" with value")[0]
        raise _broken(path, problem, "leave one of the two", _marked(error)) from error
    except MarkedYAMLError as error:
        problem, repair = _in_words(error)
        raise _broken(path, f"is not YAML: {problem}", repair, _marked(error)) from error
    except (YAMLError, ValueError) as error:
        # No mark comes with these: an unquoted day that does not exist, a control character.
        problem = f"is not YAML: {str(error).splitlines()[0]}"
        raise _broken(path, problem, "mend the value, or quote it") from error


def check(file: LibraryFile, kind: Kind) -> list[Finding]:
    """Everything about the file that its schema forbids, in the order of the file."""
    errors = sorted(_validator(kind).iter_errors(file.data), key=lambda e: list(map(str, e.path)))
    return [finding for e in errors for finding in _findings(file, e)]


def load(path: Path, kind: Kind) -> LibraryFile:
    """Read and check a file. Raises LibraryError with everything found."""
    file = parse(path)
    findings = check(file, kind)
    if findings:
        raise LibraryError(findings)
    return file


def _yaml() -> YAML:
    return YAML(typ="safe")


@functools.cache
def _validator(kind: Kind) -> Draft202012Validator:
    path = Path(__file__).parent / "schema" / f"{kind}.schema.json"
    schema: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
    return Draft202012Validator(schema, format_checker=FormatChecker(["date"]))


def _findings(file: LibraryFile, error: ValidationError) -> Iterator[Finding]:
    where: Where = tuple(error.absolute_path)
    written = _written(file.path, where) if error.validator == "type" else None
    for complaint in complaints.of(error, written):
        at = (*where, complaint.at) if complaint.at else where
        yield file.finding(at, complaint.problem, complaint.repair)


def _broken(path: Path, problem: str, repair: str, line: int | None = None) -> LibraryError:
    return LibraryError([Finding(path, "(file)", problem, repair, line)])


_IN_WORDS: Mapping[str, tuple[str, str]] = {
    "found a tab character": ("a tab stands there", "put blanks in the place of tabs"),
    "found character that cannot start": (
        "a tab, or another character with which no value may begin",
        "put blanks in the place of tabs, and the text into straight quotes",
    ),
    "mapping values are not allowed": (
        "a colon stands in a text without quotes, or the line is indented unlike the others",
        "put the text into straight quotes, or mend the indentation",
    ),
    "did not find expected": (
        "the line does not fit what is above it",
        "mend the indentation, or close the quote or bracket that is open further up",
    ),
    "found unexpected end of stream": (
        "a quote is opened further up and never closed",
        "close it at the end of its text",
    ),
}
"""What the parser says, by how it begins, and what it means to who wrote the file."""


def _in_words(error: MarkedYAMLError) -> tuple[str, str]:
    said = str(error.problem)
    for beginning, words in _IN_WORDS.items():
        if said.startswith(beginning):
            return words
    return said, "mend the indentation, quotes or brackets there"


def _marked(error: MarkedYAMLError) -> int | None:
    mark = error.problem_mark or error.context_mark
    return None if mark is None else int(mark.line) + 1


def _line(path: Path, where: Where) -> int | None:
    """The line of a field, or of the nearest one above it that is in the file."""
    line = None
    for node in _way(path, where):
        line = int(node.start_mark.line) + 1
    return line


def _written(path: Path, where: Where) -> str | None:
    """A scalar's characters as they stand in the file (0610, not 610)."""
    nodes = list(_way(path, where))
    whole = len(nodes) == len(where) + 1
    return nodes[-1].value if whole and isinstance(nodes[-1], ScalarNode) else None


def _way(path: Path, where: Where) -> Iterator[Node]:
    """The nodes from the top of the file to a field, as far as they exist; keys mark mappings."""
    try:
        node: Node | None = _yaml().compose(path.read_text("utf-8"))
    except (OSError, ValueError, YAMLError):
        return
    if node is None:
        return
    yield node
    for step in where:
        if isinstance(node, MappingNode):
            node = next((v for k, v in node.value if k.value == step), None)
        elif isinstance(node, SequenceNode) and isinstance(step, int):
            node = node.value[step] if step < len(node.value) else None
        else:
            return
        if node is None:
            return
        yield node
