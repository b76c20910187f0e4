"""Draws a head: hair, expression in its strengths, where the eyes look, turn, tilt, signs and age.

Lengths are fractions of the head's radius.
"""

from dataclasses import dataclass

from PIL import ImageDraw

from mien.playhouse.parts.pen import HAIR_RGB, OUTLINE, SKIN_RGB, Color, Pen, Point
from mien.playhouse.scene import DrawnPerson

__all__ = ["Head"]

_DARK = frozenset({"dark", "deep"})
_WHITE: Color = (255, 255, 255)
_LIP: Color = (122, 30, 44)
_LIP_ON_DARK: Color = (206, 66, 78)
_BLUSH_RGB: Color = (238, 84, 112)
_TEAR_RGB: Color = (64, 146, 244)
_SWEAT_RGB: Color = (128, 224, 250)
_GLASSES_RGB: Color = (70, 66, 92)

_TILT_DEGREES = 15
_EYE = (0.42, -0.10)  # of the right eye

# For each expression and strength: heights of the inner and of the outer end of a brow, and its thickness.
_BROWS = {
    "smiling": ((0.45, 0.43, 0.09), (0.52, 0.45, 0.09), (0.60, 0.48, 0.10)),
    "crying": ((0.53, 0.42, 0.09), (0.62, 0.36, 0.11), (0.70, 0.30, 0.13)),
    "scowling": ((0.38, 0.48, 0.11), (0.27, 0.55, 0.15), (0.17, 0.62, 0.19)),
    "gaping": ((0.52, 0.50, 0.09), (0.60, 0.58, 0.10), (0.69, 0.67, 0.11)),
    "blank": ((0.46, 0.45, 0.09),) * 3,
    "drowsy": ((0.32, 0.28, 0.09),) * 3,
}
# Radius of an eye, and which part of it the upper and the lower lid cover.
_EYES = {
    "smiling": ((0.26, 0.0, 0.0), (0.26, 0.0, 0.10), (0.26, 0.0, 0.30)),
    "crying": ((0.26, 0.0, 0.0), (0.26, 0.18, 0.0), (0.26, 0.32, 0.12)),
    "scowling": ((0.26, 0.08, 0.0), (0.26, 0.24, 0.0), (0.27, 0.34, 0.12)),
    "gaping": ((0.28, 0.0, 0.0), (0.32, 0.0, 0.0), (0.37, 0.0, 0.0)),
    "blank": ((0.26, 0.0, 0.0),) * 3,
}
_LID_DEGREES = {"crying": -14, "scowling": 18}  # the inner corner of a scowling eye is lower


