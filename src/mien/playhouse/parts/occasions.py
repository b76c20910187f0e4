"""Draws what belongs to an occasion, in coordinates from (0, 0) to (288, 288).

Every occasion has two or three things of its own, behind the people at the top and at the edges and in
front of their feet, so that some of them are visible wherever people stand.
"""

import math
import random
from collections.abc import Callable

from mien.playhouse.parts import celebrations
from mien.playhouse.parts.pen import OUTLINE, Color, Pen, Point, draw_heart, shade

__all__ = ["draw_behind", "draw_in_front"]

_WHITE: Color = (255, 255, 255)
_RED: Color = (224, 36, 44)
_GOLD: Color = (250, 200, 40)
_BLACK: Color = (26, 24, 30)


def draw_behind(pen: Pen, occasion: str, horizon: float, rng: random.Random, *, indoors: bool) -> None:
    """Draws what is behind the people; a storm is seen through windows indoors."""
    if occasion == "storm" and indoors:
        _draw_storm_outside(pen, rng)
    elif occasion in _BEHIND:
        _BEHIND[occasion](pen, horizon, rng)


def draw_in_front(pen: Pen, occasion: str, rng: random.Random) -> None:
    """Draws what is in front of the people's feet."""
    if occasion in _FRONT:
        _FRONT[occasion](pen, rng)


# -- leaving and coming back


def _draw_funeral(pen: Pen, horizon: float, rng: random.Random) -> None:
    for step in range(4):
        pen.chord(step * 72 + 36, -14, 38, (0, 180), _BLACK)
    for x in (28, 144, 260):
        pen.ring(x, 66 if x != 144 else 34, 25, (30, 100, 50), 13)
        for turn in range(6):
            angle = math.tau * turn / 6
            y = (66 if x != 144 else 34) + 19 * math.sin(angle)
            pen.disc(x + 19 * math.cos(angle), y, 5, _WHITE, edge=False)
        for tail in (-10, 10):
            pen.stroke(((x, 86), (x + tail, 116)), _BLACK, 7)


def _draw_coffin(pen: Pen, rng: random.Random) -> None:
    x = rng.choice((4, 70, 136))
    wood: Color = (96, 58, 34)
    pen.shape(((x, 268), (x + 20, 250), (x + 130, 250), (x + 148, 268), (x + 130, 286), (x + 20, 286)), wood)
    pen.box((x + 50, 265, x + 104, 271), _GOLD, edge=False)
    pen.box((x + 66, 255, x + 72, 282), _GOLD, edge=False)


def _draw_farewell(pen: Pen, horizon: float, rng: random.Random) -> None:
    pen.box((52, 4, 236, 30), (36, 110, 220))
    for x in (70, 126, 182):
        pen.box((x, 13, x + 22, 21), _WHITE, edge=False)
        pen.shape(((x + 20, 6), (x + 38, 17), (x + 20, 28)), _WHITE, edge=False)
    for side in (-1, 1):
        x = 144 + 124 * side
        for row, sleeve in ((58, (170, 60, 70)), (114, (70, 130, 90))):
            y = row + rng.uniform(-6, 6)
            pen.stroke(((144 + 150 * side, y + 30), (x, y + 8)), shade(sleeve, rng), 13)
            pen.disc(x, y + 6, 9, (222, 174, 130))
            cloth = ((0, 0), (-14, -26), (-2, -18), (8, -32), (14, -14), (24, -8))
            pen.shape([(x - side * dx, y + dy) for dx, dy in cloth], _WHITE)


def _draw_luggage_cart(pen: Pen, rng: random.Random) -> None:
    x = rng.choice((6, 98, 190))
    pen.stroke(((x, 228), (x, 278), (x + 88, 278)), (190, 150, 40), 5)
    for left, top, color in ((6, 252, (40, 130, 130)), (36, 258, (200, 80, 50)), (62, 250, (90, 70, 150))):
        pen.box((x + left, top, x + left + 26, 276), color)
        pen.box((x + left + 8, top - 5, x + left + 18, top), OUTLINE)
    for wheel in (12, 76):
        pen.disc(x + wheel, 282, 6, _BLACK)


