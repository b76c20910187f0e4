"""Opens the images of a call, so that one that cannot be read costs no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import ExifTags, Image

from mien.errors import ImageError, MienError, first_line
from mien.media.images import to_rgb, upright_rgb
from mien.predict.detect.detector import Detection

__all__ = ["detect_opened"]

Found = Sequence[Detection] | MienError


def detect_opened(
    images: Sequence[Image.Image], find: Callable[[Sequence[Image.Image]], Sequence[Found]]
) -> list[Found]:
    """What `find` returns for the upright RGB images that can be read, and ImageError in place of others."""
    opened = [_open(image) for image in images]
    readable = [image for image in opened if not isinstance(image, MienError)]
    found = iter(find(readable) if readable else ())
    return [image if isinstance(image, MienError) else next(found) for image in opened]


def _open(image: Image.Image) -> Image.Image | ImageError:
    try:
        image.load()  # of a file that was only opened so far
        is_upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        return to_rgb(image) if is_upright else upright_rgb(image)  # the latter copies
    except Exception as error:  # noqa: BLE001  hostile bytes make decoders raise nearly anything
        name = getattr(image, "filename", "") or "an image"
        failure = ImageError(
            f"{name} cannot be read: {first_line(error)}", hint="give an image that is complete"
        )
        failure.__cause__ = error
        return failure
