"""Plain YAML: mappings, lists and scalars, without tags, merged mappings or several documents.

The library's files are nothing else, and read so they cost a fraction of what the general reader
takes. It has the same parser and the same rules of scalars (YAML 1.2); what is not plain, or wrong,
is left to it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

_Parser: Any = YAML(typ="safe").Parser
_IN_C = _Parser.__name__ == "CParser"


class NotPlain(Exception):
    """The text is more than plain YAML, or none: the general reader says which."""


def read_plain(text: str) -> object:
    """The data of a text, as the general reader gives it. Raises NotPlain for all others."""
    if not _IN_C:  # pragma: no cover - only where ruamel.yaml.clib is not installed
        raise NotPlain
    try:
        return _Reader(_Parser(text).get_event).document()
    except (YAMLError, ValueError) as error:
        raise NotPlain from error


class _Reader:
    """The values of a stream of events; `following` gives the next one."""

    __slots__ = ("_anchored", "_following")

    def __init__(self, following: Callable[[], Any]) -> None:
        self._following = following
        self._anchored: dict[str, Any] = {}

    def document(self) -> object:
        """The one document of the stream."""
        _expect(self._following(), StreamStartEvent)
        start = self._following()
        _expect(start, DocumentStartEvent)
        if start.version or start.tags:
            raise NotPlain
        data = self._value(self._following())
        _expect(self._following(), DocumentEndEvent)
        _expect(self._following(), StreamEndEvent)
        return data

    def _value(self, event: Any) -> Any:
        """The value that begins with an event; takes the events after it up to its end."""
        kind = event.__class__
        value: Any
        if kind is ScalarEvent:
            plain, quoted = event.implicit
            if not (plain or quoted):
                raise NotPlain
            value = event.value
            if plain and value[:1] in _NOT_ALWAYS_TEXT:
                value = _scalar(value)
        elif kind is AliasEvent:
            if event.anchor not in self._anchored:
                raise NotPlain
            return self._anchored[event.anchor]
        elif kind is MappingStartEvent:
            value = self._mapping(event)
        elif kind is SequenceStartEvent:
            value = self._sequence(event)
        else:
            raise NotPlain
        if event.anchor is not None:
            if event.anchor in self._anchored:
                raise NotPlain
            self._anchored[event.anchor] = value
        return value

    def _sequence(self, event: Any) -> list[Any]:
        if not event.implicit:
            raise NotPlain
        items = []
        while (event := self._following()).__class__ is not SequenceEndEvent:
            items.append(self._value(event))
        return items

    def _mapping(self, event: Any) -> dict[Any, Any]:
        if not event.implicit:
            raise NotPlain
        members: dict[Any, Any] = {}
        while (event := self._following()).__class__ is not MappingEndEvent:
            _expect(event, ScalarEvent)
            key = self._value(event)
            if key in members:
                raise NotPlain
            members[key] = self._value(self._following())
        return members


def _expect(event: object, kind: type) -> None:
    if event.__class__ is not kind:
        raise NotPlain


_NOT_ALWAYS_TEXT = frozenset(("", *"-+.0123456789~nNtTfF<="))
"""First characters of unquoted scalars that can be something else than text."""

_MOST_REMEMBERED = 4096


@functools.lru_cache(maxsize=_MOST_REMEMBERED)
def _scalar(written: str) -> object:
    """An unquoted scalar, by the general reader's own rules."""
    general = YAML(typ="safe", pure=True)
    tag = general.resolver.resolve(ScalarNode, written, (True, False))
    if str(tag) in _OF_MAPPINGS:
        raise NotPlain
    return general.constructor.construct_object(ScalarNode(tag, written))


_OF_MAPPINGS = frozenset(("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"))
