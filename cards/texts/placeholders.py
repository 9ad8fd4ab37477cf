"""Placeholders of a text: {services} and the like, each known to whatever fills the text in."""

from __future__ import annotations

import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def wrong(problem: str, repair: str) -> PydanticCustomError:
    """The error of a validator, in words for the person who wrote the file."""
    return PydanticCustomError("wrong", "{problem}", {"problem": problem, "repair": repair})


class Placeholders:
    """Marks a text that people read, with the names that are filled in; there may be none.

    A name that nothing fills in is an error where the text is read from its file; so is, where
    they are `needed`, a name that the text leaves out.
    """

    def __init__(self, *names: str, needed: bool = False) -> None:
        self.names = names
        self.needed = needed

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.checked, handler(source))

    def checked(self, text: str) -> str:
        """The text as it is. Raises PydanticCustomError, with the repair."""
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
