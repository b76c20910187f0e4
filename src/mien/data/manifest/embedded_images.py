"""Writes images that a table embeds as bytes into files, because everything else reads files.

A file is named by the digest of its bytes, so each image is written once, by the first process that needs it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from mien.files import atomic_file, make_folder

__all__ = ["EmbeddedImages", "content_name"]

# The first bytes of a file by format. WebP is not listed: its signature follows the file's length.
_SIGNATURES: Final = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"))


def content_name(data: bytes) -> str:
    """A name for these bytes: their SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


class EmbeddedImages:
    """A folder of images, named by content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, data: bytes) -> Path:
        """The file that holds these bytes, written if needed; DataError if the cache cannot be written."""
        name = content_name(data)
        path = self._folder / name[:2] / f"{name}{_suffix(data)}"
        if not (path.is_file() and path.stat().st_size == len(data)):
            make_folder(path.parent)
            with atomic_file(path, sync=False) as file:
                file.write(data)
        return path


def _suffix(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for signature, suffix in _SIGNATURES if data.startswith(signature)), ".bin")
