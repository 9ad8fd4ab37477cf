"""covercard policy diff: what changes for whom between two libraries."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli import cli
from service.policies.bundle import bundle_bytes
from service.policies.library import load_library
from service.policies.library_changes import AnswerChanged, LibraryChanges, library_changes
from service.policies.library_files import LibraryPlaces, read_files
from tests.conftest import ROOT
from tests.libraries import two_versions
from tests.policies import SOUND
from tests.unit.test_bundle import KEY, MADE, OTHER, public_pem

EXAMPLES = ROOT / "examples" / "policies"
PLAN = ("Example Health Plan",)
POLICY = Path("example-scan") / "2024-01-01.yaml"


def changes(before: Path, after: Path) -> LibraryChanges:
    read = [load_library(folder, folder / "payers.yaml") for folder in (before, after)]
    return library_changes(*read)


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A copy of the sound library, to be edited."""
    copied = tmp_path / "edited"
    shutil.copytree(SOUND, copied)
    return copied


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


def told(found: LibraryChanges) -> set[tuple[str, str, str, str | None, str | None]]:
    return {(c.kind, c.about, c.item, c.before, c.after) for c in found.contents}


def test_a_library_does_not_differ_from_itself() -> None:
    for folder in (SOUND, EXAMPLES):
        assert changes(folder, folder) == LibraryChanges((), ())


def test_another_determination_is_told_with_its_code_program_period_and_members(
    edited: Path,
) -> None:
    edit(edited / POLICY, "    covered: not-covered", "    covered: covered")
    found = changes(SOUND, edited)
    assert found.answers == (
        AnswerChanged(
            "example-scan",
            "medicare_advantage",
            ("X0001",),
            date(2024, 1, 1),
            None,
            "not-covered",
            "covered",
            PLAN,
        ),
    )
    assert found.contents == ()


def test_an_end_leaves_no_policy_from_the_next_day_on(edited: Path) -> None:
    edit(edited / POLICY, '{start: "2024-01-01"}', '{start: "2024-01-01", end: "2026-12-31"}')
    found = changes(SOUND, edited)
    ended = next(a for a in found.answers if a.program == "medicare_advantage")
    assert (ended.first, ended.last) == (date(2027, 1, 1), None)
    assert (ended.before, ended.after, ended.payers) == ("not-covered", None, PLAN)
    assert (
        "policy",
        "example-scan 2024-01-01",
        "in force",
        "Example scan, in force from 2024-01-01 on",
        "Example scan, in force from 2024-01-01 to 2026-12-31",
    ) in told(found)


def test_a_new_version_that_adds_a_code_changes_the_answer_for_that_code_alone(
    tmp_path: Path,
) -> None:
    found = changes(SOUND, two_versions(tmp_path))
    assert {a.codes for a in found.answers} == {("X0002",)}
    assert {(a.first, a.before) for a in found.answers} == {(date(2024, 7, 1), None)}
    kinds = told(found)
    assert (
        "policy",
        "example-scan 2024-07-01",
        "reason medicare_advantage",
        "Evidence is lacking.",
        "Too little evidence.",
    ) in kinds


def test_a_policy_that_is_gone_and_one_that_is_new_are_told() -> None:
    found = changes(SOUND, EXAMPLES)
    gone = [a for a in found.answers if a.policy == "example-scan"]
    assert {(a.after, a.codes) for a in gone} == {(None, ("X0001",))}
    new = [a for a in found.answers if a.policy == "brain-imaging"]
    assert {(a.before, a.after) for a in new} == {(None, "covered")}
    listed = [a for a in found.answers if a.policy == "non-covered-list"]
    assert {(a.first, a.last) for a in listed if "X0001" in a.codes} == {
        (date(2026, 1, 1), date(2026, 6, 30))
    }
    back = changes(EXAMPLES, SOUND)
    assert len(back.answers) == len(found.answers)
    assert len(back.contents) > 0


