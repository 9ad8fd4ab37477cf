"""All wording that a clinician, patient or front desk reads: templates and tables beside this."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from cards.untrusted import as_text

_BLANK_LINES = re.compile(r"\n{3,}")


@functools.cache
def _environment() -> Environment:
    # The output is Markdown: what came with a request goes through `untrusted`, nothing else
    # needs escaping, for policies and notices are the payer's own files.
    environment = Environment(
        loader=PackageLoader("cards", "texts"),
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["untrusted"] = as_text
    return environment


def render(name: str, /, **values: object) -> str:
    """The template `name` (without ending) filled with `values`, as Markdown."""
    written = _environment().get_template(f"{name}.md.j2").render(values).strip()
    return _BLANK_LINES.sub("\n\n", written)


@functools.cache
def table(name: str) -> Mapping[str, Any]:
    """A table of wordings, `<name>.yaml` beside this module."""
    text = resources.files("cards.texts").joinpath(f"{name}.yaml").read_text("utf-8")
    loaded: Mapping[str, Any] = YAML(typ="safe").load(text)
    return loaded
