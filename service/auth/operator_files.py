"""Operator's YAML files, read strictly; errors never quote their content."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml.error import YAMLError

from service.errors import Finding, LibraryError
from service.field_path import FieldPath
from service.yaml_files import field_name, load_yaml


def read_yaml(path: Path, setting: str) -> object:
    """The plain data of a YAML file. Raises LibraryError; `setting` names the file's variable."""
    try:
        return load_yaml(path)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise LibraryError([Finding(path, "(file)", problem, f"check {setting}")]) from None
    except (YAMLError, ValueError):
        # The parser's message quotes the file, which may contain a private key by mistake.
        repair = "fix the indentation, quotes or brackets, or a key that stands twice"
        raise LibraryError([Finding(path, "(file)", "is not strict YAML", repair)]) from None


def finding(path: Path, where: FieldPath, problem: str, repair: str) -> Finding:
    """A Finding at a place of the file: ("clients", 0, "issuer") is clients[0].issuer."""
    return Finding(path, field_name(where), problem.removeprefix("Value error, "), repair)