def _draw_homecoming(pen: Pen, horizon: float, rng: random.Random) -> None:
    yellow: Color = (255, 226, 30)
    pen.stroke(((0, 8), (72, 22), (144, 8), (216, 22), (288, 8)), (60, 150, 70), 7)
    for x, y in ((22, 16), (84, 20), (144, 14), (204, 20), (266, 16)):
        for side in (-1, 1):
            pen.shape(((x, y), (x + 20 * side, y - 12), (x + 20 * side, y + 10)), yellow)
            pen.shape(((x, y), (x + 4 * side, y + 30), (x + 16 * side, y + 26)), yellow)
        pen.disc(x, y, 5, yellow)
    x = rng.choice((2, 244))
    pen.box((x, 72, x + 42, horizon + 12), (110, 64, 36))
    pen.box((x + 5, 77, x + 37, horizon + 12), (255, 246, 190))
    hinge, edge = (x + 37, x + 20) if x > 144 else (x + 5, x + 22)
    pen.shape(((hinge, 77), (edge, 86), (edge, horizon + 22), (hinge, horizon + 12)), (170, 60, 50))


def _draw_mat(pen: Pen, rng: random.Random) -> None:
    x = rng.uniform(70, 110)
    pen.shape(((x + 10, 262), (x + 100, 262), (x + 112, 286), (x - 2, 286)), (176, 120, 60))
    draw_heart(Pen(pen.canvas, pen.at(x + 55, 270), 4.5 * pen.scale), (210, 40, 50))
    for left in (x + 12, x + 76):
        pen.box((left, 271, left + 20, 277), (90, 56, 30), edge=False)


# -- strain and danger


def _draw_exam(pen: Pen, horizon: float, rng: random.Random) -> None:
    for x in (32, 144, 256):
        pen.disc(x, 28, 25, _WHITE)
        pen.ring(x, 28, 25, (40, 60, 110), 4)
        turn = rng.uniform(0, math.tau)
        pen.stroke(((x, 28), (x + 17 * math.sin(turn), 28 - 17 * math.cos(turn))), OUTLINE, 3)
        pen.stroke(((x, 28), (x + 10, 34)), OUTLINE, 4)
        for tick in range(4):
            pen.disc(
                x + 19 * math.cos(tick * math.pi / 2), 28 + 19 * math.sin(tick * math.pi / 2), 2, OUTLINE
            )
    for x in (4, 246):
        pen.box((x, 66, x + 38, 120), _WHITE)
        for row in range(4):
            y = 74 + row * 12
            pen.box((x + 4, y, x + 11, y + 7), rng.choice((_WHITE, _RED)))
            pen.stroke(((x + 15, y + 3), (x + 33, y + 3)), (110, 110, 120), 2)


def _draw_desks(pen: Pen, rng: random.Random) -> None:
    for x in (2, 102, 202):
        pen.box((x, 264, x + 84, 274), (206, 152, 90))
        for leg in (4, 72):
            pen.box((x + leg, 274, x + leg + 8, 290), (120, 84, 50))
        pen.shape(((x + 16, 262), (x + 24, 250), (x + 52, 250), (x + 46, 262)), _WHITE)
        pen.stroke(((x + 58, 262), (x + 72, 248)), (255, 180, 30), 4)


def _draw_inspection(pen: Pen, horizon: float, rng: random.Random) -> None:
    for x in (30, 144, 258):
        points = [
            (x + 26 * math.cos(math.pi * (step + 0.5) / 4), 29 + 26 * math.sin(math.pi * (step + 0.5) / 4))
            for step in range(8)
        ]
        pen.shape(points, _RED)
        pen.box((x - 17, 23, x + 17, 35), _WHITE, edge=False)
    for x in (28, 260):
        pen.shape(((x - 22, 132), (x + 22, 132), (x + 16, 108), (x - 16, 108)), (30, 44, 96))  # shoulders
        pen.disc(x, 92, 16, (222, 174, 130))
        pen.shape(((x - 17, 86), (x - 22, 72), (x, 64), (x + 22, 72), (x + 17, 86)), (30, 44, 96))
        pen.box((x - 17, 84, x + 17, 90), _BLACK, edge=False)
        pen.disc(x, 76, 5, _GOLD, edge=False)
        pen.box((x - 24, 130, x + 24, horizon + 16), (90, 96, 108))


