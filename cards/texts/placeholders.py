"""Placeholders of texts, such as {services}, checked when a text is read."""

from __future__ import annotations

import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def wrong(problem: str, repair: str) -> PydanticCustomError:
    """A validator's error, with problem and fix for the author of the file."""
    return PydanticCustomError("wrong", "{problem}", {"problem": problem, "repair": repair})


class Placeholders:
    """Marker of a text for people, with its placeholders, if any.

    An unknown placeholder is an error when the text is read; with `needed`, an absent one too.
    """

    def __init__(self, *names: str, needed: bool = False) -> None:
        self.names = names
        self.needed = needed

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.checked, handler(source))

    def checked(self, text: str) -> str:
        """The text unchanged. Raises PydanticCustomError with the fix."""
        if "{" not in text and "}" not in text and not self.needed:
            return text
        used = _PLACEHOLDER.findall(text)
        for name in used:
            if name not in self.names:
                raise wrong(f"nothing fills in {{{name}}}", self._repair())
        rest = _PLACEHOLDER.sub("", text)
        if "{" in rest or "}" in rest:
            raise wrong("a brace has no partner", "close it, or leave it out")
        for name in self.names if self.needed else ():
            if name not in used:
                raise wrong(f"{{{name}}} is missing", "say where it stands in the sentence")
        return text

    def _repair(self) -> str:
        if not self.names:
            return "leave it out: nothing is filled in here"
        return "use " + " or ".join(f"{{{name}}}" for name in self.names)
