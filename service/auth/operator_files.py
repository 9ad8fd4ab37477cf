"""Files that an operator writes, read strictly; nothing of their content is ever repeated."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from service.errors import Finding, LibraryError


def read_yaml(path: Path, setting: str) -> object:
    """The plain data of a YAML file. Raises LibraryError; `setting` is what named the file."""
    try:
        loaded: object = YAML(typ="safe").load(path.read_text("utf-8"))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise LibraryError([Finding(path, "(file)", problem, f"check {setting}")]) from None
    except (YAMLError, ValueError):
        # The parser's own words quote the file, where a private key may stand by mistake.
        repair = "mend the indentation, quotes or brackets, or a key that stands twice"
        raise LibraryError([Finding(path, "(file)", "is not strict YAML", repair)]) from None
    return loaded


def finding(path: Path, where: tuple[str | int, ...], problem: str, repair: str) -> Finding:
    """What is wrong at a place of the file, ("clients", 0, "issuer") for clients[0].issuer."""
    name = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in where).lstrip(".")
    return Finding(path, name or "(file)", problem.removeprefix("Value error, "), repair)
