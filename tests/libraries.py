"""Libraries of policies for tests.

`python -m tests.libraries COMMAND…` runs a command on the shipped library with a policy, notices,
an edition and a payer added.
"""

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import SingleQuotedScalarString

from service import policies
from tests.policies import LIBRARY, SOUND

POLICY = "example-scan"


def two_versions(folder: Path) -> Path:
    """A library under `folder` whose policy was replaced on 2024-07-01.

    The second version has a code more, another reason, and a source with an address.
    """
    library = folder / "library"
    copytree(SOUND, library)
    first = library / POLICY / "2024-01-01.yaml"
    text = first.read_text("utf-8")
    start = 'effective: {start: "2024-01-01"}'
    first.write_text(
        text.replace(start, 'effective: {start: "2024-01-01", end: "2024-06-30"}'), "utf-8"
    )
    second = (
        text.replace(start, 'effective: {start: "2024-07-01"}')
        .replace('next: "2025-01"', 'next: "2099-01"')
        .replace(
            'code: "X0001", name: Example scan}',
            'code: "X0001", name: Example scan}\n'
            '      - {system: hcpcs, code: "X0002", name: Longer example scan}',
        )
        .replace(
            "text: Evidence is lacking., citations: [plan-1]}",
            "text: Too little evidence., citations: [plan-1]}",
        )
        .replace(
            'title: "Example policy 1"}',
            'title: "Example policy 1", url: "https://plan.example.org/1"}',
        )
    )
    (library / POLICY / "2024-07-01.yaml").write_text(second, "utf-8")
    return library


def outside_medicare(folder: Path) -> Path:
    """A library under `folder` whose policy also has words for programs outside Medicare."""
    library = folder / "library"
    copytree(SOUND, library)
    file = library / POLICY / "2024-01-01.yaml"
    more = {
        "determinations": "{covered: covered, reason: "
        "{id: usual, text: Usual care., citations: [plan-1]}}",
        "advance_notice": "[]",
        "wording": '{summary: "Covered: {services}.", statement: Covered elsewhere.}',
    }
    text = file.read_text("utf-8")
    for section, words in more.items():
        text = text.replace(f"\n{section}:\n", f"\n{section}:\n  not_medicare: {words}\n")
    file.write_text(text, "utf-8")
    return library


def as_of(day: date, folder: Path) -> Path:
    """The library on file under `folder`, without versions and editions that begin after a day.

    It has no manifest, which would name files that are gone.
    """
    library = folder / "library"
    copytree(LIBRARY, library, ignore=ignore_patterns("manifest.yaml"))
    for path in library.glob("**/*-*-*.yaml"):
        if date.fromisoformat(path.stem) > day:
            path.unlink()
    return library


def ended(notice: str, last: date, library: Path) -> None:
    """Ends the newest edition of a notice of a library."""
    edition = max((library / "_notices" / notice).glob("*.yaml"))
    text = edition.read_text("utf-8")
    start = f'  start: "{edition.stem}"\n'
    assert start in text
    edition.write_text(text.replace(start, f'{start}  end: "{last}"\n'), "utf-8")


def extended(folder: Path) -> Path:
    """The shipped library and payers under `folder`, and beside them what policy staff may add.

    That is a policy with its cases and notices, the next edition of each printed notice, and a
    payer.
    """
    library = folder / "library"
    copytree(_SHIPPED / "library", library)
    for notice in library.glob("_notices/*"):
        _add_the_next_edition(max(notice.glob("*.yaml")))
    for path in SOUND.glob("*/**/*.yaml"):
        added = library / path.relative_to(SOUND)
        added.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text("utf-8").replace('next: "2025-01"', 'next: "2099-01"')
        added.write_text(text.replace(', end: "2024-12-31"', ""), "utf-8")
    shipped = (_SHIPPED / "payers.yaml").read_text("utf-8")
    (library / "payers.yaml").write_text(f"{shipped}{_ADDED_PAYER}", "utf-8")
    return library


_SHIPPED = Path(policies.__file__).parent
_ADDED_PAYER = """\
  - identifier: {system: "http://example.org/payers", value: added-payer}
    name: Added Payer
    line_of_business: medicare_advantage
    policies:
      - id: example-scan
"""


def _add_the_next_edition(notice: Path) -> None:
    yaml = YAML()
    content = yaml.load(notice.read_text("utf-8"))
    if "prints_expiry" not in content:
        return
    # The edition before has no end yet: both are usable.
    start = date.fromisoformat(content.pop("prints_expiry")) + timedelta(days=1)
    content["effective"]["start"] = SingleQuotedScalarString(start.isoformat())
    content["edition"] = "the next one"
    with notice.with_name(f"{start}.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        settings = {"COVERCARD_POLICIES_DIR": str(extended(Path(made)))}
        sys.exit(subprocess.run(sys.argv[1:], env=os.environ | settings).returncode)
