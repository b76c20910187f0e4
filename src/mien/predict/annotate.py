"""Draws people on an image: a box and a tag with the number and the highest label of each, or "not sure"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageColor, ImageDraw, ImageFont

if TYPE_CHECKING:
    from mien.predict.results import Person

__all__ = ["annotate", "person_color"]

# Okabe and Ito's palette, which people with color blindness can distinguish.
_COLORS: Final = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MIN_SIDE: Final = 300  # pixels of the longer side; smaller images are enlarged by a whole number
_CROWD: Final = 12  # more people get smaller tags
_DARK: Final = "#1A1A1A"
_LIGHT: Final = "#FFFFFF"

Area = tuple[float, float, float, float]  # left, top, right, bottom


def person_color(index: int) -> str:
    """The color of a person in charts and annotated images."""
    return _COLORS[index % len(_COLORS)]


def annotate(image: Image.Image, people: Sequence[Person]) -> Image.Image:
    """A copy of an image with a box and a tag per person, legible at any size.

    Small images are enlarged. A tag is where it covers no other tag, and preferably no other box; if its
    label does not fit, it shows the number alone.
    """
    scale = max(1, -(-_MIN_SIDE // max(image.size)))
    drawn = image.convert("RGB")
    if scale > 1:
        drawn = drawn.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(drawn)
    font_size = max(13, round(max(drawn.size) / (48 if len(people) <= _CROWD else 72)))
    width = max(2, font_size // 6)
    boxes = [_area(person, scale) for person in people]
    for person, box in zip(people, boxes, strict=True):
        if box is not None:
            # Two lines, light and dark, are seen on any background.
            draw.rectangle(_grow(box, 1), outline=_LIGHT, width=width + 2)
            draw.rectangle(box, outline=person_color(_number(person)), width=width)
    layout = _TagLayout(draw, drawn.size, font_size, [box for box in boxes if box is not None])
    for person, box in zip(people, boxes, strict=True):
        layout.draw(person, box)
    return drawn


def _number(person: Person) -> int:
    """The same in all frames of a video."""
    return person.id if person.track is None else person.track


def _area(person: Person, scale: int) -> Area | None:
    if person.box is None:
        return None
    left, top, right, bottom = (edge * scale for edge in person.box.as_tuple())
    return left, top, right - 1, bottom - 1  # Pillow draws the last pixel as well


def _texts(person: Person) -> Iterator[str]:
    """What a tag says, and what is enough if that does not fit."""
    number = str(_number(person))
    if person.prediction is None:
        yield f"{number} failed"
    elif person.is_sure is False:
        yield f"{number} not sure"
    else:
        yield from (f"{number} {label} {score:.2f}" for label, score in person.top(1))
    yield number


class _TagLayout:
    """Finds a place for each tag in turn."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, size: tuple[int, int], font_size: int, boxes: Sequence[Area]
    ) -> None:
        self._draw, self._size, self._boxes = draw, size, boxes
        self._font = ImageFont.load_default(size=font_size)
        self._pad = max(2, font_size // 4)
        self._height = sum(self._font.getmetrics()) if isinstance(self._font, ImageFont.FreeTypeFont) else 11
        self._tags: list[Area] = []

    def draw(self, person: Person, box: Area | None) -> None:
        text, area = self._place(person, box or (0, 0, self._size[0] - 1, self._size[1] - 1))
        self._tags.append(area)
        color = person_color(_number(person))
        self._draw.rectangle(_grow(area, 1), fill=_LIGHT)
        self._draw.rectangle(area, fill=color)
        place = (area[0] + self._pad, area[1] + self._pad // 2)
        self._draw.text(place, text, fill=_text_color(color), font=self._font)

    def _place(self, person: Person, box: Area) -> tuple[str, Area]:
        """The text that fits best, and where; in a crowd without any room, the number above its box."""
        places = [(text, area) for text in _texts(person) for area in self._areas(text, box)]
        free = [place for place in places if not any(_overlap(place[1], tag) for tag in self._tags)]
        others = [other for other in self._boxes if other != box]
        clear = [place for place in free if not any(_overlap(place[1], other) for other in others)]
        full = next(_texts(person))
        best = [*(place for place in clear if place[0] == full), *free, places[-1]]
        return best[0]

    def _areas(self, text: str, box: Area) -> Iterator[Area]:
        """Above the box, below it, and inside of it from the top to the bottom."""
        width = min(self._draw.textlength(text, font=self._font) + 2 * self._pad, self._size[0])
        height = self._height + self._pad
        left = min(max(0.0, box[0]), self._size[0] - width)
        right = min(max(0.0, box[2] - width), self._size[0] - width)
        num_inside = int((box[3] - box[1]) // (height + 2))
        inside = (box[1] + row * (height + 2) for row in range(num_inside))
        for top in (box[1] - height - 1, box[3] + 2, *inside):
            if 0 <= top <= self._size[1] - height:
                yield from ((x, top, x + width, top + height) for x in (left, right))
        top = min(max(0.0, box[1]), max(0.0, self._size[1] - height))
        yield left, top, left + width, top + height


def _grow(area: Area, by: float) -> Area:
    return area[0] - by, area[1] - by, area[2] + by, area[3] + by


def _overlap(first: Area, second: Area) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _text_color(background: str) -> str:
    """Dark or light, whichever has more contrast."""
    behind = _luminance(background)
    on_dark, on_light = behind + 0.05, _luminance(_LIGHT) + 0.05
    return _DARK if on_dark / (_luminance(_DARK) + 0.05) > on_light / on_dark else _LIGHT


def _luminance(color: str) -> float:
    """Relative luminance from 0 to 1, as WCAG defines it."""
    channels = (value / 255 for value in ImageColor.getrgb(color)[:3])
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