def test_rules_are_told_in_words_with_what_they_lead_to(tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(EXAMPLES, edited)
    (version,) = (edited / "lumbar-mri").glob("2026*.yaml")
    edit(version, "prior_authorization: auth-needed", "prior_authorization: no-auth")
    found = changes(EXAMPLES, edited)
    assert {a.policy for a in found.answers} == {"lumbar-mri"}
    (advantage,) = [a for a in found.answers if a.program == "medicare_advantage"]
    assert advantage.codes == ("72148", "72149")
    assert advantage.payers
    assert "auth-needed" in str(advantage.before)
    assert "auth-needed" not in str(advantage.after)
    assert " where the diagnosis is among Red-flag diagnoses" in str(advantage.after)


def test_codes_of_a_value_set_are_told_with_the_policies_that_turn_on_it(tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(EXAMPLES, edited)
    (file,) = (edited / "_value_sets" / "red-flags").iterdir()
    text = file.read_text("utf-8")
    first = next(line for line in text.splitlines() if "C00-D49" in line or "icd10cm:" in line)
    file.write_text(text.replace(first + "\n", ""), "utf-8")
    found = changes(EXAMPLES, edited)
    (change,) = found.contents
    assert (change.kind, change.about) == ("value set", "red-flags")
    assert change.item == "codes for rules of lumbar-mri"
    assert change.before is not None
    assert change.after is None


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "payers.yaml",
            "line_of_business: medicare_advantage",
            "line_of_business: not_told",
            (
                "payer",
                "http://example.org/payers|example-health-plan",
                "line of business",
                "medicare_advantage",
                "not_told",
            ),
        ),
        (
            "payers.yaml",
            "policies: [{id: example-scan}]",
            "policies: []",
            (
                "payer",
                "http://example.org/payers|example-health-plan",
                "applies example-scan",
                "medicare_advantage",
                None,
            ),
        ),
        (
            "payers.yaml",
            "operator: Example Health Plan",
            "operator: Example Insurance",
            ("payer", "operator", "name", "Example Health Plan", "Example Insurance"),
        ),
    ],
)
def test_payers_are_compared(
    edited: Path, file: str, old: str, new: str, expected: tuple[Any, ...]
) -> None:
    edit(edited / file, old, new)
    found = changes(SOUND, edited)
    assert told(found) == {expected}
    assert found.answers == ()


def test_notices_forms_and_programs_are_compared(edited: Path, tmp_path: Path) -> None:
    notice = edited / "_notices" / "paper-form" / "2024-01-01.yaml"
    title = next(li for li in notice.read_text("utf-8").splitlines() if li.startswith("title:"))
    edit(notice, title, "title: Another form")
    assert {
        (kind, about, item, after) for kind, about, item, _, after in told(changes(SOUND, edited))
    } == {("notice", "paper-form 2024-01-01", "title", "Another form")}
    forms = tmp_path / "forms"
    shutil.copytree(EXAMPLES, forms)
    form = forms / "hospital-bed" / "questionnaires" / "hospital-bed-need.json"
    resource = json.loads(form.read_text("utf-8"))
    resource["version"] = "9.9.9"
    resource["item"][0]["text"] = "Asked otherwise"
    form.write_text(json.dumps(resource), "utf-8")
    found = changes(EXAMPLES, forms)
    assert {(c.about, c.item) for c in found.contents} == {
        ("hospital-bed-need", "version"),
        ("hospital-bed-need", "items"),
    }
    assert {c.after for c in found.contents if c.item == "version"} == {"9.9.9"}
    programs = (ROOT / "service" / "policies" / "programs.yaml").read_text("utf-8")
    other = tmp_path / "programs.yaml"
    name = next(li for li in programs.splitlines() if li.strip().startswith("name:"))
    other.write_text(programs.replace(name, "    name: Another name", 1), "utf-8")
    was = load_library(SOUND, SOUND / "payers.yaml")
    becomes = load_library(SOUND, SOUND / "payers.yaml", None, other)
    (change,) = library_changes(was, becomes).contents
    assert (change.kind, change.item, change.after) == ("program", "name", "Another name")


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["policy", "diff", *map(str, words)])


def bundle(folder: Path, library: Path, name: str) -> Path:
    file = folder / name
    places = LibraryPlaces(library, library / "payers.yaml")
    file.write_bytes(bundle_bytes(read_files(places), KEY, MADE))
    return file


def test_the_command_compares_bundles_and_folders(edited: Path, tmp_path: Path) -> None:
    edit(edited / POLICY, "    covered: not-covered", "    covered: covered")
    key = public_pem(tmp_path)
    before = bundle(tmp_path, SOUND, "before.bundle")
    after = bundle(tmp_path, edited, "after.bundle")
    done = run(before, after, "--public-key", key)
    assert done.exit_code == 1
    assert "example-scan, Medicare Advantage, from 2024-01-01 on:" in done.output
    assert "not-covered → covered" in done.output
    assert "members of Example Health Plan" in done.output
    assert "signature not checked" not in done.output
    assert done.output.count(f", made {MADE.isoformat()}") == 2
    assert "signature not checked" in run(before, edited).output
    same = run(before, SOUND, "--public-key", key)
    assert same.exit_code == 0
    assert "nothing changes" in same.output
    refused = run(before, after, "--public-key", public_pem(tmp_path, OTHER, "other.pub"))
    assert "was not signed with the key" in str(refused.exception)


def test_the_command_tells_it_as_json(edited: Path) -> None:
    edit(edited / POLICY, "    covered: not-covered", "    covered: covered")
    done = run(SOUND, edited, "--json")
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert found["from"]["policies"] != found["to"]["policies"]
    assert found["answers"] == [
        {
            "policy": "example-scan",
            "program": "medicare_advantage",
            "codes": ["X0001"],
            "first": "2024-01-01",
            "last": None,
            "before": "not-covered",
            "after": "covered",
            "payers": ["Example Health Plan"],
        }
    ]
    assert found["contents"] == []
