"""What the log keeps is compressed with a dictionary that stays, and read with any."""

import hashlib
import sys
from pathlib import Path

from service.decision_log.compression import DICTIONARY, pack, train, unpack
from tests.dictionary import kept_of_fixtures

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FOLDER = Path(sys.modules[pack.__module__].__file__ or "").parent / "dictionaries"
PUBLISHED = {
    1225136061: "a18959db1f87fd3d078be440da5e2b83240e913f8d2b40f370ea6541b0b2344e",
}
"""Each dictionary that a record may have been compressed with; none may change or go."""


def test_no_dictionary_changes_or_goes() -> None:
    found = {
        int(file.stem): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in FOLDER.glob("*.zdict")
    }
    assert found == PUBLISHED
    assert DICTIONARY in PUBLISHED


def test_what_is_packed_is_unpacked_and_names_its_dictionary() -> None:
    data = b'{"resourceType":"ServiceRequest"}' * 10
    assert unpack(pack(data)) == data
    assert zstd.get_frame_info(pack(data)).dictionary_id == DICTIONARY


def test_what_was_packed_before_there_was_a_dictionary_is_read() -> None:
    assert unpack(zstd.compress(b"of a former version", 1)) == b"of a former version"


def test_a_trained_dictionary_is_named_by_its_id() -> None:
    samples = [f'{{"resourceType":"Patient","id":"{n}"}}'.encode() * 20 for n in range(200)]
    id, content = train(samples, 4096)
    assert zstd.ZstdDict(content).dict_id == id


def test_the_fixtures_take_less_than_half_of_what_they_take_without(tmp_path: Path) -> None:
    kept = kept_of_fixtures(tmp_path)
    assert len(kept) > 50
    with_it = sum(len(pack(data)) for data in kept)
    without = sum(len(zstd.compress(data, 1)) for data in kept)
    assert with_it < without / 2
