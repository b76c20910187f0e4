"""Draws one person: body, arms, head and face.

In: a `Person` and a Pillow canvas. Out: ink. Knows nothing about places, boxes or emotions.
All lengths are parts of the figure's height, so that a figure looks the same at every size.
"""

from collections.abc import Sequence

from PIL import ImageDraw

from mien.playhouse.scene import Person

Point = tuple[float, float]

INK = (38, 34, 42)
CLOTH = {
    "blue": (46, 98, 200),
    "green": (52, 150, 78),
    "yellow": (242, 204, 50),
    "purple": (134, 72, 176),
    "white": (244, 244, 240),
    "black": (52, 52, 58),
    "orange": (240, 136, 44),
    "pink": (240, 150, 188),
}
# Chosen so that a white sweater's stripes and a black one's do not look alike.
_STRIPES = {
    "black": (128, 128, 138),
    "white": (150, 176, 206),
    "purple": (235, 235, 235),
    "blue": (235, 235, 235),
}
SKIN = {
    "porcelain": (255, 226, 206),
    "light": (244, 204, 170),
    "tan": (222, 174, 130),
    "brown": (180, 126, 84),
    "dark": (136, 90, 60),
    "deep": (98, 64, 46),
}
HAIR = {
    "black": (30, 26, 28),
    "brown": (98, 62, 38),
    "blond": (226, 190, 106),
    "ginger": (190, 92, 40),
    "grey": (168, 168, 172),
}
TEAR = (70, 150, 240)


