"""Draws what belongs to celebrations, matches and shows, in coordinates from (0, 0) to (288, 288)."""

import math
import random
from collections.abc import Callable

from mien.playhouse.parts.pen import OUTLINE, Color, Pen, draw_heart

__all__ = ["BEHIND", "IN_FRONT"]

_WHITE: Color = (255, 255, 255)
_RED: Color = (224, 36, 44)
_GOLD: Color = (250, 200, 40)
_BLACK: Color = (26, 24, 30)
_BRIGHT: tuple[Color, ...] = (
    *((230, 60, 90), (255, 200, 50), (60, 170, 230), (120, 206, 90), (180, 100, 220)),
)


def _draw_birthday(pen: Pen, horizon: float, rng: random.Random) -> None:
    for step in range(10):
        left = step * 30 - 4
        pen.shape(((left, 0), (left + 26, 0), (left + 13, 24)), _BRIGHT[step % 5])
    for x, y in ((16, 62), (34, 104), (272, 66), (252, 110), (rng.uniform(90, 200), 52)):
        _draw_balloon(pen, x + rng.uniform(-5, 5), y + rng.uniform(-8, 8), rng)


def _draw_balloon(pen: Pen, x: float, y: float, rng: random.Random) -> None:
    pen.stroke(((x, y), (x + rng.uniform(-6, 6), y + 60)), OUTLINE, 2)
    pen.oval(x, y, (15, 19), rng.choice(_BRIGHT))
    pen.oval(x - 5, y - 7, (3, 5), _WHITE, edge=False)


def _draw_confetti(pen: Pen, rng: random.Random) -> None:
    for _ in range(26):
        x, y = rng.uniform(0, 284), rng.uniform(258, 284)
        pen.box((x, y, x + 6, y + 4), rng.choice(_BRIGHT), edge=False)


def _draw_wedding(pen: Pen, horizon: float, rng: random.Random) -> None:
    pinks: tuple[Color, ...] = (_WHITE, (255, 170, 200), (250, 120, 170))
    pen.canvas.arc(
        (*pen.at(0, 2), *pen.at(288, 330)), 180, 360, fill=(60, 140, 70), width=round(8 * pen.scale)
    )
    for step in range(25):
        turn = math.pi * (1 + step / 24)
        x, y = 144 + 140 * math.cos(turn), 160 + 150 * math.sin(turn)
        pen.disc(x, y, 11, pinks[step % 3])
        pen.disc(x, y, 4, (255, 224, 90), edge=False)
    for x in (44, 244):
        draw_heart(Pen(pen.canvas, pen.at(x, 86), 9 * pen.scale), (236, 40, 90))
        pen.disc(x, 64, 4, _GOLD)
        _draw_bell(pen, x, 38)


def _draw_bell(pen: Pen, x: float, y: float) -> None:
    pen.shape(
        (
            (x - 7, y - 12),
            (x + 7, y - 12),
            (x + 9, y + 8),
            (x + 17, y + 16),
            (x - 17, y + 16),
            (x - 9, y + 8),
        ),
        _GOLD,
    )
    pen.disc(x, y + 18, 5, _GOLD)


def _draw_petals(pen: Pen, rng: random.Random) -> None:
    pen.shape(((0, 280), (288, 280), (288, 288), (0, 288)), _WHITE, edge=False)
    for _ in range(20):
        pen.oval(rng.uniform(0, 288), rng.uniform(264, 286), (5, 3), (250, 130, 170), edge=False)


def _draw_graduation(pen: Pen, horizon: float, rng: random.Random) -> None:
    for x in (0, 262):
        pen.shape(((x, 60), (x + 26, 60), (x + 26, 150), (x + 13, 136), (x, 150)), (24, 44, 120))
        pen.disc(x + 13, 84, 9, _GOLD)
        pen.box((x + 5, 104, x + 21, 110), _GOLD, edge=False)
    for x, y in ((32, 24), (92, 14), (150, 24), (206, 14), (258, 26)):
        _draw_cap(pen, x + rng.uniform(-8, 8), y + rng.uniform(-3, 5), 26)


def _draw_cap(pen: Pen, x: float, y: float, half: float) -> None:
    pen.shape(
        ((x - 0.5 * half, y), (x + 0.5 * half, y), (x + 0.5 * half, y + 14), (x - 0.5 * half, y + 14)), _BLACK
    )
    pen.shape(((x - half, y), (x, y - 10), (x + half, y), (x, y + 10)), _BLACK)
    pen.stroke(((x, y), (x + 0.8 * half, y + 6), (x + 0.8 * half, y + 18)), _GOLD, 3)
    pen.disc(x + 0.8 * half, y + 20, 4, _GOLD, edge=False)


def _draw_caps_on_the_floor(pen: Pen, rng: random.Random) -> None:
    for x in (40, 150, 250):
        _draw_cap(pen, x + rng.uniform(-16, 16), 270, 22)


def _draw_award(pen: Pen, horizon: float, rng: random.Random) -> None:
    for x in (26, 262):
        for tail in (-8, 8):
            pen.shape(((x, 76), (x + tail - 6, 122), (x + tail + 6, 122)), (30, 80, 200))
        pen.disc(x, 72, 20, (50, 110, 230))
        pen.disc(x, 72, 12, _WHITE)
        pen.box((x - 2, 65, x + 2, 79), OUTLINE, edge=False)
    for x in (34, 90, 144, 198, 254):
        _draw_star(pen, x + rng.uniform(-8, 8), 22 + rng.uniform(-3, 3), 20)


