"""Draws the twelve places behind the people.

Every place has a sky, a ground, and two or three things of its own, whose positions and shades vary.
"""

import random
from collections.abc import Callable

from PIL import ImageDraw

from mien.playhouse.figure import OUTLINE

__all__ = ["draw_place"]

Color = tuple[int, int, int]


def draw_place(canvas: ImageDraw.ImageDraw, place: str, size: int, rng: random.Random) -> None:
    """Fills a canvas of `size` x `size` pixels; `rng` varies the decoration."""
    sky, ground, draw_props = _PLACES[place]
    horizon = size * rng.uniform(0.56, 0.66)
    canvas.rectangle((0, 0, size, horizon), fill=_shade(sky, rng))
    canvas.rectangle((0, horizon, size, size), fill=_shade(ground, rng))
    draw_props(canvas, size / 288, horizon, rng)


def _shade(color: Color, rng: random.Random, spread: int = 14) -> Color:
    red, green, blue = (max(0, min(255, part + rng.randint(-spread, spread))) for part in color)
    return red, green, blue


def _draw_party(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    bright = ((226, 74, 96), (252, 196, 60), (80, 176, 220), (126, 200, 104), (178, 108, 214))
    for step in range(9):
        x = (step * 34 - 6) * unit
        canvas.polygon(
            ((x, 0), (x + 30 * unit, 0), (x + 15 * unit, 26 * unit)), fill=bright[step % 5], outline=OUTLINE
        )
    for _ in range(6):
        x, y, r = rng.uniform(10, 278) * unit, rng.uniform(46, 130) * unit, rng.uniform(12, 17) * unit
        canvas.line((x, y, x + rng.uniform(-8, 8) * unit, y + 60 * unit), fill=OUTLINE)
        canvas.ellipse((x - r, y - 1.2 * r, x + r, y + 1.2 * r), fill=rng.choice(bright), outline=OUTLINE)


def _draw_funeral(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    for _ in range(4):
        x = rng.uniform(10, 260) * unit
        canvas.rectangle((x, horizon - 44 * unit, x + 7 * unit, horizon), fill=(70, 68, 74))
        canvas.rectangle(
            (x - 11 * unit, horizon - 34 * unit, x + 18 * unit, horizon - 27 * unit), fill=(70, 68, 74)
        )
    x, y = rng.uniform(20, 120) * unit, horizon + 8 * unit
    corners = ((x, y + 26 * unit), (x + 16 * unit, y), (x + 120 * unit, y), (x + 140 * unit, y + 26 * unit))
    canvas.polygon(
        (*corners, (x + 120 * unit, y + 52 * unit), (x + 16 * unit, y + 52 * unit)),
        fill=(92, 56, 34),
        outline=OUTLINE,
    )
    canvas.ellipse(
        (x + 50 * unit, y + 6 * unit, x + 84 * unit, y + 26 * unit), fill=(240, 240, 236), outline=OUTLINE
    )


def _draw_stadium(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    for row in range(4):
        for step in range(24):
            spot = (step * 12 + (row % 2) * 6) * unit, (40 + row * 22) * unit
            canvas.ellipse(
                (*spot, spot[0] + 9 * unit, spot[1] + 9 * unit), fill=_shade((150, 110, 110), rng, 70)
            )
    for x in (30, 258):
        canvas.rectangle(((x - 3) * unit, 16 * unit, (x + 3) * unit, horizon), fill=(110, 110, 116))
        canvas.rectangle(
            ((x - 24) * unit, 4 * unit, (x + 24) * unit, 24 * unit), fill=(255, 252, 214), outline=OUTLINE
        )
    for y in (20, 50, 84):
        canvas.line(
            (0, horizon + y * unit, 288 * unit, horizon + y * unit),
            fill=(240, 250, 240),
            width=round(3 * unit),
        )


def _draw_exam(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    canvas.rectangle(
        (36 * unit, 14 * unit, 252 * unit, 100 * unit),
        fill=(38, 84, 66),
        outline=(140, 98, 56),
        width=round(6 * unit),
    )
    for row in range(4):
        y = (32 + row * 17) * unit
        canvas.line(
            (56 * unit, y, rng.uniform(140, 230) * unit, y), fill=(226, 232, 226), width=round(2 * unit)
        )
    x = rng.choice((6, 258)) * unit
    canvas.ellipse(
        (x, 10 * unit, x + 26 * unit, 36 * unit), fill=(255, 255, 255), outline=OUTLINE, width=round(2 * unit)
    )
    for x in (8, 110, 212):
        canvas.rectangle(
            (x * unit, horizon + 14 * unit, (x + 66) * unit, horizon + 26 * unit),
            fill=(202, 150, 92),
            outline=OUTLINE,
        )
        canvas.rectangle(
            ((x + 16) * unit, horizon + 5 * unit, (x + 46) * unit, horizon + 15 * unit), fill=(255, 255, 255)
        )


def _draw_hospital(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    x = rng.uniform(20, 230) * unit
    canvas.rectangle((x, 14 * unit, x + 40 * unit, 54 * unit), fill=(255, 255, 255), outline=OUTLINE)
    canvas.rectangle((x + 15 * unit, 19 * unit, x + 25 * unit, 49 * unit), fill=(36, 150, 110))
    canvas.rectangle((x + 5 * unit, 29 * unit, x + 35 * unit, 39 * unit), fill=(36, 150, 110))
    y = horizon - 8 * unit
    canvas.rectangle((0, y, 288 * unit, y + 34 * unit), fill=(236, 244, 250), outline=OUTLINE)
    canvas.rounded_rectangle(
        (6 * unit, y - 20 * unit, 70 * unit, y + 6 * unit),
        radius=8 * unit,
        fill=(255, 255, 255),
        outline=OUTLINE,
    )
    canvas.rectangle((0, y + 34 * unit, 288 * unit, y + 42 * unit), fill=(150, 164, 176))


def _draw_beach(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    x = rng.uniform(20, 230) * unit
    canvas.ellipse((x, 12 * unit, x + 44 * unit, 56 * unit), fill=(255, 232, 92))
    canvas.rectangle((0, horizon - 46 * unit, 288 * unit, horizon), fill=_shade((40, 120, 204), rng))
    for _ in range(7):
        wave_x, wave_y = rng.uniform(0, 260) * unit, horizon - rng.uniform(8, 42) * unit
        canvas.arc(
            (wave_x, wave_y, wave_x + 26 * unit, wave_y + 10 * unit),
            180,
            360,
            fill=(236, 248, 255),
            width=round(3 * unit),
        )
    x = rng.uniform(40, 240) * unit
    canvas.line((x, horizon - 70 * unit, x, horizon + 40 * unit), fill=OUTLINE, width=round(4 * unit))
    canvas.pieslice(
        (x - 44 * unit, horizon - 110 * unit, x + 44 * unit, horizon - 24 * unit),
        180,
        360,
        fill=(236, 92, 72),
        outline=OUTLINE,
    )


def _draw_forest(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    for step in range(6):
        x = (step * 54 + rng.uniform(-10, 10)) * unit
        canvas.rectangle((x - 6 * unit, 60 * unit, x + 6 * unit, horizon + 8 * unit), fill=(58, 42, 32))
        canvas.polygon(
            ((x - 34 * unit, 110 * unit), (x + 34 * unit, 110 * unit), (x, 6 * unit)),
            fill=_shade((22, 62, 42), rng),
        )
    x, y = rng.uniform(70, 220) * unit, rng.uniform(50, 80) * unit
    canvas.ellipse(
        (x - 46 * unit, y - 38 * unit, x + 46 * unit, y + 60 * unit), fill=(24, 18, 30), outline=OUTLINE
    )
    for side in (-1, 1):
        eye = x + side * 18 * unit
        canvas.ellipse((eye - 10 * unit, y - 22 * unit, eye + 10 * unit, y - 4 * unit), fill=(250, 240, 70))
        canvas.polygon(
            (
                (eye, y - 52 * unit),
                (eye + side * 22 * unit, y - 24 * unit),
                (eye - side * 8 * unit, y - 28 * unit),
            ),
            fill=(24, 18, 30),
        )
    for step in range(5):
        tooth = x + (step - 2.5) * 11 * unit
        canvas.polygon(
            ((tooth, y + 12 * unit), (tooth + 11 * unit, y + 12 * unit), (tooth + 5.5 * unit, y + 28 * unit)),
            fill=(245, 245, 235),
        )


def _draw_award(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    for step in range(12):
        x = step * 24 * unit
        canvas.rectangle((x, 0, x + 12 * unit, horizon), fill=(150, 24, 44))
    for x in (rng.uniform(30, 100), rng.uniform(190, 260)):
        canvas.polygon(
            ((x * unit, 0), ((x - 40) * unit, horizon), ((x + 40) * unit, horizon)), fill=(255, 236, 170)
        )
    x, y = rng.uniform(40, 230) * unit, horizon + 2 * unit
    gold = (246, 196, 40)
    canvas.pieslice((x - 22 * unit, y - 44 * unit, x + 22 * unit, y), 0, 180, fill=gold, outline=OUTLINE)
    canvas.rectangle((x - 4 * unit, y - 6 * unit, x + 4 * unit, y + 16 * unit), fill=gold, outline=OUTLINE)
    canvas.rectangle((x - 16 * unit, y + 14 * unit, x + 16 * unit, y + 24 * unit), fill=gold, outline=OUTLINE)


def _draw_kitchen(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    for row in range(4):
        for step in range(10):
            if (row + step) % 2:
                x, y = step * 30 * unit, row * 30 * unit
                canvas.rectangle((x, y, x + 30 * unit, y + 30 * unit), fill=(186, 226, 222))
    canvas.rectangle((0, horizon - 34 * unit, 288 * unit, horizon), fill=(152, 108, 70), outline=OUTLINE)
    for _ in range(7):
        x, y = rng.uniform(6, 270) * unit, horizon + rng.uniform(14, 96) * unit
        tips = [(x + rng.uniform(-16, 16) * unit, y + rng.uniform(-10, 10) * unit) for _ in range(4)]
        canvas.polygon(tips, fill=(255, 255, 255), outline=OUTLINE)


def _draw_home(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    x = rng.uniform(20, 210) * unit
    canvas.rectangle(
        (x, 20 * unit, x + 56 * unit, 76 * unit),
        fill=(160, 208, 240),
        outline=(150, 104, 64),
        width=round(5 * unit),
    )
    canvas.line(
        (x + 28 * unit, 20 * unit, x + 28 * unit, 76 * unit), fill=(150, 104, 64), width=round(3 * unit)
    )
    y = horizon - 30 * unit
    cloth = _shade((96, 142, 120), rng)
    canvas.rounded_rectangle(
        (10 * unit, y - 28 * unit, 278 * unit, y + 40 * unit), radius=18 * unit, fill=cloth, outline=OUTLINE
    )
    canvas.rectangle(
        (10 * unit, y + 8 * unit, 278 * unit, y + 46 * unit),
        fill=_shade((112, 160, 136), rng),
        outline=OUTLINE,
    )


def _draw_station(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    canvas.rectangle(
        (0, 46 * unit, 288 * unit, horizon - 6 * unit), fill=_shade((70, 110, 140), rng), outline=OUTLINE
    )
    shift = rng.uniform(-20, 20)
    for step in range(5):
        x = (step * 62 + shift) * unit
        canvas.rectangle((x, 62 * unit, x + 42 * unit, 100 * unit), fill=(232, 240, 214), outline=OUTLINE)
    canvas.line(
        (0, horizon - 22 * unit, 288 * unit, horizon - 22 * unit), fill=(244, 208, 60), width=round(8 * unit)
    )
    for step in range(15):
        x = step * 20 * unit
        canvas.rectangle((x, horizon + 10 * unit, x + 10 * unit, horizon + 20 * unit), fill=(248, 220, 80))


def _draw_street(canvas: ImageDraw.ImageDraw, unit: float, horizon: float, rng: random.Random) -> None:
    for step in range(5):
        x, top = step * 60 * unit, rng.uniform(16, 70) * unit
        canvas.rectangle((x, top, x + 52 * unit, horizon), fill=_shade((104, 108, 124), rng), outline=OUTLINE)
        for row in range(3):
            y = top + (12 + row * 26) * unit
            canvas.rectangle((x + 10 * unit, y, x + 22 * unit, y + 14 * unit), fill=(206, 206, 166))
    for _ in range(70):
        x, y = rng.uniform(0, 288) * unit, rng.uniform(0, 270) * unit
        canvas.line((x, y, x - 6 * unit, y + 18 * unit), fill=(206, 222, 240), width=round(2 * unit))


_PLACES: dict[
    str, tuple[Color, Color, Callable[[ImageDraw.ImageDraw, float, float, random.Random], None]]
] = {
    "party": ((252, 226, 188), (190, 132, 96), _draw_party),
    "funeral": ((150, 152, 162), (104, 116, 98), _draw_funeral),
    "stadium": ((120, 160, 214), (70, 164, 78), _draw_stadium),
    "exam": ((234, 226, 202), (170, 150, 128), _draw_exam),
    "hospital": ((206, 228, 232), (176, 196, 198), _draw_hospital),
    "beach": ((150, 212, 250), (240, 214, 150), _draw_beach),
    "forest": ((56, 62, 84), (48, 58, 44), _draw_forest),
    "award": ((184, 40, 58), (110, 72, 48), _draw_award),
    "kitchen": ((224, 244, 240), (206, 186, 160), _draw_kitchen),
    "home": ((240, 214, 190), (160, 120, 92), _draw_home),
    "station": ((196, 204, 212), (128, 128, 134), _draw_station),
    "street": ((128, 136, 156), (84, 88, 98), _draw_street),
}
