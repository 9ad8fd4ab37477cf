"""The README is held against the program: settings, commands, endpoints, dependencies, files."""

import re
import tomllib
from pathlib import Path

import click
from flask import Flask

from service.bootstrap.app import create_app
from service.cli import cli
from service.settings import Settings
from tests.e2e.readers import readers_file

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def rows(first_column: str) -> list[str]:
    """The first cells of the README's table whose first column has this heading."""
    table = README.split(f"| {first_column} |", 1)[1].split("\n\n", 1)[0]
    cells = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    return [re.sub(r"`([^`]*)`.*", r"\1", c) for c in cells]


def test_every_setting_is_a_row_of_the_table_and_the_other_way_round() -> None:
    settings = [f"COVERCARD_{name.upper()}" for name in Settings.model_fields]
    assert sorted(rows("setting")) == sorted(settings)


def test_every_command_is_a_row_of_the_table_and_the_other_way_round() -> None:
    def names(group: click.Group, prefix: str) -> list[str]:
        found: list[str] = []
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                found.extend(names(command, f"{prefix} {name}"))
            else:
                found.append(f"{prefix} {name}")
        return found

    documented = [" ".join(r.split()[: 3 if _is_group(r) else 2]) for r in rows("command")]
    assert sorted(documented) == sorted(names(cli, "covercard"))


def _is_group(row: str) -> bool:
    return isinstance(cli.commands.get(row.split()[1]), click.Group)


def test_every_endpoint_is_a_row_of_the_table_and_the_other_way_round(tmp_path: Path) -> None:
    app: Flask = create_app(Settings(readers_file=readers_file(tmp_path)))
    routes = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if "static" not in rule.rule
    }
    documented = {re.sub(r"\?.*", "", r) for r in rows("endpoint")}
    assert documented == {_readable(r) for r in routes}


def _readable(route: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", route).replace("_", "-")


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [re.split(r"[\[>=<]", d)[0].lower() for d in project["dependencies"]]
    assert sorted(r.lower() for r in rows("package")) == sorted(declared)


def test_every_file_that_the_readme_links_is_there() -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert targets
    missing = [t for t in targets if not (ROOT / t).exists()]
    assert missing == []
