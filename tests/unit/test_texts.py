"""The wording of answers: what is wrong with it is found at the start, with its place."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from cards.texts.templates import ENDING, FOLDER
from service.cli.policy_commands import policy
from service.errors import LibraryError
from service.policies import answer_texts
from service.policies.answer_texts import TEMPLATES, lint_texts, load_texts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The wordings, to be changed."""
    shutil.copytree(FOLDER, tmp_path / "texts")
    return tmp_path / "texts"


def change(folder: Path, file: str, was: str, now: str) -> None:
    text = (folder / file).read_text("utf-8")
    assert was in text
    (folder / file).write_text(text.replace(was, now, 1), "utf-8")


def refused(folder: Path) -> str:
    with pytest.raises(LibraryError) as error:
        load_texts(folder)
    return str(error.value).replace(f"{folder}/", "")


def test_the_wordings_as_they_are_have_nothing_wrong(folder: Path) -> None:
    assert lint_texts() == []
    loaded = load_texts(folder)
    assert loaded.phrases.topics.guideline == "Guideline"
    assert loaded.undetermined["technical"].reason_code == "technical"


@pytest.mark.parametrize(
    ("file", "was", "now", "message"),
    [
        (
            "phrases.yaml",
            "{insurer}",
            "{insurrer}",
            "coverage_notes.none: nothing fills in {insurrer} — use {insurer}",
        ),
        ("phrases.yaml", "{code}: {because}.", "{code}.", "modifier_fits: {because} is missing"),
        ("phrases.yaml", "{title}", "{title", "policy_link: a brace has no partner"),
        ("phrases.yaml", "too_old:", "to_old:", "why_rejected.too_old: is missing"),
        ("phrases.yaml", "too_old:", "to_old:", "why_rejected.to_old: unknown field — is too_old"),
        ("phrases.yaml", "guideline: Guideline", "guideline: 1", 'quote it: "1"'),
        (
            "phrases.yaml",
            "several:",
            "sever:",
            "coverage_notes.several: is missing — add it: the decision can come to it",
        ),
        ("phrases.yaml", "several:", "sever:", "coverage_notes.sever: is never said"),
        ("undetermined.yaml", "no_code:", "no_cod:", "no_code: is missing — add it: the decision"),
        ("undetermined.yaml", "no_code:", "no_cod:", "no_cod: is never said — remove it; known"),
        ("undetermined.yaml", "  missing:", "  lacking:", "no_code.lacking: unknown field"),
        ("undetermined.yaml", "covered: not-covered", "covered: no", "use one of covered, not-"),
        (
            "undetermined.yaml",
            "Add the CPT",
            "{Add} the CPT",
            "nothing fills in {Add} — use",
        ),
        (
            "undetermined.yaml",
            "Add the CPT",
            "{why} the CPT",
            "has something to fill in",
        ),
        ("phrases.yaml", "  no_token:", "  token:", "unread_because.no_token: is missing"),
        ("phrases.yaml", "  no_id:", "  id:", "not_checked.id: is never said"),
        (
            "packages.yaml",
            "{reason} No",
            "{why} No",
            "order_gap: nothing fills in {why} — use {reason}",
        ),
        ("payer.yaml", "pending:", "waiting:", "authorization.pending: is missing"),
        ("payer.yaml", "gold-card:", "gold_card:", "reasons.gold-card: is missing"),
    ],
)
def test_a_table_that_is_wrong_stops_the_start_with_place_and_repair(
    folder: Path, file: str, was: str, now: str, message: str
) -> None:
    line = (folder / file).read_text("utf-8").split(was)[0].count("\n") + 1
    change(folder, file, was, now)
    told = refused(folder)
    assert message in told
    assert file in told
    if "is missing" not in message:
        # A mapping begins on the line after its name.
        assert f"{file}:{line}: " in told or f"{file}:{line + 1}: " in told


@pytest.mark.parametrize(
    ("file", "was", "now", "message"),
    [
        ("noncoverage", "{{ f.reason }}", "{{ f.reasom }}", "there is no reasom to fill in"),
        ("noncoverage", "{{ more }}", "{{ moer }}", "nothing fills in moer"),
        ("noncoverage", "a.found_in }}**", "a.fond_in }}**", "there is no fond_in to fill in"),
        ("noncoverage", "{% if f.ends %}", "{% if f.end %}", "there is no end to fill in"),
        ("advance_notice", "n.program_label", "n.label", "there is no label to fill in"),
        ("advance_notice", "if line.label", "if line.lable", "there is no lable to fill in"),
        ("advance_notice", "{{ about(f) }}", "{{ about(g) }}", "nothing fills in g"),
        ("not_checked", "f.names", "f.orders", "use one of detail, names"),
        ("early_warning", "f.several_orders", "f.several", "there is no several to fill in"),
        ("about", "in f.services", "in g.services", "nothing fills in g"),
        ("about", "s.name", "s.called", "use one of code, name, group"),
        ("about", "f.ordered_as %}, o", "f.order %}, o", "there is no order to fill in"),
        ("about", "| untrusted", "| trusted", "No filter named 'trusted'"),
        ("not_checked", "{% endfor %}", "", "Unexpected end of template"),
    ],
)
def test_a_template_that_is_wrong_stops_the_start_with_its_line(
    folder: Path, file: str, was: str, now: str, message: str
) -> None:
    name = f"{file}{ENDING}"
    line = (folder / name).read_text("utf-8").split(was)[0].count("\n") + 1
    change(folder, name, was, now)
    (finding, *_) = refused(folder).splitlines()
    assert message in finding
    assert finding.startswith(f"{name}:{line}: error: (template): ")


def test_every_template_is_looked_at() -> None:
    """Those that cards are made of; what only others import is looked at with them."""
    written = {path.name.removesuffix(ENDING) for path in FOLDER.glob(f"*{ENDING}")}
    assert written == {template.name for template in TEMPLATES} | {"about"}


def test_what_must_never_be_said_is_not_said_in_a_phrase_either(folder: Path) -> None:
    change(folder, "payer.yaml", "has decided against this service", "has denied this service")
    change(folder, "undetermined.yaml", "No coverage policy", "Medicare does not cover it. No")
    found = {(f.file.name, f.field) for f in lint_texts(folder)}
    assert found == {
        ("payer.yaml", "authorization.denied"),
        ("undetermined.yaml", "no_policy.reason"),
    }
    assert load_texts(folder).payer.authorization["denied"].startswith("The plan has denied")


def test_lint_covers_the_wordings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(folder, "phrases.yaml", "{insurer}", "{insurrer}")
    monkeypatch.setattr(answer_texts.lint_texts, "__defaults__", (folder,))
    result = CliRunner().invoke(policy, ["lint", "--on", "2026-11-22"])
    assert result.exit_code == 1
    assert "coverage_notes.none: nothing fills in {insurrer}" in result.output
