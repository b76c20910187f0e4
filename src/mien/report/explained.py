"""Stored explanations as a page shows them: maps drawn on the photo, and descriptions with colored words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mien.evaluate.explanations.heat_map import AGAINST, FOR, HeatMap, draw_heat_map
from mien.evaluate.explanations.stored import ExplainedLabel, ExplainedPerson
from mien.report.formatting import format_number
from mien.report.page_images import data_uri
from mien.report.photos import Photo

__all__ = ["DrawnMap", "Why", "WhyLabel", "WordPart", "why"]

_STRONGEST: Final = 0.55  # opacity of the background of a word, so that its text stays legible
_FAINT: Final = 0.25  # of the strongest word: below it, a word has no underline


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnMap:
    """A map: a data URI ("" without a photo), and what it shows."""

    image: str
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPart:
    """A part of a description: `kind` is "for", "against" or "", `style` a color, `change` a text."""

    text: str
    kind: str = ""
    style: str = ""
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyLabel:
    """Why one label has its score."""

    label: str
    score: str
    maps: tuple[DrawnMap, ...]
    parts: tuple[WordPart, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a person has these scores."""

    labels: tuple[WhyLabel, ...]
    notes: tuple[str, ...]


def why(person: ExplainedPerson, photo: Photo, *, max_side: int, max_maps: int = 2) -> Why:
    """The explanation of a person.

    Args:
        person: What was stored.
        photo: The photo as the page may show it.
        max_side: Of a map, in pixels.
        max_maps: How many maps per label.
    """
    return Why(
        labels=tuple(
            WhyLabel(
                label=item.label,
                score=format_number(item.score, 2),
                maps=tuple(_draw(item, heat_map, photo, max_side) for heat_map in item.maps[:max_maps]),
                parts=_parts(person.description or "", item),
                warnings=tuple(_sentence(text) for text in item.warnings),
            )
            for item in person.labels
        ),
        notes=tuple(_sentence(text) for text in person.notes),
    )


def _draw(item: ExplainedLabel, heat_map: HeatMap, photo: Photo, max_side: int) -> DrawnMap:
    if heat_map.method == "attention":
        title, caption = "where the queries looked", "Attention: where the model read, not what that did."
    else:
        title = "hiding it lowers the score"
        largest = max(heat_map.values.ravel().tolist(), key=abs)
        change = f"{'drops' if largest > 0 else 'rises'} by {format_number(abs(largest), 2)}"
        caption = (
            f"Occlusion: how the score changes while a region is hidden. At the strongest color, it {change}."
        )
    if photo.image is None:
        return DrawnMap(image="", caption=caption)
    return DrawnMap(
        image=data_uri(draw_heat_map(photo.image, heat_map, photo.box, title), max_side), caption=caption
    )


def _parts(text: str, item: ExplainedLabel) -> tuple[WordPart, ...]:
    """The description in parts; words that do not fit into it are left out."""
    largest = max((abs(drop) for _, _, drop in item.words), default=0.0)
    parts, end = [], 0
    for start, stop, drop in item.words:
        if not end <= start < stop <= len(text):
            continue
        share = drop / largest if largest else 0.0
        kind = "" if abs(share) < _FAINT else "for" if share > 0 else "against"
        opacity = round(255 * _STRONGEST * abs(share))
        parts += [
            WordPart(text=text[end:start]),
            WordPart(
                text=text[start:stop],
                kind=kind,
                style=f"background:{FOR if share > 0 else AGAINST}{opacity:02x}" if kind else "",
                change=f"hidden: {format_number(-drop, 3, signed=True)}",
            ),
        ]
        end = stop
    return (*parts, WordPart(text=text[end:]))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
