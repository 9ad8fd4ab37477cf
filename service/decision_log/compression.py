"""Compression of requests and answers: Zstandard, one frame each, with a dictionary.

The dictionaries are data of the package, trained on the fixtures (`make dictionary`) and named by
their id, which each frame carries. One that has been used stays for ever: what it compressed cannot
be read without it.
"""

from __future__ import annotations

import sys
import threading
from functools import cache
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVEL = 1
_FOLDER = Path(__file__).parent / "dictionaries"
DICTIONARY = 1225136061
"""Id of the dictionary that is used now."""


class _Compressors(threading.local):
    """One compressor a thread: creating one costs as much as a compression."""

    def __init__(self) -> None:
        self.one = zstd.ZstdCompressor(
            level=_LEVEL, zstd_dict=_dictionary(DICTIONARY).as_digested_dict
        )


@cache
def _dictionary(id: int) -> zstd.ZstdDict:
    return zstd.ZstdDict((_FOLDER / f"{id}.zdict").read_bytes())


_compressors = _Compressors()


def pack(data: bytes) -> bytes:
    """The data, compressed."""
    compressor = _compressors.one
    return compressor.compress(data, compressor.FLUSH_FRAME)


def unpack(data: bytes) -> bytes:
    """The data that `pack` compressed, with whatever dictionary, or before there was one."""
    id = zstd.get_frame_info(data).dictionary_id
    return zstd.decompress(data, _dictionary(id) if id else None)


def train(samples: list[bytes], size: int) -> tuple[int, bytes]:
    """A dictionary of at most `size` bytes for data like the samples: its id and its content."""
    trained = zstd.train_dict(samples, size)
    return trained.dict_id, trained.dict_content
