"""Draws one person: body, arms, head, and what they hold.

Lengths are fractions of the figure's height, so that a figure looks the same at every size.
"""

from collections.abc import Sequence
from functools import cached_property

from PIL import ImageDraw

from mien.playhouse.parts.face import Head
from mien.playhouse.parts.items import draw_item
from mien.playhouse.parts.pen import CLOTH_RGB, HAIR_RGB, OUTLINE, SKIN_RGB, Color, Pen, Point
from mien.playhouse.scene import DrawnPerson
from mien.playhouse.situations import NOTHING

__all__ = ["CLOTH_RGB", "HAIR_RGB", "OUTLINE", "SKIN_RGB", "Figure"]

# Chosen so that the stripes of a white and of a black sweater look different.
_STRIPE_RGB: dict[str, Color] = {
    "black": (128, 128, 138),
    "white": (150, 176, 206),
    "purple": (235, 235, 235),
    "blue": (235, 235, 235),
}
# Shoulder, elbow and hand of both arms; the first arm is the one that points.
_ARMS = {
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
# Where an item is, from the hand: outward and down.
_ITEM_OFFSETS = {
    "raised": (0.08, -0.02),
    "head": (0.10, -0.06),
    "crossed": (0.05, 0.07),
}
_ITEM_SIZE = 0.20


class Figure:
    """A person on a square canvas of `size` x `size` pixels.

    Args:
        canvas: What is drawn on.
        person: Who is drawn.
        size: Side of the canvas, in pixels.
        side: Where the nearest other person is: -1 to the left, 1 to the right, 0 for a person alone.

    Attributes:
        unit: The figure's height, in pixels.
        x: Horizontal center of the body, in pixels.
        floor: Where the feet are, in pixels from the top.
        head: Center of the head, in pixels.
        radius: Of the head, in pixels.
    """

    def __init__(self, canvas: ImageDraw.ImageDraw, person: DrawnPerson, size: int, side: int = 0) -> None:
        self._canvas, self._size, self.person, self._side = canvas, size, person, side
        self.unit = person.height * size
        self.x = person.center * size
        self.floor = (0.985 - person.lift) * size
        self.radius = (0.235 if person.age == "child" else 0.195) * self.unit
        up = 0.785 if person.tilt != "bowed" else 0.745
        self.head: Point = (self.x, self.floor - up * self.unit)
        self.line = max(2, round(0.012 * self.unit))
        self._inward = -1 if person.center > 0.5 else 1  # people point into the image
        self._away = -side or self._inward
        # The hand that holds an item is not the one that points into the image.
        self._item_side: int = -self._inward if person.pose == "pointing" else self._away

    @cached_property
    def _face(self) -> Head:
        return Head(
            canvas=self._canvas,
            person=self.person,
            center=self.head,
            radius=self.radius,
            gaze=self._gaze(),
            turn={"front": 0, "toward": self._side, "away": -self._side}[self.person.turn],
            lean=self._away,
        )

    def draw(self) -> None:
        """Draws the person from back to front."""
        self.draw_body()
        self.draw_head()

    def draw_body(self) -> None:
        """Draws everything but what `draw_head` draws."""
        self._face.draw_back()
        self._draw_legs()
        if self.person.pose in ("crossed", "hips"):
            self._draw_torso()
            self._draw_arms()
        else:
            self._draw_arms()
            self._draw_torso()

    def draw_head(self) -> None:
        """Draws the head, the hands on it, and what the person holds.

        With several people it comes after all bodies, so that no one's arm hides another one's face.
        """
        self._face.draw()
        if self.person.pose == "head":
            for path in self.arm_joints():
                self._draw_hand(path[-1], 0.05)
        if self.person.item != NOTHING:
            self._draw_item()

    def extent(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in pixels; with arms, without what the person holds."""
        points = [point for arm in self.arm_joints() for point in arm]
        reach = 0.045 * self.unit
        xs = [x for x, _ in points] + [self.x - 1.12 * self.radius, self.x + 1.12 * self.radius]
        ys = [y for _, y in points] + [self.head[1] - 1.22 * self.radius]
        return min(xs) - reach, min(ys) - reach, max(xs) + reach, self.floor

    def arm_joints(self) -> Sequence[Sequence[Point]]:
        """Shoulder, elbow and hand of both arms, in pixels."""
        return [
            [self._body_point(self._inward * right, up) for right, up in path]
            for path in _ARMS[self.person.pose]
        ]

    def _body_point(self, right: float, up: float) -> Point:
        return self.x + right * self.unit, self.floor - up * self.unit

    def _gaze(self) -> Point:
        """Direction of the pupils."""
        match self.person.gaze:
            case "neighbor":
                return (self._side, 0)
            case "aside":
                return (self._away, 0)
            case "down":
                return (0, 1)
            case "item":
                is_up = self.person.pose in ("raised", "head")
                return (0.74 * self._item_side, -0.74 if is_up else 0.74)
            case _:
                return (0, 0)

    # -- body

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
        pen = Pen(self._canvas, (self.x, self.floor), self.unit, line=self.line)
        cloth = CLOTH_RGB[self.person.color]
        if self.person.garment == "dress":
            pen.shape(((-0.09, -0.62), (0.09, -0.62), (0.21, -0.14), (-0.21, -0.14)), cloth)
            return
        pen.box((-0.125, -0.62, 0.125, -0.26), cloth)
        if self.person.garment == "sweater":
            stripe = _STRIPE_RGB.get(self.person.color, (70, 60, 66))
            for y in (-0.55, -0.46, -0.37):
                pen.box((-0.115, y, 0.115, y + 0.035), stripe, edge=False)
        else:
            pen.stroke(((0, -0.60), (0, -0.27)), OUTLINE, 0.012)

    def _draw_arms(self) -> None:
        red, green, blue = CLOTH_RGB[self.person.color]
        sleeve = (round(0.86 * red), round(0.86 * green), round(0.86 * blue))
        width = round(0.07 * self.unit)
        for path in self.arm_joints():
            self._canvas.line(list(path), fill=OUTLINE, width=width + 2 * self.line, joint="curve")
            self._canvas.line(list(path), fill=sleeve, width=width, joint="curve")
            self._draw_hand(path[-1], 0.05)

    def _draw_hand(self, hand: Point, radius: float) -> None:
        pen = Pen(self._canvas, hand, self.unit, line=self.line)
        pen.disc(0, 0, radius, SKIN_RGB[self.person.skin])

    def _draw_item(self) -> None:
        side = self._item_side
        hand = max((path[-1] for path in self.arm_joints()), key=lambda point: side * point[0])
        outward, down = _ITEM_OFFSETS.get(self.person.pose, (0.04, 0.09))
        scale = _ITEM_SIZE * self.unit
        x, y = hand[0] + side * outward * self.unit, hand[1] + down * self.unit
        center = (min(max(x, 0.55 * scale), self._size - 0.55 * scale), max(y, 0.6 * scale))
        draw_item(Pen(self._canvas, center, scale, line=max(1, round(0.006 * self.unit))), self.person.item)
        self._draw_hand(hand, 0.032)