@dataclass(frozen=True, slots=True)
class Head:
    """A head on a canvas.

    Attributes:
        center: In pixels.
        radius: In pixels.
        gaze: Direction of the pupils, from (-1, -1) to (1, 1), y down.
        turn: -1 if the face is turned to the left of the image, 1 to the right, 0 to the front.
        lean: The side to which a tilted head leans, and on which the peak of a cap is: -1 or 1.
    """

    canvas: ImageDraw.ImageDraw
    person: DrawnPerson
    center: Point
    radius: float
    gaze: Point
    turn: int
    lean: int

    @property
    def _ink(self) -> Color:
        """The color of lines in the face."""
        return (6, 2, 4) if self.person.skin in _DARK else OUTLINE

    def draw_back(self) -> None:
        """The hair that is behind the body."""
        pen, color = self._pen(), HAIR_RGB[self.person.hair_color]
        match self.person.hair:
            case "long":
                (x, y), r = self.center, self.radius
                box = (x - 1.14 * r, y - 1.1 * r, x + 1.14 * r, y + 1.25 * r)
                self.canvas.rounded_rectangle(box, radius=0.8 * r, fill=color)
            case "bun":
                pen.disc(0, -1.12, 0.34, color, edge=False)
            case "curly":
                for x, y in ((-0.9, -0.3), (-0.68, -0.76), (0, -1.0), (0.68, -0.76), (0.9, -0.3)):
                    pen.disc(x, y, 0.38, color, edge=False)

    def draw(self) -> None:
        """Everything else."""
        skin, bowed = SKIN_RGB[self.person.skin], self.person.tilt == "bowed"
        pen = self._pen()
        for side in (-1, 1):
            if side != self.turn:
                pen.disc(side, 0.02, 0.16, skin)
        pen.disc(0, 0, 1, skin)
        self._draw_hair(pen, bowed)
        if self.turn:
            pen.disc(-0.76 * self.turn, 0.04, 0.16, skin)
        self._draw_features(
            self._pen(pen.at(0.22 * self.turn, 0.20 if bowed else 0.0), 0.9 if bowed else 1.0)
        )

    def _pen(self, origin: Point | None = None, scale: float = 1.0) -> Pen:
        degrees = _TILT_DEGREES * self.lean if self.person.tilt == "tilted" else 0
        line = max(2, round(0.055 * self.radius))
        return Pen(self.canvas, origin or self.center, scale * self.radius, degrees=degrees, line=line)

    def _draw_hair(self, pen: Pen, bowed: bool) -> None:
        color = HAIR_RGB[self.person.hair_color]
        angle = 26 if bowed else 42
        if self.person.hair == "cap":
            pen.chord(0, -0.04, 1.02, (180 + angle - 3, 360 - angle + 3), color)
            y = -0.44 if bowed else -0.67
            pen.box((min(0, 1.25 * self.lean), y - 0.08, max(0, 1.25 * self.lean), y + 0.06), color)
        else:
            pen.chord(0, -0.04, 1.0, (180 + angle, 360 - angle), color, edge=False)

    # -- features

    def _draw_features(self, pen: Pen) -> None:
        if "blush" in self.person.signs:
            for side in (-1, 1):
                pen.oval(0.60 * side, 0.30, (0.23, 0.15), _BLUSH_RGB, edge=False)
        if self.person.age == "old":
            _draw_age(pen)
        for side in (-1, 1):
            self._draw_eye(pen, side)
            self._draw_brow(pen, side)
        self._draw_nose(pen)
        self._draw_mouth(pen)
        if "tears" in self.person.signs:
            for side in (-1, 1):
                _draw_drop(pen, 0.52 * side, 0.22, 0.12, _TEAR_RGB)
                _draw_drop(pen, 0.60 * side, 0.56, 0.10, _TEAR_RGB)
        if "sweat" in self.person.signs:
            for x, y in ((-0.76, -0.62), (0.78, -0.66), (0.12, -0.84)):
                _draw_drop(pen, x, y, 0.13, _SWEAT_RGB)

    def _draw_eye(self, pen: Pen, side: int) -> None:
        x, y = _EYE[0] * side, _EYE[1]
        if self.person.expression == "drowsy":
            pen.arc((x, y - 0.10), 0.26, (15, 165), self._ink, 0.11)
            return
        radius, upper, lower = _EYES[self.person.expression][self.person.strength - 1]
        pen.disc(x, y, radius, _WHITE)
        pupil = 0.11 if radius > 0.3 else 0.13
        reach = radius - pupil
        pen.disc(x + reach * self.gaze[0], y + reach * self.gaze[1], pupil, OUTLINE, edge=False)
        self._draw_lids(pen, (x, y), radius, (upper, lower), side)

    def _draw_lids(self, pen: Pen, eye: Point, radius: float, parts: Point, side: int) -> None:
        skin = SKIN_RGB[self.person.skin]
        for middle, part in zip((270, 90), parts, strict=True):
            if part:
                slope = _LID_DEGREES.get(self.person.expression, 0) * side if middle == 270 else 0
                half = 90 * (2 * part) ** 0.5  # a rough inverse of how much of the height is covered
                angles = (middle - slope - half, middle - slope + half)
                pen.chord(*eye, radius, angles, skin)

    def _draw_brow(self, pen: Pen, side: int) -> None:
        inner, outer, width = _BROWS[self.person.expression][self.person.strength - 1]
        pen.stroke(((0.15 * side, -inner), (0.66 * side, -outer)), self._ink, width)

    def _draw_nose(self, pen: Pen) -> None:
        if self.turn:
            tip = 0.26 * self.turn
            skin = SKIN_RGB[self.person.skin]
            pen.shape(((0, -0.06), (tip, 0.20), (-0.02 * self.turn, 0.22)), skin)
        else:
            pen.arc((0, 0.12), 0.08, (10, 170), self._ink, 0.06)

    def _draw_mouth(self, pen: Pen) -> None:
        step = self.person.strength - 1
        lip = _LIP_ON_DARK if self.person.skin in _DARK else _LIP
        match self.person.expression:
            case "smiling" if step == 2:
                lower = _bow(0.50, 0.30, 0.42)
                pen.shape(((-0.50, 0.32), (0.50, 0.32), *reversed(lower)), lip)
                pen.shape(((-0.44, 0.34), (0.44, 0.34), (0.36, 0.46), (-0.36, 0.46)), _WHITE, edge=False)
            case "smiling":
                pen.stroke(_bow(*((0.26, 0.42, 0.09), (0.42, 0.38, 0.24))[step]), self._ink, 0.10)
            case "crying" if step == 2:
                pen.shape(((-0.42, 0.74), *_bow(0.42, 0.74, -0.38), (0.42, 0.74), (0, 0.64)), lip)
            case "crying":
                pen.stroke(_bow(*((0.25, 0.54, -0.10), (0.36, 0.62, -0.25))[step]), self._ink, 0.10)
            case "scowling" if step == 2:
                pen.box((-0.42, 0.38, 0.42, 0.66), _WHITE)
                for x in (-0.21, 0.0, 0.21):
                    pen.stroke(((x, 0.38), (x, 0.66)), self._ink, 0.05)
            case "scowling":
                slant = (0.03, 0.10)[step]
                pen.stroke(((-0.32, 0.50 + slant), (0.32, 0.50 - slant)), self._ink, (0.10, 0.15)[step])
            case "gaping":
                pen.oval(0, 0.52, ((0.13, 0.14), (0.19, 0.25), (0.27, 0.36))[step], lip)
            case "blank":
                pen.stroke(((-0.28, 0.50), (0.28, 0.50)), self._ink, 0.10)
            case _:
                pen.oval(0, 0.52, (0.11, 0.08), lip, edge=False)


