"""Strict YAML 1.2 reader of the operator's files, with lines of fields.

Duplicate keys, tags, tabs and several documents are errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from service.field_path import FieldPath, written_path
from service.plain_yaml import NotPlain, read_plain


def load_yaml(path: Path) -> object:
    """The plain data of a file. Raises OSError, ValueError (encoding, impossible day),
    YAMLError.
    """
    return read_yaml(path.read_text("utf-8"))


def read_yaml(text: str) -> object:
    """The plain data of a text. Raises ValueError (impossible day), YAMLError."""
    try:
        return read_plain(text)
    except NotPlain:
        try:
            loaded: object = YAML(typ="safe").load(text)
        except TypeError as error:
            # The reader has no error of its own for a list with a mapping in it as a key.
            raise YAMLError("a key is neither a text nor a number") from error
        return loaded


def field_name(where: FieldPath) -> str:
    """("services", 0, "name") as "services[0].name"; the file itself as "(file)"."""
    return written_path(where) or "(file)"


def line_of(path: Path, where: FieldPath) -> int | None:
    """The line of a field, or of its nearest existing parent.

    Reads the file again: for error messages.
    """
    line = None
    for node in _way(path, where):
        line = int(node.start_mark.line) + 1
    return line


def written_at(path: Path, where: FieldPath) -> str | None:
    """A scalar's characters in the file (0610, not 610)."""
    nodes = list(_way(path, where))
    whole = len(nodes) == len(where) + 1
    return nodes[-1].value if whole and isinstance(nodes[-1], ScalarNode) else None


def _way(path: Path, where: FieldPath) -> Iterator[Node]:
    """The existing nodes on the path to a field."""
    try:
        node: Node | None = YAML(typ="safe").compose(path.read_text("utf-8"))
    except (OSError, ValueError, YAMLError):
        return
    if node is None:
        return
    yield node
    for step in where:
        if isinstance(node, MappingNode):
            node = next((v for k, v in node.value if k.value == str(step)), None)
        elif isinstance(node, SequenceNode) and isinstance(step, int):
            node = node.value[step] if step < len(node.value) else None
        else:
            return
        if node is None:
            return
        yield node
