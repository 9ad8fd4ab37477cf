"""Phrases in which conditions are put: a table beside this, read once."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from service.yaml_files import load_yaml


@functools.cache
def phrases() -> Mapping[str, str]:
    """The phrases by operator or use; {fact}, {value}, {condition} and {day} are filled in."""
    loaded = load_yaml(Path(__file__).with_name("condition_phrases.yaml"))
    return {str(k): str(v) for k, v in loaded.items()} if isinstance(loaded, dict) else {}