def _draw_star(pen: Pen, x: float, y: float, radius: float) -> None:
    points = []
    for step in range(10):
        turn, r = math.pi * step / 5, radius if step % 2 == 0 else 0.42 * radius
        points.append((x + r * math.sin(turn), y - r * math.cos(turn)))
    pen.shape(points, (255, 214, 30))


def _draw_podium(pen: Pen, rng: random.Random) -> None:
    x = rng.choice((24, 96, 168))
    for left, top in ((0, 266), (32, 254), (64, 272)):
        pen.box((x + left, top, x + left + 32, 290), (226, 226, 232))
    pen.box((x + 46, 260, x + 50, 280), OUTLINE, edge=False)  # 1
    pen.stroke(
        ((x + 11, 271), (x + 20, 271), (x + 20, 276), (x + 12, 276), (x + 12, 283), (x + 21, 283)), OUTLINE, 3
    )
    pen.stroke(((x + 75, 276), (x + 84, 276), (x + 84, 286), (x + 75, 286)), OUTLINE, 3)


def _draw_performance(pen: Pen, horizon: float, rng: random.Random) -> None:
    for x, foot in ((20, 96), (268, 192)):
        pen.shape(
            ((x - 4, 14), (x + 4, 14), (foot + 44, horizon + 30), (foot - 44, horizon + 30)),
            (255, 244, 180),
            edge=False,
        )
    for x in (20, 268):
        pen.shape(((x - 14, 0), (x + 14, 0), (x + 10, 20), (x - 10, 20)), _BLACK)
    for x, y in ((52, 44), (108, 30), (176, 34), (232, 44), (22, 110), (262, 110)):
        _draw_note(pen, x + rng.uniform(-6, 6), y + rng.uniform(-5, 5))


def _draw_note(pen: Pen, x: float, y: float) -> None:
    halo: tuple[tuple[Color, int], ...] = ((_WHITE, 3), ((110, 20, 150), 0))
    for color, extra in halo:
        for step in (0, 20):
            pen.oval(x + step, y, (8 + extra, 6 + extra), color, edge=False)
            pen.stroke(((x + step + 6, y), (x + step + 6, y - 26)), color, 4 + 2 * extra)
        pen.stroke(((x + 5 - extra, y - 26), (x + 28 + extra, y - 26)), color, 7 + 2 * extra)


def _draw_microphone(pen: Pen, rng: random.Random) -> None:
    for x in (10, 278):
        pen.stroke(((x, 190), (x, 280)), (210, 214, 222), 5)
        pen.stroke(((x - 16, 284), (x, 276), (x + 16, 284)), (210, 214, 222), 5)
        pen.oval(x, 180, (9, 14), (90, 94, 104))
    for x in (60, 144, 228):
        pen.box((x - 26, 272, x + 26, 288), _BLACK)
        pen.disc(x - 12, 280, 5, (150, 150, 160), edge=False)
        pen.disc(x + 12, 280, 5, (150, 150, 160), edge=False)


def _draw_match(pen: Pen, horizon: float, rng: random.Random) -> None:
    colors: tuple[tuple[Color, Color], ...] = ((_RED, _WHITE), ((40, 80, 210), (255, 220, 40)))
    for side, pair in zip((0, 1), colors, strict=True):
        left = 4 + 232 * side
        pen.stroke(((6 + 276 * side, 50), (6 + 276 * side, horizon + 30)), OUTLINE, 4)
        for row in range(3):
            for column in range(4):
                x, y = left + column * 12, 52 + row * 16
                pen.box((x, y, x + 12, y + 16), pair[(row + column) % 2], edge=False)
    for x in (58, 186):
        pen.box((x, 4, x + 46, 36), _BLACK)
        for digit in (7, 27):
            pen.box((x + digit, 10, x + digit + 12, 30), (255, 170, 20), edge=False)
            pen.box((x + digit + 4, 14, x + digit + 8, rng.choice((18, 26))), _BLACK, edge=False)
        pen.box((x + 21, 18, x + 25, 22), _RED, edge=False)


def _draw_whistle(pen: Pen, rng: random.Random) -> None:
    x = rng.choice((30, 130, 230))
    pen.box((x, 262, x + 36, 272), (40, 190, 190))
    pen.disc(x + 6, 272, 11, (40, 190, 190))
    pen.disc(x + 6, 272, 4, OUTLINE, edge=False)
    for cone in (6, 100, 190, 272):
        pen.shape(((cone - 8, 286), (cone + 8, 286), (cone, 262)), (255, 120, 20))


BEHIND: dict[str, Callable[[Pen, float, random.Random], None]] = {
    "birthday": _draw_birthday,
    "wedding": _draw_wedding,
    "graduation": _draw_graduation,
    "match": _draw_match,
    "award": _draw_award,
    "performance": _draw_performance,
}
IN_FRONT: dict[str, Callable[[Pen, random.Random], None]] = {
    "birthday": _draw_confetti,
    "wedding": _draw_petals,
    "graduation": _draw_caps_on_the_floor,
    "match": _draw_whistle,
    "award": _draw_podium,
    "performance": _draw_microphone,
}
