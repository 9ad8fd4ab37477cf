"""Train a compression dictionary on what the log keeps of the fixtures: `make dictionary`.

Prints the id of the new file: `service.decision_log.compression` names the one that is used. Former
files stay, since records in the log need them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import service.decision_log.rows as log_rows
from service.bootstrap.app import RECORDER, create_app
from service.decision_log.compression import train
from tests.conftest import FIXTURES, NOW, fixture_text, in_folder

SIZE = 16 * 1024
FOLDER = Path(log_rows.__file__).parent / "dictionaries"
_NO_CALLS = {"resources", "inferno"}


def kept_of_fixtures(folder: Path) -> list[bytes]:
    """What the log keeps of a call with each fixture, before it is compressed."""
    kept: list[bytes] = []
    packed = log_rows.pack

    def note(data: bytes) -> bytes:
        kept.append(bytes(data))
        return packed(data)

    app = create_app(in_folder(folder), clock=lambda: NOW)
    client = app.test_client()
    log_rows.pack = note  # type: ignore[assignment]
    try:
        for file in sorted(FIXTURES.glob("*/*.json")):
            if file.parent.name not in _NO_CALLS:
                client.post(
                    f"/cds-services/{file.parent.name}-crd",
                    data=fixture_text(file),
                    content_type="application/json",
                )
    finally:
        log_rows.pack = packed
        app.extensions[RECORDER].stop()
    return kept


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        id, content = train(kept_of_fixtures(Path(folder)), SIZE)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{id}.zdict").write_bytes(content)
    print(id)


if __name__ == "__main__":
    main()
