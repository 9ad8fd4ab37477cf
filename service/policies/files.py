"""Library files: strict YAML read into a model, with messages that name the fix.

Duplicate keys, unknown fields, unquoted days and unquoted codes are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from service.errors import Finding, LibraryError
from service.field_path import FieldPath
from service.policies import complaints
from service.policies.reading_cache import ReadingCache
from service.yaml_files import field_name, line_of, load_yaml, read_yaml, written_at

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class LibraryFile(Generic[M]):
    """A file valid by its model; lint checks its consistency."""

    path: Path
    data: M

    @property
    def folder(self) -> str:
        """The folder's name: the policy or notice."""
        return self.path.parent.name

    def finding(
        self, where: FieldPath, problem: str, repair: str, *, warning: bool = False
    ) -> Finding:
        """Something wrong at a field of this file."""
        return finding(self.path, where, problem, repair, warning=warning)


def finding(
    path: Path, where: FieldPath, problem: str, repair: str, *, warning: bool = False
) -> Finding:
    """A Finding at a field of a file, with its line."""
    return Finding(path, field_name(where), problem, repair, line_of(path, where), warning)


def load(path: Path, model: type[M], cache: ReadingCache | None = None) -> LibraryFile[M]:
    """Read and validate a file. Raises LibraryError with all findings."""
    data = parse(path, cache)
    try:
        return LibraryFile(path, model.model_validate(data))
    except ValidationError as error:
        raise LibraryError(_findings(path, model, data, error)) from None


def parse(path: Path, cache: ReadingCache | None = None) -> object:
    """The plain data of a file. Raises LibraryError if it is unreadable or no strict YAML."""
    try:
        return load_yaml(path) if cache is None else cache.data(path.read_bytes(), read_yaml)
    except RecursionError as error:
        raise _broken(path, "is nested too deeply", "write it flatter") from error
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
        # Errors without a position: an impossible unquoted day, a control character.
        problem = f"is not YAML: {str(error).splitlines()[0]}"
        raise _broken(path, problem, "fix the value, or quote it") from error


def _findings(
    path: Path, model: type[BaseModel], data: object, error: ValidationError
) -> list[Finding]:
    found: list[Finding] = []
    for each in error.errors(include_url=False):
        if each["type"] == "too_short" and each["input"]:
            continue  # pydantic counts the remaining entries after wrong ones
        complaint = complaints.of(each, model, data, written_at(path, each["loc"]))
        found.append(finding(path, complaint.at, complaint.problem, complaint.repair))
    return found


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
        "put the text into straight quotes, or fix the indentation",
    ),
    "did not find expected": (
        "the line does not fit what is above it",
        "fix the indentation, or close the quote or bracket that is open further up",
    ),
    "found unexpected end of stream": (
        "a quote is opened further up and never closed",
        "close it at the end of its text",
    ),
}
"""The parser's messages, by their beginning, in words for policy staff, with the fix."""


def _in_words(error: MarkedYAMLError) -> tuple[str, str]:
    said = str(error.problem)
    for beginning, words in _IN_WORDS.items():
        if said.startswith(beginning):
            return words
    return said, "fix the indentation, quotes or brackets there"


def _marked(error: MarkedYAMLError) -> int | None:
    mark = error.problem_mark or error.context_mark
    return None if mark is None else int(mark.line) + 1
