"""A chart as SVG text, and the parts that charts share.

Color is never the only difference: people have numbers, and lines have patterns and labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mien.files import atomic_write_text

if TYPE_CHECKING:
    from mien.predict.results import Person

__all__ = [
    "DASHES",
    "FONT_SIZE",
    "INK",
    "LINE",
    "PALE",
    "Chart",
    "ChartKind",
    "draw_chart",
    "heading",
    "line",
    "text",
    "text_width",
]

ChartKind = Literal["bar", "radar", "vad", "timeline"]

FONT_SIZE: Final = 13  # pixels
INK: Final = "#1a1a1a"
PALE: Final = "#4a4a4a"  # for what matters less
LINE: Final = "#c4cad0"  # of grids
# Of lines, in turn; dots and dashes in pixels.
DASHES: Final = ("", "7 3", "2 3", "10 3 2 3", "5 2 2 2 2 2", "14 4")


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


def draw_chart(parts: Iterable[str], *, width: float, height: float, title: str) -> Chart:
    """A white chart of this size in pixels.

    Args:
        parts: SVG elements.
        width: Of the chart.
        height: Of the chart.
        title: For those who cannot see it.
    """
    return Chart(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" font-family="system-ui, sans-serif" '
        f'font-size="{FONT_SIZE}"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def heading(person: Person) -> str:
    """The number of a person, and what is wrong with them."""
    return f"Person {person.id}" + ("" if person.status == "ok" else f" ({person.status})")


def text(
    x: float, y: float, words: str, *, anchor: str = "start", color: str = INK, bold: bool = False
) -> str:
    """A line of text; `y` is its base."""
    weight = ' font-weight="600"' if bold else ""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}"{at}{weight} fill="{color}">{escape(words)}</text>'


def text_width(words: str) -> float:
    """At least the width of a line of text, in pixels, in most fonts."""
    return 0.6 * FONT_SIZE * len(words)


def line(
    points: Sequence[tuple[float, float]], *, color: str = LINE, width: float = 1, dash: str = ""
) -> str:
    """A line through points in pixels."""
    pattern = f' stroke-dasharray="{dash}"' if dash else ""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="{width:g}" '
        f'stroke-linejoin="round"{pattern}/>'
    )
