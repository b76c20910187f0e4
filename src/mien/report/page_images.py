"""Images for a page: shrunk, encoded as data URIs, with a box drawn in red."""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image

from mien.media.images import Marking, mark_subject
from mien.types import Box

__all__ = ["RED_BOX", "data_uri", "draw_box"]

RED_BOX: Final = Marking(style="red_box")

_MAX_SIDE: Final = 560  # pixels; twice the displayed width, for sharp printing
_MARGIN_COLOR: Final = (225, 229, 233)
_MAX_MARGIN: Final = 0.5  # of the image's side


def data_uri(image: Image.Image, max_side: int = _MAX_SIDE) -> str:
    """The image as JPEG in a data URI. Shrinks the image in place."""
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def draw_box(image: Image.Image, box: Box) -> Image.Image:
    """The image with the box, on a gray margin if the box extends outside the image.

    The margin is at most half of the image's side. A box beyond it is not drawn.
    """
    width, height = image.size
    left, top = (
        max(0, min(-low, side * _MAX_MARGIN)) for low, side in ((box.left, width), (box.top, height))
    )
    right = max(0, min(box.right - width, width * _MAX_MARGIN))
    bottom = max(0, min(box.bottom - height, height * _MAX_MARGIN))
    size = (round(width + left + right), round(height + top + bottom))
    canvas = Image.new("RGB", size, _MARGIN_COLOR)
    canvas.paste(image, (round(left), round(top)))
    moved = Box(left=box.left + left, top=box.top + top, right=box.right + left, bottom=box.bottom + top)
    is_visible = moved.left < size[0] and moved.top < size[1] and moved.right > 0 and moved.bottom > 0
    return mark_subject(canvas, moved, RED_BOX) if is_visible else canvas