class Figure:
    """One person on a canvas of `size` pixels a side."""

    def __init__(self, draw: ImageDraw.ImageDraw, person: Person, size: int) -> None:
        self.draw, self.person = draw, person
        self.unit = person.height * size
        self.x = person.centre * size
        self.floor = (0.985 - person.lift) * size
        self.head: Point = (self.x, self.floor - 0.785 * self.unit)
        self.radius = 0.205 * self.unit
        self.line = max(2, round(0.012 * self.unit))

    def ink(self) -> None:
        """Everything, from back to front: arms that cross the body come after it."""
        self._hair_behind()
        self._legs()
        front = self.person.pose in ("crossed", "hips")
        if not front:
            self._arms()
        self._torso()
        self._face()
        if front or self.person.pose == "head":
            self._arms()

    def extent(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom in pixels, arms included."""
        points = [point for arm in self.joints() for point in arm]
        reach = 0.045 * self.unit
        xs = [x for x, _ in points] + [self.x - 1.12 * self.radius, self.x + 1.12 * self.radius]
        ys = [y for _, y in points] + [self.head[1] - 1.22 * self.radius]
        return min(xs) - reach, min(ys) - reach, max(xs) + reach, self.floor

    # -- body

    def _at(self, right: float, up: float) -> Point:
        return self.x + right * self.unit, self.floor - up * self.unit

    def _legs(self) -> None:
        trousers = (70, 74, 92) if self.person.colour != "black" else (120, 116, 108)
        legs = SKIN[self.person.skin] if self.person.garment == "dress" else trousers
        for side in (-1, 1):
            x, top = self._at(side * 0.06, 0.30)
            half = 0.045 * self.unit
            self.draw.rectangle(
                (x - half, top, x + half, self.floor), fill=legs, outline=INK, width=self.line
            )
            self.draw.ellipse(
                (x - 1.4 * half, self.floor - half, x + 1.6 * half, self.floor + half), fill=INK
            )

    def _torso(self) -> None:
        cloth = CLOTH[self.person.colour]
        if self.person.garment == "dress":
            shape = [self._at(*p) for p in ((-0.09, 0.62), (0.09, 0.62), (0.21, 0.14), (-0.21, 0.14))]
        else:
            shape = [self._at(*p) for p in ((-0.125, 0.62), (0.125, 0.62), (0.125, 0.26), (-0.125, 0.26))]
        self.draw.polygon(shape, fill=cloth, outline=INK, width=self.line)
        if self.person.garment == "sweater":
            stripe = _STRIPES.get(self.person.colour, (70, 60, 66))
            for up in (0.55, 0.46, 0.37):
                left, top = self._at(-0.115, up)
                right, bottom = self._at(0.115, up - 0.035)
                self.draw.rectangle((left, top, right, bottom), fill=stripe)
        elif self.person.garment == "shirt":
            x, top = self._at(0, 0.60)
            self.draw.line((x, top, x, self._at(0, 0.27)[1]), fill=INK, width=self.line)

    def joints(self) -> Sequence[Sequence[Point]]:
        """Shoulder, elbow and hand of both arms."""
        paths = {
            "raised": (
                ((0.11, 0.59), (0.215, 0.72), (0.235, 0.97)),
                ((-0.11, 0.59), (-0.215, 0.72), (-0.235, 0.97)),
            ),
            "crossed": (
                ((0.12, 0.58), (0.17, 0.44), (-0.10, 0.49)),
                ((-0.12, 0.58), (-0.17, 0.44), (0.10, 0.40)),
            ),
            "hips": (
                ((0.12, 0.58), (0.225, 0.46), (0.12, 0.33)),
                ((-0.12, 0.58), (-0.225, 0.46), (-0.12, 0.33)),
            ),
            "pointing": (
                ((0.11, 0.56), (0.18, 0.545), (0.29, 0.57)),
                ((-0.11, 0.58), (-0.16, 0.44), (-0.15, 0.29)),
            ),
            "head": (
                ((0.11, 0.58), (0.25, 0.66), (0.16, 0.90)),
                ((-0.11, 0.58), (-0.25, 0.66), (-0.16, 0.90)),
            ),
            "hanging": (
                ((0.11, 0.58), (0.165, 0.43), (0.16, 0.27)),
                ((-0.11, 0.58), (-0.165, 0.43), (-0.16, 0.27)),
            ),
        }
        inward = -1 if self.person.centre > 0.5 else 1  # whoever points, points into the picture
        return [[self._at(inward * right, up) for right, up in path] for path in paths[self.person.pose]]

    def _arms(self) -> None:
        sleeve = tuple(round(0.86 * part) for part in CLOTH[self.person.colour])
        skin = SKIN[self.person.skin]
        width = round(0.07 * self.unit)
        for path in self.joints():
            self.draw.line(list(path), fill=INK, width=width + 2 * self.line, joint="curve")
            self.draw.line(list(path), fill=sleeve, width=width, joint="curve")
            self._disc(path[-1], 0.05 * self.unit, skin)

    # -- head

    def _disc(self, centre: Point, radius: float, fill: tuple[int, ...], outline: bool = True) -> None:
        x, y = centre
        box = (x - radius, y - radius, x + radius, y + radius)
        self.draw.ellipse(box, fill=fill, outline=INK if outline else None, width=self.line)

    def _on_face(self, right: float, up: float) -> Point:
        return self.head[0] + right * self.radius, self.head[1] - up * self.radius

    def _hair_behind(self) -> None:
        colour = HAIR[self.person.hair_colour]
        if self.person.hair == "long":
            left, top = self._on_face(-1.12, 1.1)
            right, bottom = self._on_face(1.12, -1.25)
            self.draw.rounded_rectangle((left, top, right, bottom), radius=0.8 * self.radius, fill=colour)
        elif self.person.hair == "bun":
            self._disc(self._on_face(0, 1.12), 0.34 * self.radius, colour, outline=False)
        elif self.person.hair == "curly":
            for right, up in ((-0.85, 0.35), (-0.6, 0.8), (0, 1.0), (0.6, 0.8), (0.85, 0.35)):
                self._disc(self._on_face(right, up), 0.38 * self.radius, colour, outline=False)

    def _face(self) -> None:
        x, y, r = *self.head, self.radius
        self._disc(self.head, r, SKIN[self.person.skin])
        colour = HAIR[self.person.hair_colour]
        if self.person.hair == "cap":
            self.draw.pieslice((x - r, y - 1.06 * r, x + r, y + 0.94 * r), 190, 350, fill=colour, outline=INK)
            self.draw.rectangle((x, y - 0.46 * r, x + 1.25 * r, y - 0.30 * r), fill=colour, outline=INK)
        else:
            self.draw.chord((x - r, y - 1.04 * r, x + r, y + 0.96 * r), 208, 332, fill=colour)
        self._eyes()
        self._mouth()

    def _eyes(self) -> None:
        face, big = self.person.expression, self.person.strong
        white = (255, 255, 255)
        for side in (-1, 1):
            eye = self._on_face(side * 0.40, 0.10)
            if face == "drowsy":
                x, y = eye
                self._arc((x, y - 0.10 * self.radius), 0.27, 10, 170)
            else:
                wide = 0.33 if face == "gaping" else 0.20
                self._disc(eye, wide * self.radius, white)
                self._disc(eye, (0.10 if face == "gaping" else 0.12) * self.radius, INK, outline=False)
            if face == "crying":
                (x, y), w = eye, (0.13 if big else 0.09) * self.radius
                self.draw.rectangle(
                    (x - w, y + 0.2 * self.radius, x + w, y + (0.85 if big else 0.6) * self.radius), fill=TEAR
                )
            self._brow(side)

    def _brow(self, side: int) -> None:
        # Height of the inner and of the outer end of the brow.
        ends = {"scowling": (0.28, 0.60), "crying": (0.60, 0.36), "gaping": (0.62, 0.58)}.get(
            self.person.expression
        )
        if ends is None:
            return
        light = self.person.skin not in ("dark", "deep")
        self.draw.line(
            (self._on_face(side * 0.16, ends[0]), self._on_face(side * 0.64, ends[1])),
            fill=INK if light else (12, 8, 8),
            width=round((0.19 if self.person.expression == "scowling" else 0.12) * self.radius),
        )

    def _arc(self, centre: Point, radius: float, start: float, end: float) -> None:
        x, y = centre
        r = radius * self.radius
        self.draw.arc(
            (x - r, y - r, x + r, y + r), start, end, fill=INK, width=max(2, round(0.11 * self.radius))
        )

    def _mouth(self) -> None:
        x, y = self._on_face(0, -0.45)
        r, big = self.radius, self.person.strong
        lip, inside, teeth = max(2, round(0.11 * r)), (120, 30, 44), (255, 255, 255)
        match self.person.expression:
            case "smiling" if big:
                self.draw.chord(
                    (x - 0.46 * r, y - 0.50 * r, x + 0.46 * r, y + 0.38 * r),
                    0,
                    180,
                    fill=teeth,
                    outline=INK,
                    width=self.line,
                )
            case "smiling":
                self._arc((x, y - 0.30 * r), 0.42, 20, 160)
            case "crying":
                self._arc((x, y + 0.34 * r), 0.40 if big else 0.32, 200, 340)
            case "scowling" if big:
                box = (x - 0.40 * r, y - 0.12 * r, x + 0.40 * r, y + 0.16 * r)
                self.draw.rectangle(box, fill=teeth, outline=INK, width=self.line)
                for step in (-0.2, 0.0, 0.2):
                    self.draw.line((x + step * r, box[1], x + step * r, box[3]), fill=INK, width=self.line)
            case "scowling":
                self.draw.line((x - 0.34 * r, y + 0.12 * r, x + 0.34 * r, y - 0.02 * r), fill=INK, width=lip)
            case "gaping":
                w, h = (0.26, 0.38) if big else (0.19, 0.27)
                self.draw.ellipse(
                    (x - w * r, y - h * r, x + w * r, y + h * r), fill=inside, outline=INK, width=self.line
                )
            case "blank":
                self.draw.line((x - 0.28 * r, y, x + 0.28 * r, y), fill=INK, width=lip)
            case _:
                self.draw.ellipse((x - 0.10 * r, y - 0.06 * r, x + 0.10 * r, y + 0.10 * r), fill=inside)
