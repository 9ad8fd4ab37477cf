"""The forms' expressions are definitions of CQL libraries, and these are as new as their source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.library import Library

from cards.questionnaires.form_libraries import FormLibraries, load_libraries
from service.dtr.form_shape import CQF_LIBRARY
from tests.cql import FOLDERS, Source, content, requirements, sources
from tests.filling import questions

Json = dict[str, Any]
ALTERNATIVE = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/alternativeExpression"
SOURCES = sources()
OUTPUT = [path for folder in FOLDERS for path in sorted(folder.glob("libraries/*.json"))]
FORMS = [path for folder in FOLDERS for path in sorted(folder.glob("*.json"))]

each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
each_form = pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)


def libraries() -> FormLibraries:
    shipped = {library["url"] for library in load_libraries()}
    read = (json.loads(path.read_text("utf-8")) for path in OUTPUT)
    return load_libraries(library for library in read if library["url"] not in shipped)


def elm_of(library: Json) -> Json:
    elm: Json = json.loads(elm_text(library))["library"]
    return elm


def elm_text(library: Json) -> str:
    return content(library, "application/elm+json")


def closure(canonical: str) -> Iterator[Json]:
    """A library with all that it depends on."""
    found = libraries().by_canonical(canonical)
    assert found is not None, canonical
    yield found
    for artifact in found.get("relatedArtifact", ()):
        yield from closure(artifact["resource"])


def expressions(element: object) -> Iterator[Json]:
    """Every expression of a Questionnaire, but for the alternatives of another."""
    if isinstance(element, list):
        for each in element:
            yield from expressions(each)
    elif isinstance(element, dict):
        if "valueExpression" in element and element.get("url") != ALTERNATIVE:
            yield element["valueExpression"]
        for each in element.values():
            yield from expressions(each)


@pytest.mark.form_rule("dtr-cql-library")
@each_source
def test_a_library_holds_the_cql_that_lies_beside_its_form_and_elm_made_of_it(
    source: Source,
) -> None:
    repair = f"{source.output.name} is older than {source.path.name}: run make forms"
    assert source.output.is_file(), repair
    library = json.loads(source.output.read_text("utf-8"))
    assert content(library, "text/cql") == source.text, repair
    Library.model_validate(library)
    elm = elm_of(library)
    assert elm["identifier"] == {"id": source.name, "version": source.version}
    assert library["name"] == source.name
    assert library["version"] == source.version
    assert library["url"].endswith(f"/Library/{source.name}")
    assert not any(note["type"] == "CqlToElmError" for note in elm["annotation"])


def test_each_library_has_a_source() -> None:
    assert sorted(OUTPUT) == sorted(source.output for source in SOURCES)
    assert SOURCES


@pytest.mark.form_rule("dtr-data-requirement")
@each_source
def test_a_library_lists_all_that_it_and_its_libraries_retrieve(source: Source) -> None:
    library = json.loads(source.output.read_text("utf-8"))
    canonical = f"{library['url']}|{library['version']}"
    assert library["dataRequirement"] == requirements(elm_of(each) for each in closure(canonical))
    retrieves = sum(elm_text(each).count('"type":"Retrieve"') for each in closure(canonical))
    assert retrieves >= len(library["dataRequirement"]) > 0


@pytest.mark.form_rule("dtr-cql")
@each_form
def test_each_expression_is_a_definition_of_the_forms_library_with_its_elm(path: Path) -> None:
    form = json.loads(path.read_text("utf-8"))
    named = [e["valueCanonical"] for e in form.get("extension", ()) if e["url"] == CQF_LIBRARY]
    by_name = {each["name"]: each for url in named for each in closure(url)}
    found = list(expressions(form))
    assert bool(found) == bool(named)
    for expression in found:
        assert expression["language"] == "text/cql-identifier"
        (alternative,) = (e["valueExpression"] for e in expression["extension"])
        assert alternative["language"] == "application/elm+json"
        elm = json.loads(alternative["expression"])
        assert elm["type"] == "ExpressionRef"
        assert expression["expression"] == f'"{elm["libraryName"]}".{elm["name"]}'
        statements = elm_of(by_name[elm["libraryName"]])["statements"]["def"]
        assert elm["name"] in {s["name"] for s in statements if s.get("type") != "FunctionDef"}


def test_each_form_that_prefills_from_the_chart_has_cql() -> None:
    with_cql = {source.path.stem for source in SOURCES}
    for path in FORMS:
        items = questions(json.loads(path.read_text("utf-8"))["item"])
        if any(item["linkId"] in ("patient-name", "birth-date") for item in items):
            assert path.stem in with_cql
