"""Images that mien writes into the cache itself, because a dataset draws them or holds them in arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["save_png"]


def save_png(image: Image.Image, path: Path) -> None:
    """Writes the file atomically, also when two processes do; no fsync, because it can be regenerated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{uuid4().hex}.part")
    image.save(part, format="PNG", compress_level=1)
    part.replace(path)
