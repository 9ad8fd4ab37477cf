"""Compression of requests and answers: Zstandard, level 1, one frame each."""

from __future__ import annotations

import sys
import threading

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVEL = 1


class _Compressors(threading.local):
    """One compressor a thread: creating one costs as much as a compression."""

    def __init__(self) -> None:
        self.one = zstd.ZstdCompressor(level=_LEVEL)


_compressors = _Compressors()


def pack(data: bytes) -> bytes:
    """The data, compressed."""
    compressor = _compressors.one
    return compressor.compress(data, compressor.FLUSH_FRAME)


def unpack(data: bytes) -> bytes:
    """The data that `pack` compressed."""
    return zstd.decompress(data)
