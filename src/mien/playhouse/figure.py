"""Draws one person: body, arms, head and face.

All lengths are fractions of the figure's height, so that a figure looks the same at every size.
"""

from collections.abc import Sequence

from PIL import ImageDraw

from mien.playhouse.scene import DrawnPerson

__all__ = ["CLOTH_RGB", "HAIR_RGB", "OUTLINE", "SKIN_RGB", "Figure"]

Point = tuple[float, float]

OUTLINE = (38, 34, 42)  # color of all lines
CLOTH_RGB = {
    "blue": (46, 98, 200),
    "green": (52, 150, 78),
    "yellow": (242, 204, 50),
    "purple": (134, 72, 176),
    "white": (244, 244, 240),
    "black": (52, 52, 58),
    "orange": (240, 136, 44),
    "pink": (240, 150, 188),
}
# Chosen so that the stripes of a white and of a black sweater look different.
_STRIPE_RGB = {
    "black": (128, 128, 138),
    "white": (150, 176, 206),
    "purple": (235, 235, 235),
    "blue": (235, 235, 235),
}
SKIN_RGB = {
    "porcelain": (255, 226, 206),
    "light": (244, 204, 170),
    "tan": (222, 174, 130),
    "brown": (180, 126, 84),
    "dark": (136, 90, 60),
    "deep": (98, 64, 46),
}
HAIR_RGB = {
    "black": (30, 26, 28),
    "brown": (98, 62, 38),
    "blond": (226, 190, 106),
    "ginger": (190, 92, 40),
    "gray": (168, 168, 172),
}
_TEAR_RGB = (70, 150, 240)


