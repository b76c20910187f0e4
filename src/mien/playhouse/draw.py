"""Draws scenes. It does not mark the subject: that is done by `mien.media.images`, as for any image."""

import random
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw

from mien.playhouse.figure import OUTLINE, Figure
from mien.playhouse.places import draw_place
from mien.playhouse.scene import Scene
from mien.types import Box

__all__ = ["SIZE", "Drawing", "draw_scene", "draw_with_person_map", "person_boxes"]

SIZE = 288  # side of an image, in pixels


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn scene.

    Attributes:
        image: RGB.
        boxes: The box of each of `scene.people`, in pixels.
    """

    image: Image.Image
    boxes: tuple[Box, ...]


def draw_scene(scene: Scene, size: int = SIZE) -> Drawing:
    """Draws a scene, `size` x `size` pixels; the same scene always gives the same pixels."""
    drawing, _ = _draw(scene, size, with_map=False)
    return drawing


def draw_with_person_map(scene: Scene, size: int = SIZE) -> tuple[Drawing, Image.Image]:
    """Draws a scene, with a map of the same size that says which person each pixel shows.

    The map is 0 where there is no person, and i + 1 where `scene.people[i]` is visible.
    """
    return _draw(scene, size, with_map=True)


def person_boxes(scene: Scene, size: int = SIZE) -> tuple[Box, ...]:
    """The boxes of a scene's people without drawing it, which takes five times as long."""
    blank = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    return tuple(_box(Figure(blank, person, size), size) for person in scene.people)


def _draw(scene: Scene, size: int, *, with_map: bool) -> tuple[Drawing, Image.Image]:
    rng = random.Random(scene.decoration_seed)
    image = Image.new("RGB", (size, size))
    person_map = Image.new("L", (size, size))
    canvas = ImageDraw.Draw(image)
    draw_place(canvas, scene.place, size, rng)
    figures = [Figure(canvas, person, size) for person in scene.people]
    for index, figure in enumerate(figures):
        before = image.copy() if with_map else None
        figure.draw()
        if before is not None:
            touched = (
                ImageChops.difference(before, image).convert("L").point(lambda value: 255 if value else 0)
            )
            person_map.paste(index + 1, mask=touched)
    _draw_company(canvas, scene, figures, size)
    return Drawing(image, tuple(_box(figure, size) for figure in figures)), person_map


def _box(figure: Figure, size: int) -> Box:
    left, top, right, bottom = figure.extent()
    return Box(left=left, top=top, right=right, bottom=bottom).clip(size, size)


def _draw_company(canvas: ImageDraw.ImageDraw, scene: Scene, figures: list[Figure], size: int) -> None:
    """A heart between comforter and comforted, a jagged shape for a shout, flags for cheering people."""
    unit = size / 288
    roles = [person.role for person in scene.people]
    if scene.company == "cheering":
        for figure in figures:
            _draw_flag(canvas, figure, unit)
    elif scene.company in ("comfort", "shouting"):
        giver = roles.index("comforting" if scene.company == "comfort" else "shouting")
        receiver = roles.index("comforted" if scene.company == "comfort" else "shouted_at")
        draw_symbol = _draw_heart if scene.company == "comfort" else _draw_shout
        draw_symbol(canvas, figures[giver], figures[receiver], unit)


def _draw_flag(canvas: ImageDraw.ImageDraw, figure: Figure, unit: float) -> None:
    x, y = figure.x + 26 * unit, figure.head[1] - 1.05 * figure.radius
    canvas.line((x, y, x, y - 34 * unit), fill=OUTLINE, width=round(3 * unit))
    canvas.polygon(
        ((x, y - 34 * unit), (x + 28 * unit, y - 25 * unit), (x, y - 15 * unit)),
        fill=(250, 220, 40),
        outline=OUTLINE,
    )


def _draw_heart(canvas: ImageDraw.ImageDraw, giver: Figure, receiver: Figure, unit: float) -> None:
    """On the receiver's side of the gap, so that the image shows who comforts whom."""
    toward = 1 if giver.x > receiver.x else -1
    x, y, r = receiver.x + toward * 34 * unit, receiver.head[1] + 0.9 * receiver.radius, 8 * unit
    for side in (-1, 1):
        canvas.ellipse((x + side * r - r, y - r, x + side * r + r, y + r), fill=(232, 70, 140))
    canvas.polygon(
        ((x - 1.9 * r, y + 0.4 * r), (x + 1.9 * r, y + 0.4 * r), (x, y + 2.8 * r)), fill=(232, 70, 140)
    )


def _draw_shout(canvas: ImageDraw.ImageDraw, giver: Figure, receiver: Figure, unit: float) -> None:
    """A jagged star next to the shouter's mouth, on the side of the person shouted at."""
    toward = 1 if receiver.x > giver.x else -1
    x, y = giver.x + toward * (giver.radius + 12 * unit), giver.head[1] + 0.35 * giver.radius
    points = [
        (14, 0),
        (5, 4),
        (8, 13),
        (0, 6),
        (-8, 13),
        (-5, 4),
        (-14, 0),
        (-5, -4),
        (-8, -13),
        (0, -6),
        (8, -13),
        (5, -4),
    ]
    canvas.polygon(
        [(x + dx * unit, y + dy * unit) for dx, dy in points], fill=(255, 120, 30), outline=OUTLINE
    )
