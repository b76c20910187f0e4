"""Shows results: image files, bar charts as SVG, and HTML for notebooks."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from mien.errors import UsageError
from mien.files import atomic_file, atomic_write_text
from mien.predict.annotate import person_color

if TYPE_CHECKING:
    from mien.predict.results import Person, Results

__all__ = ["IMAGE_FORMATS", "Chart", "bar_chart", "results_html", "save_image"]

IMAGE_FORMATS: Final = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}  # by suffix
_THUMBNAIL: Final = 480  # pixels of the longer side of an image in HTML
_NOTICE: Final = "Apparent emotion, as an onlooker might see it; not what the person feels."

# Sizes of the chart, in pixels.
_WIDTH: Final = 460
_ROW: Final = 22
_LABEL: Final = 150
_VALUE: Final = 50


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as SVG text; notebooks display it."""

    svg: str

    def save(self, path: str | Path) -> None:
        """Writes the SVG to a file."""
        atomic_write_text(Path(path), self.svg)

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        return self.svg


def save_image(image: Image.Image, path: Path) -> None:
    """Writes an image atomically, as JPEG, PNG or WebP by the suffix; UsageError for any other."""
    kind = IMAGE_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{path} does not name a format of images", hint=f"end the name with {', '.join(IMAGE_FORMATS)}"
        )
    with atomic_file(path, sync=False) as file:
        image.save(file, format=kind, quality=92)


def bar_chart(people: Sequence[Person], *, top: int) -> Chart:
    """Horizontal bars from 0 to 1, one group per person; a tick marks the decision threshold of a label."""
    parts: list[str] = []
    y = 8
    for person in people:
        y = _person_bars(person, parts, y, top) + 14
    height = max(y, 40)
    return Chart(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" font-family="system-ui, sans-serif" font-size="13">'
        f"<title>Scores of {len(people)} {'person' if len(people) == 1 else 'people'}</title>"
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def _person_bars(person: Person, parts: list[str], y: int, top: int) -> int:
    """Appends the bars of a person, and returns where the next may begin."""
    heading = f"Person {person.id}" + ("" if person.status == "ok" else f" ({person.status})")
    parts.append(f'<text x="8" y="{y + 14}" font-weight="600" fill="#1a1a1a">{escape(heading)}</text>')
    y += _ROW
    room = _WIDTH - _LABEL - _VALUE - 8
    thresholds = {} if person.prediction is None else person.prediction.thresholds or {}
    for label, score in person.top(top):
        middle = y + 15
        parts.append(
            f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end" fill="#1a1a1a">{escape(label)}</text>'
            f'<rect x="{_LABEL}" y="{y + 3}" width="{room}" height="{_ROW - 7}" fill="#eef1f4"/>'
            f'<rect x="{_LABEL}" y="{y + 3}" width="{room * score:.1f}" height="{_ROW - 7}" '
            f'fill="{person_color(person.id)}"/>'
            f'<text x="{_LABEL + room + 6}" y="{middle}" fill="#1a1a1a">{score:.2f}</text>'
        )
        if label in thresholds:
            x = _LABEL + room * thresholds[label]
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y + 1}" y2="{y + _ROW - 2}" stroke="#1a1a1a" '
                f'stroke-width="2"><title>threshold {thresholds[label]:.2f}</title></line>'
            )
        y += _ROW
    if person.prediction is not None and person.dimensions is not None:
        values = person.prediction.dimensions_text()
        # Too wide to begin where the bars do.
        parts.append(f'<text x="8" y="{y + 15}" fill="#4a4a4a">{escape(values)}</text>')
        y += _ROW
    return y


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
