"""Libraries of policies for tests: the sound one, with a second version of its policy."""

from pathlib import Path
from shutil import copytree

from tests.policies import SOUND

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
