"""The project's language: US English, and docstrings that begin with a concept, not a question."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOREIGN = re.compile(
    r"behaviour|\bcolour|licence|\bcentre|neighbour|recognis|organis|misspelt|favour|judgement"
    r"|programme|\bmend(s|ed)?\b",
    re.IGNORECASE,
)
OLD_WORDS = re.compile(r"[\"'`]programmes?(_label)?[\"'`]|programmes?(_label)?:")
"""Names of fields and columns that are still read, in quotes or as keys of a file."""
KEPT = {
    "cards/texts": "wording that clinicians read; it changes by decision of the policy staff",
    "service/policies/library": "published files are never edited",
    "service/decision_log/migrations": "the tables' former names",
    "tests": "they hold former names and published wording to what they were",
}
SOURCES = ("service", "cards", "examples", "docs", "fhir_fixtures", ".ci")


def texts() -> Iterator[Path]:
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            kept = any(name.startswith(f"{start}/") for start in KEPT)
            if path.is_file() and path.suffix in {".py", ".yaml", ".md", ".html", ""} and not kept:
                yield path
    yield from ROOT.glob("*.md")


def test_the_project_is_written_in_us_english() -> None:
    found = []
    for path in texts():
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if FOREIGN.search(OLD_WORDS.sub("", line)):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_what_is_kept_as_it_was_is_still_there() -> None:
    assert [folder for folder in KEPT if not (ROOT / folder).is_dir()] == []


def docstrings() -> Iterator[tuple[str, str]]:
    """Place and docstring of every module, class and function of the program."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for folder in ("service", "cards"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                    line = getattr(node, "lineno", 1)
                    yield f"{path.relative_to(ROOT)}:{line}", text


def test_a_docstring_begins_with_a_concept() -> None:
    question = re.compile(r"(What|Who|Whoever|Whom|Which|How|Why|Where|Is|Are|Can|Does) ")
    begins = [f"{place}: {t.splitlines()[0]}" for place, t in docstrings() if question.match(t)]
    assert begins == []
