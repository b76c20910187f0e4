"""Draws scenes. It does not mark the subject: that is done by `mien.media.images`, as for any image."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw

from mien.playhouse.figure import Figure
from mien.playhouse.parts.occasions import draw_behind, draw_in_front
from mien.playhouse.parts.pen import OUTLINE, Pen, draw_heart
from mien.playhouse.parts.settings import draw_setting
from mien.playhouse.scene import Scene
from mien.playhouse.situations import INDOORS
from mien.types import Box

__all__ = [
    "OCCASION",
    "SIZE",
    "SYMBOL",
    "Drawing",
    "draw_scene",
    "draw_with_cue_map",
    "draw_with_person_map",
    "person_boxes",
]

SIZE = 288  # side of an image, in pixels

# Values of a map of cues that stand for no person.
OCCASION = 254  # the things of the occasion
SYMBOL = 255  # what shows who does what to whom: hearts, shouts and flags

# Factors for the colors of the setting, and then for those of the setting and the occasion together.
_TINTS: dict[str, tuple[tuple[float, float, float], float]] = {
    "dusk": ((0.90, 0.67, 0.52), 0.96),
    "night": ((0.36, 0.42, 0.66), 0.88),
}


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

    The map is i + 1 where `scene.people[i]`, or what they hold, is visible, and 0 elsewhere.
    """
    drawing, cue_map = draw_with_cue_map(scene, size)
    return drawing, cue_map.point(_person_only)


def draw_with_cue_map(scene: Scene, size: int = SIZE) -> tuple[Drawing, Image.Image]:
    """Draws a scene, with a map of the same size that says what tells about emotions at each pixel.

    The map is as that of `draw_with_person_map`, but `OCCASION` where a thing of the occasion is visible, and
    `SYMBOL` where a heart, a shout or a flag is.
    """
    return _draw(scene, size, with_map=True)


def _person_only(value: int) -> int:
    return 0 if value >= OCCASION else value


def person_boxes(scene: Scene, size: int = SIZE) -> tuple[Box, ...]:
    """The boxes of a scene's people without drawing it, which takes many times as long."""
    blank = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    return tuple(_box(Figure(blank, person, size), size) for person in scene.people)


def _draw(scene: Scene, size: int, *, with_map: bool) -> tuple[Drawing, Image.Image]:
    rng = random.Random(scene.decoration_seed)
    image = Image.new("RGB", (size, size))
    person_map = Image.new("L", (size, size))
    pen = Pen(ImageDraw.Draw(image), scale=size / 288)
    _draw_background(image, pen, scene, rng, person_map if with_map else None)
    figures = [
        Figure(pen.canvas, person, size, _side_of_neighbor(scene, index))
        for index, person in enumerate(scene.people)
    ]
    for draw_part in (Figure.draw_body, Figure.draw_head):
        for index, figure in enumerate(figures):
            before = image.copy() if with_map else None
            draw_part(figure)
            if before is not None:
                _mark(person_map, index + 1, before, image, _surroundings(figure, size))
    in_front: tuple[tuple[int, Callable[[], None]], ...] = (
        (OCCASION, lambda: draw_in_front(pen, scene.occasion, rng)),
        (0, lambda: _draw_flakes(pen, rng, 14) if scene.weather == "snow" else None),
        (SYMBOL, lambda: _draw_company(pen, scene, figures)),
    )
    for value, draw in in_front:
        before = image.copy() if with_map else None
        draw()
        if before is not None:
            _mark(person_map, value, before, image, (0, 0, size, size))
    return Drawing(image, tuple(_box(figure, size) for figure in figures)), person_map


def _side_of_neighbor(scene: Scene, index: int) -> int:
    neighbor = scene.neighbor(index)
    if neighbor is None:
        return 0
    return 1 if scene.people[neighbor].center > scene.people[index].center else -1


def _surroundings(figure: Figure, size: int) -> tuple[int, int, int, int]:
    """Where a figure, and what the person holds, can be; in pixels."""
    left, top, right, bottom = (round(edge) for edge in figure.extent())
    slack = round(0.25 * figure.unit)
    return max(0, left - slack), max(0, top - slack), min(size, right + slack), min(size, bottom + slack)


def _mark(
    person_map: Image.Image,
    value: int,
    before: Image.Image,
    after: Image.Image,
    area: tuple[int, int, int, int],
) -> None:
    """Sets the map to `value` where two images differ; only an area is compared, which is faster."""
    difference = ImageChops.difference(before.crop(area), after.crop(area))
    person_map.paste(value, area, difference.convert("L").point(_is_positive))


def _is_positive(value: int) -> int:
    return 255 if value else 0


def _box(figure: Figure, size: int) -> Box:
    left, top, right, bottom = figure.extent()
    return Box(left=left, top=top, right=right, bottom=bottom).clip(size, size)


# -- background, light and weather


def _draw_background(
    image: Image.Image, pen: Pen, scene: Scene, rng: random.Random, cue_map: Image.Image | None
) -> None:
    horizon = draw_setting(pen, scene.setting, rng)
    tint, share = _TINTS.get(scene.light, ((1.0, 1.0, 1.0), 1.0))
    if scene.weather == "snow":
        _cover_with_snow(image, pen, horizon)
    if scene.light != "day":
        _tint(image, tint)
    if scene.weather == "dry":
        _draw_lights(pen, scene.light, scene.setting in INDOORS, rng)
    before = image.copy() if cue_map is not None else None
    draw_behind(pen, scene.occasion, horizon, rng, indoors=scene.setting in INDOORS)
    if cue_map is not None and before is not None:
        _mark(cue_map, OCCASION, before, image, (0, 0, *image.size))
    if scene.light != "day":
        _tint(image, (share, share, share))
    if scene.weather == "rain":
        _draw_rain(pen, horizon, rng)
    elif scene.weather == "snow":
        _draw_flakes(pen, rng, 46)


