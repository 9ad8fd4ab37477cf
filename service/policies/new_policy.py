"""Skeleton of a policy: a commented version with its cases, for policy staff to fill in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from service.decision.policy import Program
from service.errors import ConfigurationError
from service.policies.cases import CASES
from service.policies.fields import Id
from service.policies.folder import read_folder

FILL_IN = "FILL IN"
"""Marker of an unfilled place; lint refuses it."""
CODE_TO_FILL_IN = "XXXXX"

_SKELETON = Path(__file__).parent / "skeleton"


def new_policy(library: Path, policy: str, start: date) -> tuple[Path, Path]:
    """Write the files of a policy in force from `start`: a version and its cases.

    Suggests each program's notices on file. Raises ConfigurationError for an invalid id, or for an
    existing policy.
    """
    try:
        TypeAdapter(Id).validate_python(policy, strict=True)
    except ValidationError:
        raise ConfigurationError(
            f"{policy!r} is no id: write lower-case letters, digits and hyphens"
        ) from None
    folder = library / policy
    if folder.exists():
        raise ConfigurationError(f"{folder} is there already: copy a version to a new file there")
    values = {**_values(policy, start), **_notices(library)}
    folder.mkdir(parents=True)
    version, cases = folder / f"{start}.yaml", folder / CASES
    version.write_text(_filled("version.yaml", values), "utf-8")
    cases.write_text(_filled("cases.yaml", values), "utf-8")
    return version, cases


def _filled(name: str, values: Mapping[str, str]) -> str:
    text = (_SKELETON / name).read_text("utf-8")
    for key, value in values.items():
        text = text.replace(f"<{key}>", value)
    return text


def _values(policy: str, start: date) -> Mapping[str, str]:
    return {
        "id": policy,
        "start": start.isoformat(),
        "before": (start - timedelta(days=1)).isoformat(),
        "month": f"{start:%Y-%m}",
        "next-review": f"{start.year + 1}-{start:%m}",
    }


def _notices(library: Path) -> Mapping[str, str]:
    """The notices on file by program; all of them for the unknown program."""
    programs = {
        n.folder: n.data.programs
        for n in read_folder(library, policies=False, checks=False).editions
    }
    return {
        f"notices.{program.value}": ", ".join(
            name
            for name, meant in programs.items()
            if program is Program.UNKNOWN or program in meant
        )
        for program in Program
    }
