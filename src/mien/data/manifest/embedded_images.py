"""Pictures that are embedded in a table, brought into files, which is what everything else reads.

In: bytes. Out: the path of a file in the cache with just these bytes, named by their digest, so that it is
written once and by whoever comes first. Knows nothing about tables, and does not open the pictures.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Final

from mien.errors import DataError

__all__ = ["Embedded", "content_name"]

# How the bytes of a file begin; WebP's name stands after its length.
_BEGINNINGS: Final = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"))


def content_name(data: bytes) -> str:
    """A name for these bytes: their digest."""
    return hashlib.sha256(data).hexdigest()


class Embedded:
    """A folder of pictures by content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, data: bytes) -> Path:
        """The file of these bytes; DataError if the cache cannot be written."""
        name = content_name(data)
        path = self._folder / name[:2] / f"{name}{_ending(data)}"
        if not (path.is_file() and path.stat().st_size == len(data)):
            try:
                _write_whole(path, data)
            except OSError as error:
                raise DataError(
                    f"{path} cannot be written: {error}", hint="see to the cache folder"
                ) from error
        return path


def _write_whole(path: Path, data: bytes) -> None:
    """Whole or not there, also when two processes write at once; no fsync, for it can be written again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        part.write(data)
    Path(part.name).replace(path)


def _ending(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((ending for beginning, ending in _BEGINNINGS if data.startswith(beginning)), ".bin")