def _draw_barrier(pen: Pen, rng: random.Random) -> None:
    pen.box((0, 258, 288, 274), _WHITE)
    for step in range(9):
        x = step * 36 - 12
        pen.shape(((x, 273), (x + 12, 259), (x + 30, 259), (x + 18, 273)), _RED, edge=False)
    for x in (4, 270):
        pen.box((x, 248, x + 14, 290), (70, 74, 84))


def _draw_accident(pen: Pen, horizon: float, rng: random.Random) -> None:
    for y, slope in ((30, -14), (18, 16)):
        pen.shape(
            ((0, y + slope), (288, y - slope), (288, y - slope + 15), (0, y + slope + 15)), (255, 220, 30)
        )
        for step in range(13):
            x = step * 24
            top = y + slope - 2 * slope * x / 288
            pen.shape(((x, top + 15), (x + 9, top), (x + 18, top), (x + 9, top + 15)), _BLACK, edge=False)
    x = rng.choice((0, 228))
    pen.box((x, 84, x + 60, 156), _WHITE)
    pen.box((x, 130, x + 60, 140), (255, 90, 20), edge=False)
    pen.box((x + 25, 92, x + 35, 126), _RED, edge=False)
    pen.box((x + 13, 104, x + 47, 114), _RED, edge=False)
    pen.chord(x + 30, 84, 17, (180, 360), (30, 110, 255))
    pen.disc(x + 30, 158, 10, _BLACK)


def _draw_triangles(pen: Pen, rng: random.Random) -> None:
    for shift in (0, 22):
        pen.stroke(((60 + shift, 288), (120 + shift, 262), (200 + shift, 256)), (40, 38, 40), 6)
    for x in (26, 144, 262):
        sign = Pen(pen.canvas, pen.at(x + rng.uniform(-8, 8), 286), pen.scale)
        sign.shape(((-24, 0), (24, 0), (0, -42)), _RED)
        sign.shape(((-12, -6), (12, -6), (0, -28)), _WHITE, edge=False)
        sign.box((-2, -22, 2, -12), OUTLINE, edge=False)


def _draw_fire(pen: Pen, horizon: float, rng: random.Random) -> None:
    for step in range(11):
        x, y = step * 29 + rng.uniform(-6, 6), rng.uniform(0, 24)
        gray = rng.randint(60, 104)
        pen.disc(x, y, rng.uniform(20, 28), (gray, gray - 4, gray), edge=False)
    for x in (8, 44, 244, 280):
        _draw_flame(pen, x, horizon + 60, rng.uniform(120, 160), 30)
    for x in (90, 144, 198):
        _draw_flame(pen, x, horizon + 40, rng.uniform(80, 120), 26)


def _draw_flame(pen: Pen, x: float, foot: float, height: float, half: float) -> None:
    for size, color in ((1.0, (238, 60, 20)), (0.66, (255, 140, 20)), (0.36, (255, 230, 70))):
        w, h = half * size, height * size
        shape = (
            (-1, -0.16),
            (-0.8, -0.5),
            (-0.4, -0.36),
            (0, -1),
            (0.45, -0.44),
            (0.8, -0.62),
            (1, -0.16),
            (0.5, 0),
            (-0.5, 0),
        )
        pen.shape([(x + w * dx, foot + h * dy) for dx, dy in shape], color, edge=False)


def _draw_front_flames(pen: Pen, rng: random.Random) -> None:
    for step in range(7):
        _draw_flame(pen, step * 48 + rng.uniform(-6, 6), 292, rng.uniform(34, 52), 20)


def _draw_storm(pen: Pen, horizon: float, rng: random.Random) -> None:
    for x in (24, 92, 196, 264):
        _draw_bolt(pen, x + rng.uniform(-10, 10), 20)
    for step in range(9):
        x, gray = step * 36, rng.randint(48, 74)
        pen.disc(x, rng.uniform(-2, 12), 28, (gray, gray, gray + 18), edge=False)
    for x, y in ((6, 130), (240, 138), (20, 156), (256, 112)):
        gust = Pen(pen.canvas, pen.at(x + rng.uniform(-6, 6), y), pen.scale)
        gust.arc((14, 0), 14, (90, 330), (214, 226, 240), 4)
        gust.stroke(((14, 13), (46, 13)), (214, 226, 240), 4)


