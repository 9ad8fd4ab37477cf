"""The documents are held to the program: settings, commands, endpoints, fields, files, links."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from flask import Flask
from pydantic_core import PydanticUndefined

from service.bootstrap.app import create_app
from service.cli import cli
from service.decision.conditions import asked_in
from service.decision.facts import TABLE
from service.policies.editor_schema import editor_schema
from service.policies.library import load_policies
from service.policies.manifest import Manifest
from service.settings import Settings
from tests.conftest import applications, in_folder
from tests.documents import DOCUMENTS, ROOT, Document, document
from tests.e2e.readers import readers_file
from tests.e2e.signing import ec_signer, entry, write_clients

EACH = pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
CONFIGURATION = document("docs/configuration.md")
CLI = document("docs/cli.md")
POLICIES = document("docs/writing-policies.md")

NO_SETTINGS = {
    "COVERCARD_FHIR_PACKAGES",
    "COVERCARD_INFERNO_GEMS",
    "COVERCARD_INFERNO_HOME",
    "COVERCARD_INFERNO_RUBY",
    "COVERCARD_SPECIFICATIONS",
    "COVERCARD_VALIDATOR_HOME",
}
"""Variables that only the tests read."""
FORMER = {"COVERCARD_SPOOL_DIR", "COVERCARD_RECORD_TIMEOUT_MS"}
"""Former names of settings: one still counts, for one the start says what became of it."""


# Links and files --------------------------------------------------------------------------------


@EACH
def test_every_link_leads_to_a_file_and_a_heading(page: Document) -> None:
    wrong = []
    for target in page.links():
        file, _, anchor = target.partition("#")
        path = (page.path.parent / file).resolve() if file else page.path
        if not path.exists() or (anchor and anchor not in Document(path).anchors):
            wrong.append(target)
    assert wrong == []


@EACH
def test_every_file_that_is_named_exists(page: Document) -> None:
    named = re.findall(
        r"`((?:service|cards|tests|docs|examples|fhir_fixtures|\.ci)/[\w./-]+)`", page.prose
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@EACH
def test_american_english_is_written(page: Document) -> None:
    foreign = r"\w*programme\w*|\w*licence\w*|\bcentre\w*|\bbehaviour\w*|\bcolour\w*|organis\w*"
    quoted = re.sub(r"`[^`]*`|\]\([^)]*\)", "", page.prose)
    assert re.findall(foreign, quoted, flags=re.IGNORECASE) == []


# Settings ---------------------------------------------------------------------------------------


def test_every_setting_is_a_row_and_the_other_way_round() -> None:
    settings = [f"COVERCARD_{name.upper()}" for name in Settings.model_fields]
    assert sorted(CONFIGURATION.first_cells("setting")) == sorted(settings)


def test_every_default_is_the_settings_own() -> None:
    for name, default, _ in CONFIGURATION.rows("setting"):
        field = Settings.model_fields[name.strip("`").removeprefix("COVERCARD_").lower()]
        assert field.default is not PydanticUndefined
        if isinstance(field.default, Path) and field.default.is_absolute():
            continue  # built in, beside the program
        if field.default in (None, ""):
            assert not default.startswith("`"), name
        else:
            assert default == f"`{field.default}`", name


@EACH
def test_every_variable_that_is_named_is_a_setting(page: Document) -> None:
    named = set(re.findall(r"\bCOVERCARD_[A-Z][A-Z_]*[A-Z]\b", page.text))
    known = {f"COVERCARD_{name.upper()}" for name in Settings.model_fields}
    assert named - known - NO_SETTINGS - FORMER == set()


def test_variables_of_the_tests_are_read_by_them() -> None:
    tests = [p for p in (ROOT / "tests").rglob("*.py") if p != Path(__file__)]
    source = "".join(path.read_text("utf-8") for path in tests)
    assert [name for name in NO_SETTINGS if f'"{name}"' not in source] == []


# Commands ---------------------------------------------------------------------------------------


def commands(group: click.Group, before: str = "covercard") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


def usage(name: str, command: click.Command) -> str:
    arguments = [p.make_metavar(click.Context(command)) for p in command.params]
    return " ".join([name, *(a for p, a in zip(command.params, arguments, strict=True) if _is(p))])


def _is(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument)


def test_every_command_is_a_row_and_the_other_way_round() -> None:
    expected = [usage(name, command) for name, command in commands(cli)]
    assert sorted(CLI.first_cells("command")) == sorted(expected)


def test_every_option_is_named_and_the_other_way_round() -> None:
    options = {
        option
        for _, command in commands(cli)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert set(re.findall(r"--[a-z][a-z-]*", CLI.text)) == options


EXAMPLES = [
    pytest.param(command, id=f"{page.name}: {command}")
    for page in DOCUMENTS
    if page.name != "docs/operations.md"  # tests/e2e/test_runbook.py runs its commands
    for command in page.commands()
]
RUN_HERE = ("fire", "policy lint", "policy test", "policy show", "db upgrade")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_command_is_one(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is taken by its program; those that need no service and no record are run."""
    monkeypatch.chdir(ROOT)
    for command in example.split(" | "):
        _is_one(command, tmp_path, monkeypatch)