class Figure:
    """A person on a square canvas of `size` x `size` pixels."""

    def __init__(self, canvas: ImageDraw.ImageDraw, person: DrawnPerson, size: int) -> None:
        self._canvas, self.person = canvas, person
        self.unit = person.height * size
        self.x = person.center * size
        self.floor = (0.985 - person.lift) * size
        self.head: Point = (self.x, self.floor - 0.785 * self.unit)
        self.radius = 0.205 * self.unit
        self.line = max(2, round(0.012 * self.unit))

    def draw(self) -> None:
        """Draws the person from back to front; arms in front of the body come after it."""
        self._draw_hair_behind()
        self._draw_legs()
        arms_in_front = self.person.pose in ("crossed", "hips")
        if not arms_in_front:
            self._draw_arms()
        self._draw_torso()
        self._draw_face()
        if arms_in_front or self.person.pose == "head":
            self._draw_arms()

    def extent(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in pixels, arms included."""
        points = [point for arm in self.arm_joints() for point in arm]
        reach = 0.045 * self.unit
        xs = [x for x, _ in points] + [self.x - 1.12 * self.radius, self.x + 1.12 * self.radius]
        ys = [y for _, y in points] + [self.head[1] - 1.22 * self.radius]
        return min(xs) - reach, min(ys) - reach, max(xs) + reach, self.floor

    # -- body

    def _body_point(self, right: float, up: float) -> Point:
        return self.x + right * self.unit, self.floor - up * self.unit

    def _draw_legs(self) -> None:
        trousers = (70, 74, 92) if self.person.color != "black" else (120, 116, 108)
        legs = SKIN_RGB[self.person.skin] if self.person.garment == "dress" else trousers
        for side in (-1, 1):
            x, top = self._body_point(side * 0.06, 0.30)
            half = 0.045 * self.unit
            self._canvas.rectangle(
                (x - half, top, x + half, self.floor), fill=legs, outline=OUTLINE, width=self.line
            )
            self._canvas.ellipse(
                (x - 1.4 * half, self.floor - half, x + 1.6 * half, self.floor + half), fill=OUTLINE
            )

    def _draw_torso(self) -> None:
        cloth = CLOTH_RGB[self.person.color]
        if self.person.garment == "dress":
            shape = [self._body_point(*p) for p in ((-0.09, 0.62), (0.09, 0.62), (0.21, 0.14), (-0.21, 0.14))]
        else:
            shape = [
                self._body_point(*p) for p in ((-0.125, 0.62), (0.125, 0.62), (0.125, 0.26), (-0.125, 0.26))
            ]
        self._canvas.polygon(shape, fill=cloth, outline=OUTLINE, width=self.line)
        if self.person.garment == "sweater":
            stripe = _STRIPE_RGB.get(self.person.color, (70, 60, 66))
            for up in (0.55, 0.46, 0.37):
                left, top = self._body_point(-0.115, up)
                right, bottom = self._body_point(0.115, up - 0.035)
                self._canvas.rectangle((left, top, right, bottom), fill=stripe)
        elif self.person.garment == "shirt":
            x, top = self._body_point(0, 0.60)
            self._canvas.line((x, top, x, self._body_point(0, 0.27)[1]), fill=OUTLINE, width=self.line)

    def arm_joints(self) -> Sequence[Sequence[Point]]:
        """Shoulder, elbow and hand of both arms, in pixels."""
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
        inward = -1 if self.person.center > 0.5 else 1  # people point into the image
        return [
            [self._body_point(inward * right, up) for right, up in path] for path in paths[self.person.pose]
        ]

    def _draw_arms(self) -> None:
        sleeve = tuple(round(0.86 * part) for part in CLOTH_RGB[self.person.color])
        skin = SKIN_RGB[self.person.skin]
        width = round(0.07 * self.unit)
        for path in self.arm_joints():
            self._canvas.line(list(path), fill=OUTLINE, width=width + 2 * self.line, joint="curve")
            self._canvas.line(list(path), fill=sleeve, width=width, joint="curve")
            self._draw_disc(path[-1], 0.05 * self.unit, skin)

    # -- head

    def _draw_disc(self, center: Point, radius: float, fill: tuple[int, ...], outline: bool = True) -> None:
        x, y = center
        box = (x - radius, y - radius, x + radius, y + radius)
        self._canvas.ellipse(box, fill=fill, outline=OUTLINE if outline else None, width=self.line)

    def _face_point(self, right: float, up: float) -> Point:
        return self.head[0] + right * self.radius, self.head[1] - up * self.radius

    def _draw_hair_behind(self) -> None:
        color = HAIR_RGB[self.person.hair_color]
        if self.person.hair == "long":
            left, top = self._face_point(-1.12, 1.1)
            right, bottom = self._face_point(1.12, -1.25)
            self._canvas.rounded_rectangle((left, top, right, bottom), radius=0.8 * self.radius, fill=color)
        elif self.person.hair == "bun":
            self._draw_disc(self._face_point(0, 1.12), 0.34 * self.radius, color, outline=False)
        elif self.person.hair == "curly":
            for right, up in ((-0.85, 0.35), (-0.6, 0.8), (0, 1.0), (0.6, 0.8), (0.85, 0.35)):
                self._draw_disc(self._face_point(right, up), 0.38 * self.radius, color, outline=False)

    def _draw_face(self) -> None:
        x, y, r = *self.head, self.radius
        self._draw_disc(self.head, r, SKIN_RGB[self.person.skin])
        color = HAIR_RGB[self.person.hair_color]
        if self.person.hair == "cap":
            self._canvas.pieslice(
                (x - r, y - 1.06 * r, x + r, y + 0.94 * r), 190, 350, fill=color, outline=OUTLINE
            )
            self._canvas.rectangle((x, y - 0.46 * r, x + 1.25 * r, y - 0.30 * r), fill=color, outline=OUTLINE)
        else:
            self._canvas.chord((x - r, y - 1.04 * r, x + r, y + 0.96 * r), 208, 332, fill=color)
        self._draw_eyes()
        self._draw_mouth()

    def _draw_eyes(self) -> None:
        face, big = self.person.expression, self.person.strong
        white = (255, 255, 255)
        for side in (-1, 1):
            eye = self._face_point(side * 0.40, 0.10)
            if face == "drowsy":
                x, y = eye
                self._draw_arc((x, y - 0.10 * self.radius), 0.27, 10, 170)
            else:
                wide = 0.33 if face == "gaping" else 0.20
                self._draw_disc(eye, wide * self.radius, white)
                self._draw_disc(
                    eye, (0.10 if face == "gaping" else 0.12) * self.radius, OUTLINE, outline=False
                )
            if face == "crying":
                (x, y), w = eye, (0.13 if big else 0.09) * self.radius
                self._canvas.rectangle(
                    (x - w, y + 0.2 * self.radius, x + w, y + (0.85 if big else 0.6) * self.radius),
                    fill=_TEAR_RGB,
                )
            self._draw_brow(side)

    def _draw_brow(self, side: int) -> None:
        # Height of the inner and of the outer end of the brow.
        ends = {"scowling": (0.28, 0.60), "crying": (0.60, 0.36), "gaping": (0.62, 0.58)}.get(
            self.person.expression
        )
        if ends is None:
            return
        light = self.person.skin not in ("dark", "deep")
        self._canvas.line(
            (self._face_point(side * 0.16, ends[0]), self._face_point(side * 0.64, ends[1])),
            fill=OUTLINE if light else (12, 8, 8),
            width=round((0.19 if self.person.expression == "scowling" else 0.12) * self.radius),
        )

    def _draw_arc(self, center: Point, radius: float, start: float, end: float) -> None:
        x, y = center
        r = radius * self.radius
        self._canvas.arc(
            (x - r, y - r, x + r, y + r), start, end, fill=OUTLINE, width=max(2, round(0.11 * self.radius))
        )

    def _draw_mouth(self) -> None:
        x, y = self._face_point(0, -0.45)
        r, big = self.radius, self.person.strong
        lip, inside, teeth = max(2, round(0.11 * r)), (120, 30, 44), (255, 255, 255)
        match self.person.expression:
            case "smiling" if big:
                self._canvas.chord(
                    (x - 0.46 * r, y - 0.50 * r, x + 0.46 * r, y + 0.38 * r),
                    0,
                    180,
                    fill=teeth,
                    outline=OUTLINE,
                    width=self.line,
                )
            case "smiling":
                self._draw_arc((x, y - 0.30 * r), 0.42, 20, 160)
            case "crying":
                self._draw_arc((x, y + 0.34 * r), 0.40 if big else 0.32, 200, 340)
            case "scowling" if big:
                box = (x - 0.40 * r, y - 0.12 * r, x + 0.40 * r, y + 0.16 * r)
                self._canvas.rectangle(box, fill=teeth, outline=OUTLINE, width=self.line)
                for step in (-0.2, 0.0, 0.2):
                    self._canvas.line(
                        (x + step * r, box[1], x + step * r, box[3]), fill=OUTLINE, width=self.line
                    )
            case "scowling":
                self._canvas.line(
                    (x - 0.34 * r, y + 0.12 * r, x + 0.34 * r, y - 0.02 * r), fill=OUTLINE, width=lip
                )
            case "gaping":
                w, h = (0.26, 0.38) if big else (0.19, 0.27)
                self._canvas.ellipse(
                    (x - w * r, y - h * r, x + w * r, y + h * r),
                    fill=inside,
                    outline=OUTLINE,
                    width=self.line,
                )
            case "blank":
                self._canvas.line((x - 0.28 * r, y, x + 0.28 * r, y), fill=OUTLINE, width=lip)
            case _:
                self._canvas.ellipse((x - 0.10 * r, y - 0.06 * r, x + 0.10 * r, y + 0.10 * r), fill=inside)
