"""Shows results: image files, and HTML for notebooks."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from mien.errors import UsageError
from mien.files import atomic_file

if TYPE_CHECKING:
    from mien.predict.results import Results

__all__ = ["IMAGE_FORMATS", "results_html", "save_image"]

IMAGE_FORMATS: Final = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}  # by suffix
_THUMBNAIL: Final = 480  # pixels of the longer side of an image in HTML
_NOTICE: Final = "Apparent emotion, as an onlooker might see it; not what the person feels."


def save_image(image: Image.Image, path: Path) -> None:
    """Writes an image atomically, as JPEG, PNG or WebP by the suffix; UsageError for any other."""
    kind = IMAGE_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{path} does not name a format of images", hint=f"end the name with {', '.join(IMAGE_FORMATS)}"
        )
    with atomic_file(path, sync=False) as file:
        image.save(file, format=kind, quality=92)


def results_html(results: Results) -> str:
    """The annotated image, the chart and the descriptions; everything from data is escaped."""
    if results.error is not None:
        message = str(results.error)
        where = "" if results.source in message else f"{results.source}: "
        return f"<p>{escape(where + message)}</p>"
    texts = "".join(
        f"<p><b>Person {person.id}.</b> {escape(person.description.text)}</p>"
        for person in results.people
        if person.description is not None
    )
    return (
        '<div style="display:flex;gap:16px;flex-wrap:wrap;align-items:flex-start">'
        f'<img alt="{escape(results.source)}" src="{_data_uri(results.annotate())}">'
        f"<div>{results.plot().svg}</div></div>{texts}<p><small>{_NOTICE}</small></p>"
    )


def _data_uri(image: Image.Image) -> str:
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
