"""Pictures inside a page: as data URIs, no larger than a page shows them, with the subject's box in red.

In: a subject. Out: text for an `img`, or the reason why there is none. Knows nothing about pages.
"""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image

from mien.media.images import Marking, mark_subject
from mien.types import Box

__all__ = ["data_uri", "with_box"]

_LONGER_SIDE: Final = 560  # pixels; twice the width at which a page shows it, for sharp print
_RED: Final = Marking(style="red_box")
_OUTSIDE: Final = (225, 229, 233)
_MAX_REACH: Final = 0.5  # of the picture's side, by which a box is followed outside


def data_uri(image: Image.Image, longer_side: int = _LONGER_SIDE) -> str:
    """The picture as JPEG; shrinks it in place."""
    image.thumbnail((longer_side, longer_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def with_box(image: Image.Image, box: Box) -> Image.Image:
    """The picture with the whole box drawn on it, on a grey margin where the box sticks out.

    The margin ends at half of the picture's side; a box that is wholly farther away is not seen.
    """
    width, height = image.size
    left, top = (max(0, min(-low, side * _MAX_REACH)) for low, side in ((box.left, width), (box.top, height)))
    right = max(0, min(box.right - width, width * _MAX_REACH))
    bottom = max(0, min(box.bottom - height, height * _MAX_REACH))
    size = (round(width + left + right), round(height + top + bottom))
    canvas = Image.new("RGB", size, _OUTSIDE)
    canvas.paste(image, (round(left), round(top)))
    moved = Box(left=box.left + left, top=box.top + top, right=box.right + left, bottom=box.bottom + top)
    seen = moved.left < size[0] and moved.top < size[1] and moved.right > 0 and moved.bottom > 0
    return mark_subject(canvas, moved, _RED) if seen else canvas
