"""Images that mien writes into the cache itself, because a dataset draws them or holds them in arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.files import atomic_file, make_folder

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["save_png"]


def save_png(image: Image.Image, path: Path) -> None:
    """Writes the file atomically, and creates its folder."""
    make_folder(path.parent)
    with atomic_file(path, sync=False) as file:
        image.save(file, format="PNG", compress_level=1)