def _tint(image: Image.Image, factors: tuple[float, float, float]) -> None:
    image.paste(image.point([round(value * factor) for factor in factors for value in range(256)]))


def _draw_lights(pen: Pen, light: str, indoors: bool, rng: random.Random) -> None:
    """The moon and stars, or the sun; indoors a lamp at night, and at dusk light from a window."""
    x = rng.choice((60, 226))
    if indoors and light == "night":
        pen.stroke(((x, 0), (x, 14)), OUTLINE, 3)
        pen.disc(x, 30, 10, (255, 246, 160))
        pen.chord(x, 28, 20, (180, 360), (40, 60, 60))
    elif light == "night":
        for _ in range(14):
            pen.disc(rng.uniform(0, 288), rng.uniform(2, 90), 2, (240, 240, 220), edge=False)
        pen.disc(x, 26, 18, (250, 246, 214), edge=False)
        pen.disc(x - 6, 21, 4, (214, 210, 184), edge=False)
        pen.disc(x + 6, 32, 5, (214, 210, 184), edge=False)
    elif indoors and light == "dusk":
        for left, top in ((x - 30, 44), (8, 222), (226, 222)):
            for right, down in ((0, 0), (26, 0), (-6, 26), (20, 26)):
                pane = Pen(pen.canvas, pen.at(left + right, top + down), pen.scale)
                pane.shape(((0, 0), (22, 0), (16, 22), (-6, 22)), (255, 178, 84), edge=False)
    elif not indoors:
        pen.disc(x, *((60, 24, (255, 120, 50)) if light == "dusk" else (26, 18, (255, 232, 92))), edge=False)


def _draw_rain(pen: Pen, horizon: float, rng: random.Random) -> None:
    for _ in range(5):
        x, y = rng.uniform(0, 288), rng.uniform(horizon + 20, 284)
        pen.oval(x, y, (rng.uniform(18, 34), 6), (120, 160, 200), edge=False)
        pen.oval(x - 4, y - 1, (9, 2), (214, 232, 248), edge=False)
    for _ in range(80):
        x, y = rng.uniform(0, 296), rng.uniform(-10, 280)
        pen.stroke(((x, y), (x - 6, y + 18)), (206, 226, 248), 2)


def _cover_with_snow(image: Image.Image, pen: Pen, horizon: float) -> None:
    top = round(horizon * pen.scale)
    ground = image.crop((0, top, image.width, image.height))
    white = Image.new("RGB", ground.size, (246, 248, 255))
    image.paste(Image.blend(ground, white, 0.78), (0, top))


def _draw_flakes(pen: Pen, rng: random.Random, count: int) -> None:
    for _ in range(count):
        pen.disc(rng.uniform(0, 288), rng.uniform(0, 288), rng.uniform(2, 4), (255, 255, 255), edge=False)


# -- company


def _draw_company(pen: Pen, scene: Scene, figures: list[Figure]) -> None:
    """A heart between comforter and comforted, a jagged shape for a shout, flags for cheering people."""
    roles = [person.role for person in scene.people]
    if scene.company == "cheering":
        for figure in figures:
            _draw_flag(pen, figure)
    elif scene.company in ("comfort", "shouting"):
        giver = roles.index("comforting" if scene.company == "comfort" else "shouting")
        receiver = roles.index("comforted" if scene.company == "comfort" else "shouted_at")
        draw_symbol = _draw_heart if scene.company == "comfort" else _draw_shout
        draw_symbol(pen, figures[giver], figures[receiver])


def _draw_flag(pen: Pen, figure: Figure) -> None:
    top = max(2 * pen.scale, figure.head[1] - 1.05 * figure.radius - 34 * pen.scale)
    flag = Pen(pen.canvas, (figure.x + 26 * pen.scale, top), pen.scale)
    flag.stroke(((0, 0), (0, 34)), OUTLINE, 3)
    flag.shape(((0, 0), (32, 11), (0, 22)), (0, 226, 220))


def _draw_heart(pen: Pen, giver: Figure, receiver: Figure) -> None:
    """On the receiver's side of the gap, so that the image shows who comforts whom."""
    toward = 1 if giver.x > receiver.x else -1
    x, y = receiver.x + toward * 34 * pen.scale, receiver.head[1] + 0.9 * receiver.radius
    draw_heart(Pen(pen.canvas, (x, y), 8 * pen.scale), (232, 70, 140))


def _draw_shout(pen: Pen, giver: Figure, receiver: Figure) -> None:
    """A jagged star next to the shouter's mouth, on the side of the person shouted at."""
    toward = 1 if receiver.x > giver.x else -1
    x = giver.x + toward * (giver.radius + 12 * pen.scale)
    star = Pen(pen.canvas, (x, giver.head[1] + 0.35 * giver.radius), pen.scale)
    tips = ((14, 0), (5, 4), (8, 13), (0, 6), (-8, 13), (-5, 4))
    star.shape((*tips, *((-x, -y) for x, y in tips)), (255, 120, 30))