def _draw_storm_outside(pen: Pen, rng: random.Random) -> None:
    for x in (4, 106, 208):
        pen.box((x, 2, x + 76, 118), _WHITE)
        pen.box((x + 6, 8, x + 70, 112), (66, 74, 104))
        _draw_bolt(pen, x + rng.uniform(20, 50), 8)
        for step in range(3):
            gray = rng.randint(36, 58)
            pen.chord(x + 16 + step * 22, 8, 20, (0, 180), (gray, gray, gray + 16), edge=False)
        pen.box((x, 2, x + 76, 8), _WHITE, edge=False)


def _draw_bolt(pen: Pen, x: float, y: float) -> None:
    bolt = ((4, 0), (-12, 42), (0, 40), (-10, 88), (18, 30), (6, 32), (18, 0))
    pen.shape([(x + dx, y + dy) for dx, dy in bolt], (255, 246, 60))


def _draw_branches(pen: Pen, rng: random.Random) -> None:
    for x in (20, 130, 230):
        branch = Pen(pen.canvas, pen.at(x + rng.uniform(-14, 14), 0), pen.scale)
        branch.stroke(((-24, 280), (36, 268)), (84, 58, 40), 6)
        branch.stroke(((0, 275), (14, 256)), (84, 58, 40), 4)
        for spot in ((16, 254), (36, 266), (-22, 272), (22, 276)):
            branch.oval(*spot, (8, 5), (70, 130, 50))


def _draw_burglary(pen: Pen, horizon: float, rng: random.Random) -> None:
    for x in (4, 116, 228):
        pen.box((x, 6, x + 56, 68), (236, 236, 230))
        pen.box((x + 5, 11, x + 51, 63), (150, 206, 236))
        hole: tuple[Point, ...] = (
            (12, 0),
            (18, -9),
            (5, -8),
            (3, -22),
            (-5, -9),
            (-18, -14),
            (-10, 0),
            (-19, 9),
            (-4, 8),
            (2, 20),
            (7, 9),
            (19, 13),
        )
        pen.shape([(x + 28 + dx, 37 + dy) for dx, dy in hole], (16, 14, 24), edge=False)
        for dx, dy in ((-22, -24), (22, -24), (-22, 24), (22, 24)):
            pen.stroke(((x + 28 + dx / 2.4, 37 + dy / 2.4), (x + 28 + dx, 37 + dy)), _WHITE, 2)
    for x in (0, 236):
        pen.box((x, 104, x + 52, horizon + 24), (150, 96, 52))
        for y, out in ((112, 12), (138, 0), (164, 16)):
            inward = out if x == 0 else -out
            pen.box(
                (x + 4 + inward, y, x + 48 + inward, y + 18), (190, 130, 76) if not out else (120, 72, 38)
            )
            pen.box((x + 22 + inward, y + 7, x + 30 + inward, y + 11), OUTLINE, edge=False)


def _draw_crowbar(pen: Pen, rng: random.Random) -> None:
    x = rng.uniform(20, 60)
    pen.stroke(((x, 282), (x + 64, 262), (x + 74, 268), (x + 70, 276)), (60, 90, 150), 7)
    for left in (126, 196, 248):
        paper = Pen(pen.canvas, pen.at(left + rng.uniform(-12, 12), 0), pen.scale)
        paper.shape(((0, 270), (26, 262), (32, 280), (6, 286)), _WHITE)
    for step in range(5):
        y = 284 if step % 2 else 274
        pen.oval(108 + step * 34, y, (8, 4), (52, 34, 26), edge=False)


_BEHIND: dict[str, Callable[[Pen, float, random.Random], None]] = {
    **celebrations.BEHIND,
    "funeral": _draw_funeral,
    "exam": _draw_exam,
    "farewell": _draw_farewell,
    "homecoming": _draw_homecoming,
    "inspection": _draw_inspection,
    "accident": _draw_accident,
    "fire": _draw_fire,
    "storm": _draw_storm,
    "burglary": _draw_burglary,
}
_FRONT: dict[str, Callable[[Pen, random.Random], None]] = {
    **celebrations.IN_FRONT,
    "funeral": _draw_coffin,
    "exam": _draw_desks,
    "farewell": _draw_luggage_cart,
    "homecoming": _draw_mat,
    "inspection": _draw_barrier,
    "accident": _draw_triangles,
    "fire": _draw_front_flames,
    "storm": _draw_branches,
    "burglary": _draw_crowbar,
}
