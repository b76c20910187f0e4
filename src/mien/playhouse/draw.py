"""Puts a scene on canvas.

In: a `Scene`. Out: an RGB picture, one box a person, and whose pixels are whose.
Knows nothing about emotions and draws no red box: marking the subject is `mien.media.images`' business.
"""

import random
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw

from mien.playhouse.figure import INK, Figure
from mien.playhouse.places import draw_place
from mien.playhouse.scene import Scene
from mien.types import Box

SIZE = 288  # pixels a side


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn scene. `boxes[i]` is the box of `scene.people[i]`, in pixels."""

    image: Image.Image
    boxes: tuple[Box, ...]


def draw_scene(scene: Scene, size: int = SIZE) -> Drawing:
    """The picture of a scene, `size` x `size` pixels; the same scene always gives the same pixels."""
    staging, _ = draw_with_person_map(scene, size, layers=False)
    return staging


def person_boxes(scene: Scene, size: int = SIZE) -> tuple[Box, ...]:
    """The boxes of a scene's people without drawing it, which takes five times as long."""
    blank = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    return tuple(_box(Figure(blank, person, size), size) for person in scene.people)


def draw_with_person_map(
    scene: Scene, size: int = SIZE, *, layers: bool = True
) -> tuple[Drawing, Image.Image]:
    """The picture, and a map of the same size: 0 where no person is, i + 1 where `scene.people[i]` is
    seen."""
    rng = random.Random(scene.look)
    image = Image.new("RGB", (size, size))
    owner = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    draw_place(draw, scene.place, size, rng)
    figures = [Figure(draw, person, size) for person in scene.people]
    for index, figure in enumerate(figures):
        before = image.copy() if layers else None
        figure.ink()
        if before is not None:
            touched = (
                ImageChops.difference(before, image).convert("L").point(lambda value: 255 if value else 0)
            )
            owner.paste(index + 1, mask=touched)
    _draw_company(draw, scene, figures, size)
    return Drawing(image, tuple(_box(figure, size) for figure in figures)), owner


def _box(figure: Figure, size: int) -> Box:
    left, top, right, bottom = figure.extent()
    return Box(left=left, top=top, right=right, bottom=bottom).clip(size, size)


def _draw_company(draw: ImageDraw.ImageDraw, scene: Scene, figures: list[Figure], size: int) -> None:
    """A heart between who comforts and who is comforted, a jagged shout, the flags of those who cheer."""
    unit = size / 288
    roles = [person.role for person in scene.people]
    if scene.company == "cheering":
        for figure in figures:
            _flag(draw, figure, unit)
    elif scene.company in ("comfort", "shouting"):
        giver = roles.index("comforting" if scene.company == "comfort" else "shouting")
        receiver = roles.index("comforted" if scene.company == "comfort" else "shouted_at")
        ink = _heart if scene.company == "comfort" else _shout
        ink(draw, figures[giver], figures[receiver], unit)


def _flag(draw: ImageDraw.ImageDraw, figure: Figure, unit: float) -> None:
    x, y = figure.x + 26 * unit, figure.head[1] - 1.05 * figure.radius
    draw.line((x, y, x, y - 34 * unit), fill=INK, width=round(3 * unit))
    draw.polygon(
        ((x, y - 34 * unit), (x + 28 * unit, y - 25 * unit), (x, y - 15 * unit)),
        fill=(250, 220, 40),
        outline=INK,
    )


def _heart(draw: ImageDraw.ImageDraw, giver: Figure, receiver: Figure, unit: float) -> None:
    """On the receiver's side of the gap, so that the picture tells who comforts whom."""
    toward = 1 if giver.x > receiver.x else -1
    x, y, r = receiver.x + toward * 34 * unit, receiver.head[1] + 0.9 * receiver.radius, 8 * unit
    for side in (-1, 1):
        draw.ellipse((x + side * r - r, y - r, x + side * r + r, y + r), fill=(232, 70, 140))
    draw.polygon(
        ((x - 1.9 * r, y + 0.4 * r), (x + 1.9 * r, y + 0.4 * r), (x, y + 2.8 * r)), fill=(232, 70, 140)
    )


def _shout(draw: ImageDraw.ImageDraw, giver: Figure, receiver: Figure, unit: float) -> None:
    """A jagged star beside the shouter's mouth, on the side of the one shouted at."""
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
    draw.polygon([(x + dx * unit, y + dy * unit) for dx, dy in points], fill=(255, 120, 30), outline=INK)