def _bow(half: float, y: float, depth: float) -> list[Point]:
    """A curved line from left to right, whose middle is lower than its ends by `depth`."""
    return [(half * x, y + depth * (1 - x * x)) for x in (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1)]


def _draw_drop(pen: Pen, x: float, y: float, radius: float, color: Color) -> None:
    """A drop with its tip at (x, y)."""
    bottom = y + 1.9 * radius
    left, right = (x - 0.95 * radius, bottom - 0.2 * radius), (x + 0.95 * radius, bottom - 0.2 * radius)
    pen.shape(((x, y), right, (x, bottom + radius), left), color)
    pen.disc(x, bottom, radius, color)
    pen.shape(((x, y + 0.4 * radius), right, left), color, edge=False)


def _draw_age(pen: Pen) -> None:
    """Glasses, and wrinkles on the forehead and next to the eyes."""
    for side in (-1, 1):
        pen.ring(_EYE[0] * side, _EYE[1], 0.38, _GLASSES_RGB, 0.06)
        pen.stroke(((0.80 * side, -0.12), (0.98 * side, -0.18)), _GLASSES_RGB, 0.06)
        pen.stroke(((0.52 * side, 0.34), (0.60 * side, 0.56)), OUTLINE, 0.03)
        pen.stroke(((0.70 * side, 0.24), (0.80 * side, 0.40)), OUTLINE, 0.03)