def _is_one(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [w for w in shlex.split(command) if not re.match(r"[A-Z_]+=", w)]
    program = words[0].removeprefix(".venv/bin/")
    if program == "make":
        targets = re.findall(r"^([\w$()./-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        names = {target.replace("$(VENV)", ".venv") for target in targets}
        assert {w for w in words[1:] if "=" not in w} <= names
    elif program == "covercard":
        take(cli, words[1:])
        if " ".join(words[1:]).startswith(RUN_HERE) and "--url" not in words:
            monkeypatch.setenv("COVERCARD_DATABASE_URL", f"sqlite:///{tmp_path}/log.sqlite3")
            done = CliRunner().invoke(cli, words[1:])
            assert done.exit_code == 0, done.output
    elif program == "python":
        module = words[words.index("-m") + 1]
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    else:
        assert program == "curl"


def take(command: click.Command, words: list[str]) -> None:
    """Raise click.UsageError unless the command takes these words; nothing is run."""
    if isinstance(command, click.Group):
        take(command.commands[words[0]], words[1:])
    else:
        command.make_context(command.name, list(words))


def test_an_option_that_there_is_not_is_no_example_command() -> None:
    with pytest.raises(click.UsageError):
        take(cli, ["fire", "README.md", "--no-such-option"])


@EACH
def test_every_target_of_make_that_is_named_exists(page: Document) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)", page.text)) <= set(targets)


# Endpoints --------------------------------------------------------------------------------------


def test_every_endpoint_is_a_row_and_the_other_way_round(tmp_path: Path) -> None:
    client = {**entry(ec_signer("https://ehr.example.org")), "client_id": "an-ehr"}
    clients = write_clients(tmp_path, client)
    readers = readers_file(tmp_path)
    settings = in_folder(tmp_path, readers_file=readers, clients_file=clients, workbench="on")
    app: Flask = create_app(settings)
    routes = {
        f"{method} {readable(rule.rule)}"
        for each in applications(app)
        for rule in each.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if "static" not in rule.rule
    }
    assert set(document("docs/http-api.md").first_cells("endpoint")) == routes


def readable(route: str) -> str:
    """A route as the document writes it: what each FHIR base URL has stands there once."""
    route = re.sub(r"^/fhir/\d\.\d/", "/fhir/", route)
    route = route.replace("/fhir/.well-known/", "/.well-known/")
    return re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", route).replace("_", "-")


def test_every_service_is_a_row_and_the_other_way_round() -> None:
    from service.crd.hooks import SERVICES

    shown = [row[:2] for row in document("docs/http-api.md").rows("service id")]
    assert sorted(shown) == sorted([f"`{s.id}`", s.hook] for s in SERVICES)


def test_every_metric_is_a_row_and_the_other_way_round(tmp_path: Path) -> None:
    app = create_app(Settings(readers_file=readers_file(tmp_path)))
    exposed = app.test_client().get("/metrics").get_data(as_text=True)
    families = set(re.findall(r"^# TYPE (covercard_\w+) ", exposed, flags=re.MULTILINE))
    shown = set(document("docs/operations.md").first_cells("metric"))
    assert shown == families


# Fields -----------------------------------------------------------------------------------------

PROGRAMS = {"medicare_advantage", "original_medicare", "not_told", "not_medicare"}
SECTIONS = {
    "policy": "## Version of a policy",
    "notice": "## Edition of a notice",
    "cases": "## Cases",
    "payers": "## Payers",
}


SHOWN_ELSEWHERE = (
    "rules[].then",
    "rules[].when.all",
    "rules[].when.any",
    "rules[].when.not",
    "situations[].when",
    "cases[].coverage[]",
)
"""Fields with the fields of others in them: an outcome's, a condition's, a single coverage's."""


def fields(node: Mapping[str, Any], schema: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The fields of a JSON Schema: `services[].codes[].code`; `<program>` for each program, and
    `<name>` for the names that a file gives.
    """
    if before in SHOWN_ELSEWHERE:
        return
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from fields(choice, schema, before)
    for name, below in node.get("properties", {}).items():
        own = "<program>" if name in PROGRAMS else name
        path = f"{before}.{own}" if before else own
        yield path
        yield from fields(below, schema, path)
    if isinstance(node.get("items"), Mapping):
        yield from fields(node["items"], schema, f"{before}[]")
    by_name = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    for below in by_name if before else ():
        if isinstance(below, Mapping):
            yield from fields(below, schema, f"{before}.<name>")


@pytest.mark.parametrize("kind", SECTIONS)
def test_every_field_is_a_row_and_the_other_way_round(kind: str) -> None:
    schema = editor_schema(kind)
    section = POLICIES.text.split(SECTIONS[kind], 1)[1].split("\n## ", 1)[0]
    shown = re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)
    assert shown == list(dict.fromkeys(fields(schema, schema)))


def test_every_field_of_the_manifest_is_a_row_and_the_other_way_round() -> None:
    schema = Manifest.model_json_schema()
    section = POLICIES.text.split("## Publishing", 1)[1].split("\n## ", 1)[0]
    shown = re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)
    assert shown == list(fields(schema, schema))


def test_every_place_of_wording_is_named() -> None:
    section = POLICIES.text.split("## Where a sentence comes from", 1)[1]
    files = {path.name for path in (ROOT / "cards" / "texts").glob("*.yaml")}
    assert {name for name in files if f"[{name}]" not in section} == set()


# The rest ---------------------------------------------------------------------------------------


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [re.split(r"[\[>=<]", d)[0].lower() for d in project["dependencies"]]
    shown = document("docs/dependencies.md").first_cells("package")
    assert sorted(r.lower() for r in shown) == sorted(declared)


def test_every_room_is_a_row_and_the_other_way_round() -> None:
    rooms = {f"service/{p.parent.name}" for p in (ROOT / "service").glob("*/__init__.py")}
    shown = document("docs/architecture.md").rows("package")
    linked = {re.sub(r"\[([^\]]*)\].*", r"\1", row[0]) for row in shown}
    assert {name for name in linked if name.startswith("service/") and "." not in name} == rooms


def test_the_picture_of_the_rooms_has_the_direction_of_the_import_contract() -> None:
    """Each arrow leads to a layer below, and every layer is in the picture."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    depth = {
        room.strip().removeprefix("service."): n
        for n, layer in enumerate(layers)
        for room in layer.split("|")
    }
    picture = document("docs/architecture.md").code("mermaid")[0]
    arrows = re.findall(r"^    (\w+)(?:\[.*?\])? --> ([\w &]+)", picture, flags=re.MULTILINE)
    led = [(above, below) for above, all_ in arrows for below in all_.split(" & ")]
    known = [(above, below) for above, below in led if below in depth]
    assert [pair for pair in known if depth[pair[0]] >= depth[pair[1]]] == []
    assert {room for pair in led for room in pair} == {*depth, "cards"} - {"errors"}


def test_departures_are_those_of_the_requirements() -> None:
    """What not_applicable.yaml calls a departure is a row of the page, with its ids."""
    reasons = (ROOT / "tests" / "requirements" / "not_applicable.yaml").read_text("utf-8")
    departures = re.findall(r'^"A departure:.*\n((?:  - .*\n?)+)', reasons, flags=re.MULTILINE)
    ids = {i for block in departures for i in re.findall(r"  - (\S+)", block)}
    section = document("docs/conformance.md").text.split("## Departures", 1)[1]
    table = section.split("\n## ", 1)[0]
    assert ids
    assert set(re.findall(r"crd-[\d.]+:[\w-]+", table)) == ids


def test_every_decision_record_is_listed() -> None:
    assert set(document("docs/adr/README.md").links()) == {
        p.name for p in (ROOT / "docs" / "adr").glob("0*.md")
    }


EXAMPLES = ROOT / "examples" / "policies"


def test_the_scopes_that_help_are_those_of_the_facts_of_each_example_policy() -> None:
    shown = {
        policy: set(re.findall(r"patient/(\w+)\.read", scopes))
        for first, _, scopes in POLICIES.rows("example policy")
        for policy in re.findall(r"`([^`]+)`", first)
    }
    examples = load_policies(EXAMPLES)
    asked: dict[str, set[str]] = {}
    for policy in examples.ids():
        rules = [r for version in examples.versions(policy) for r in version.rules.values()]
        conditions = [rule.when for listed in rules for rule in listed.rules]
        facts = [asked_for.fact for when in conditions for asked_for in asked_in(when)]
        asked[policy] = {kind for fact in facts for kind in fact.needs}
        outcomes = [o for version in examples.versions(policy) for o in version.outcomes]
        if any(outcome.forms for outcome in outcomes):
            asked[policy].add("QuestionnaireResponse")
    assert shown == asked


def test_every_fact_is_a_row_and_the_other_way_round() -> None:
    assert POLICIES.first_cells("fact") == list(TABLE)
