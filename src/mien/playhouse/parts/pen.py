"""Colors, and a pen that draws simple shapes in coordinates of its own."""

import math
import random
from collections.abc import Iterable

from PIL import ImageDraw

__all__ = ["CLOTH_RGB", "HAIR_RGB", "OUTLINE", "SKIN_RGB", "Color", "Pen", "Point", "draw_heart", "shade"]

Color = tuple[int, int, int]
Point = tuple[float, float]

OUTLINE: Color = (38, 34, 42)  # color of all lines
CLOTH_RGB: dict[str, Color] = {
    "blue": (46, 98, 200),
    "green": (52, 150, 78),
    "yellow": (242, 204, 50),
    "purple": (134, 72, 176),
    "white": (244, 244, 240),
    "black": (52, 52, 58),
    "orange": (240, 136, 44),
    "pink": (240, 150, 188),
}
SKIN_RGB: dict[str, Color] = {
    "porcelain": (255, 226, 206),
    "light": (244, 204, 170),
    "tan": (222, 174, 130),
    "brown": (180, 126, 84),
    "dark": (136, 90, 60),
    "deep": (98, 64, 46),
}
HAIR_RGB: dict[str, Color] = {
    "black": (30, 26, 28),
    "brown": (98, 62, 38),
    "blond": (226, 190, 106),
    "ginger": (190, 92, 40),
    "gray": (176, 176, 180),
}


def shade(color: Color, rng: random.Random, spread: int = 12) -> Color:
    """A color near `color`."""
    red, green, blue = (max(0, min(255, part + rng.randint(-spread, spread))) for part in color)
    return red, green, blue


class Pen:
    """Draws in coordinates with an origin, a scale and an angle of their own; x grows to the right, y down.

    Args:
        canvas: What is drawn on.
        origin: In pixels.
        scale: Pixels per unit.
        degrees: By how much everything is rotated clockwise around the origin.
        line: Width of outlines, in pixels.
    """

    def __init__(
        self,
        canvas: ImageDraw.ImageDraw,
        origin: Point = (0.0, 0.0),
        scale: float = 1.0,
        *,
        degrees: float = 0.0,
        line: int = 1,
    ) -> None:
        self.canvas, self.scale, self.line = canvas, scale, line
        self._origin, self._degrees = origin, degrees
        self._cos, self._sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def at(self, x: float, y: float) -> Point:
        """A point in pixels."""
        return (
            self._origin[0] + (self._cos * x - self._sin * y) * self.scale,
            self._origin[1] + (self._sin * x + self._cos * y) * self.scale,
        )

    def disc(self, x: float, y: float, radius: float, fill: Color, *, edge: bool = True) -> None:
        self.canvas.ellipse(
            self._square(x, y, radius), fill=fill, outline=OUTLINE if edge else None, width=self.line
        )

    def ring(self, x: float, y: float, radius: float, color: Color, width: float) -> None:
        self.canvas.ellipse(
            self._square(x, y, radius), outline=color, width=max(1, round(width * self.scale))
        )

    def oval(self, x: float, y: float, half: Point, fill: Color, *, edge: bool = True) -> None:
        if self._degrees:
            turns = [math.tau * step / 16 for step in range(16)]
            points = [(x + half[0] * math.cos(turn), y + half[1] * math.sin(turn)) for turn in turns]
            self.shape(points, fill, edge=edge)
            return
        (left, top), (right, bottom) = self.at(x - half[0], y - half[1]), self.at(x + half[0], y + half[1])
        self.canvas.ellipse(
            (left, top, right, bottom), fill=fill, outline=OUTLINE if edge else None, width=self.line
        )

    def box(self, corners: tuple[float, float, float, float], fill: Color, *, edge: bool = True) -> None:
        left, top, right, bottom = corners
        if self._degrees:
            self.shape(((left, top), (right, top), (right, bottom), (left, bottom)), fill, edge=edge)
            return
        self.canvas.rectangle(
            (*self.at(left, top), *self.at(right, bottom)),
            fill=fill,
            outline=OUTLINE if edge else None,
            width=self.line,
        )

    def shape(self, points: Iterable[Point], fill: Color, *, edge: bool = True) -> None:
        """A filled polygon."""
        corners = [self.at(*point) for point in points]
        self.canvas.polygon(corners, fill=fill)
        if edge:  # much faster than an outline of the polygon that is wider than a pixel
            self.canvas.line([*corners, corners[0]], fill=OUTLINE, width=self.line)

    def stroke(self, points: Iterable[Point], color: Color, width: float) -> None:
        """A line through points; the width in units of this pen, at least a pixel."""
        self.canvas.line(
            [self.at(*point) for point in points],
            fill=color,
            width=max(1, round(width * self.scale)),
            joint="curve",
        )

    def arc(
        self,
        center: Point,
        radius: float,
        angles: tuple[float, float],
        color: Color,
        width: float,
    ) -> None:
        """A part of a circle, between two angles in degrees, clockwise from the right."""
        start, end = (angle + self._degrees for angle in angles)
        self.canvas.arc(
            self._square(*center, radius), start, end, fill=color, width=max(1, round(width * self.scale))
        )

    def chord(
        self,
        x: float,
        y: float,
        radius: float,
        angles: tuple[float, float],
        fill: Color,
        *,
        edge: bool = True,
    ) -> None:
        """The part of a disc between two angles, cut off by a straight line."""
        start, end = (angle + self._degrees for angle in angles)
        self.canvas.chord(
            self._square(x, y, radius),
            start,
            end,
            fill=fill,
            outline=OUTLINE if edge else None,
            width=self.line,
        )

    def _square(self, x: float, y: float, radius: float) -> tuple[float, float, float, float]:
        (x, y), r = self.at(x, y), radius * self.scale
        return x - r, y - r, x + r, y + r


def draw_heart(pen: Pen, color: Color) -> None:
    """A heart between (-2, -1) and (2, 2.8)."""
    for side in (-1, 1):
        pen.disc(side, 0, 1, color, edge=False)
    pen.shape(((-1.9, 0.4), (1.9, 0.4), (0, 2.8)), color, edge=False)
