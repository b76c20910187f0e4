"""Draws the sixteen settings behind the people, in coordinates from (0, 0) to (288, 288).

Every setting has a wall or sky, a floor, and two or three things of its own, whose positions and shades vary;
some of them are at the top and at the edges, where people seldom hide them.
"""

import random
from collections.abc import Callable

from mien.playhouse.parts.pen import OUTLINE, Color, Pen, shade

__all__ = ["draw_setting"]

_WHITE: Color = (255, 255, 255)
_WOOD: Color = (150, 104, 64)
_GRAY: Color = (120, 124, 132)


def draw_setting(pen: Pen, setting: str, rng: random.Random) -> float:
    """Fills the canvas and returns where the floor begins; `rng` varies the decoration."""
    sky, ground, draw = _SETTINGS[setting]
    horizon = rng.uniform(164, 188)
    pen.box((0, 0, 288, horizon), shade(sky, rng), edge=False)
    pen.box((0, horizon, 288, 288), shade(ground, rng), edge=False)
    draw(pen, horizon, rng)
    return horizon


# -- indoors


def _draw_hall(pen: Pen, horizon: float, rng: random.Random) -> None:
    for row in range(4):
        y = horizon + row * 30
        for step in range(-1, 8):
            left = step * 42 + (row % 2) * 21 - 21
            tile = ((left + 21, y), (left + 42, y + 15), (left + 21, y + 30), (left, y + 15))
            pen.shape(tile, (190, 128, 74), edge=False)
    cloth = shade((32, 128, 130), rng)
    for side in (0, 1):
        for fold in range(3):
            middle = 288 * side + (1 - 2 * side) * (fold * 13 + 6)
            pen.box((middle - 7, 0, middle + 7, horizon), cloth)
        pen.box((250 * side, horizon * 0.55, 250 * side + 38, horizon * 0.55 + 7), (230, 190, 70))
    for x in (rng.uniform(70, 110), rng.uniform(178, 218)):
        pen.stroke(((x, 0), (x, 14)), OUTLINE, 2)
        pen.arc((x, 12), 20, (0, 180), (200, 150, 30), 4)
        for step in (-20, -10, 0, 10, 20):
            pen.disc(x + step, 16 + (6 if step in (-10, 10) else 12 if step == 0 else 0), 5, (255, 246, 170))


def _draw_classroom(pen: Pen, horizon: float, rng: random.Random) -> None:
    pen.box((30, 10, 258, 104), _WOOD)
    pen.box((36, 16, 252, 98), (36, 88, 66))
    for row in (28, 46, 64, 82):
        pen.stroke(((46, row), (rng.uniform(90, 150), row)), (226, 232, 226), 2)
        pen.stroke(((170, row), (rng.uniform(200, 244), row)), (226, 232, 226), 2)
    x = rng.choice((14, 274))
    pen.stroke(((x, horizon - 24), (x, horizon)), OUTLINE, 4)
    pen.disc(x, horizon - 40, 18, (70, 150, 220))
    pen.oval(x - 3, horizon - 42, (8, 10), (90, 180, 90), edge=False)
    for y in (horizon + 30, horizon + 66):
        pen.stroke(((0, y), (288, y)), (140, 112, 84), 2)


def _draw_ward(pen: Pen, horizon: float, rng: random.Random) -> None:
    x = rng.choice((24, 224))
    pen.box((x, 14, x + 42, 56), _WHITE)
    pen.box((x + 16, 19, x + 26, 51), (36, 150, 110), edge=False)
    pen.box((x + 5, 30, x + 37, 40), (36, 150, 110), edge=False)
    pen.stroke(((0, 6), (288, 6)), _GRAY, 4)
    y = horizon - 8
    pen.box((0, y, 288, y + 34), (236, 244, 250))
    pen.box((6, y - 20, 70, y + 6), _WHITE)
    pen.box((0, y + 34, 288, y + 42), (150, 164, 176))
    x = 288 - x + 10 if x > 100 else 268
    pen.stroke(((x, 30), (x, horizon)), _GRAY, 3)
    pen.box((x - 10, 32, x + 10, 62), (190, 226, 250))


def _draw_stage(pen: Pen, horizon: float, rng: random.Random) -> None:
    for step in range(12):
        pen.box((step * 24, 0, step * 24 + 12, horizon), (150, 24, 44), edge=False)
    for step in range(4):
        pen.chord(step * 72 + 36, -8, 37, (0, 180), (214, 50, 66))
    for step in range(5):
        y = horizon + 12 + step * 22
        pen.stroke(((0, y), (288, y)), (84, 54, 36), 2)
    for step in range(6):
        pen.chord(24 + step * 48, 288, 9, (180, 360), (255, 236, 150))


def _draw_kitchen(pen: Pen, horizon: float, rng: random.Random) -> None:
    tile = shade((170, 222, 216), rng)
    for row in range(5):
        for step in range(row % 2, 10, 2):
            pen.box((step * 30, row * 30, step * 30 + 30, row * 30 + 30), tile, edge=False)
    pen.stroke(((0, 8), (288, 8)), _GRAY, 4)
    for x in (22, 90, 160, 246):
        pan = Pen(pen.canvas, pen.at(x + rng.uniform(-8, 8), 0), pen.scale)
        pan.stroke(((0, 8), (0, 24)), OUTLINE, 3)
        pan.disc(0, 36, 14, rng.choice(((200, 100, 50), (90, 94, 104), (190, 60, 60))))
    pen.box((0, horizon - 36, 288, horizon + 6), (166, 116, 74))
    pen.box((0, horizon - 42, 288, horizon - 34), (240, 240, 236))
    x = rng.choice((4, 228))
    pen.box((x, horizon - 34, x + 56, horizon + 6), (226, 230, 234))
    pen.box((x + 8, horizon - 20, x + 48, horizon), (60, 64, 74))


def _draw_living_room(pen: Pen, horizon: float, rng: random.Random) -> None:
    left = rng.random() < 0.5
    x = 10 if left else 212
    pen.box((x, 16, x + 66, 84), _WOOD)
    pen.box((x + 5, 21, x + 61, 79), (160, 208, 240))
    pen.box((x + 31, 21, x + 35, 79), _WOOD, edge=False)
    x = 256 if left else 32
    pen.stroke(((x, 40), (x, horizon)), OUTLINE, 4)
    pen.shape(((x - 12, 24), (x + 12, 24), (x + 24, 58), (x - 24, 58)), (255, 226, 130))
    cloth = shade((96, 142, 120), rng)
    pen.box((10, horizon - 56, 278, horizon + 10), cloth)
    pen.box((0, horizon - 34, 26, horizon + 18), cloth)
    pen.box((262, horizon - 34, 288, horizon + 18), cloth)
    pen.box((26, horizon - 20, 262, horizon + 18), shade((116, 166, 142), rng))
    pen.oval(144, 262, (120, 22), shade((190, 80, 70), rng))


def _draw_airport(pen: Pen, horizon: float, rng: random.Random) -> None:
    pen.box((0, 34, 288, horizon - 30), (150, 204, 240))
    for x in (72, 144, 216):
        pen.stroke(((x, 34), (x, horizon - 30)), _GRAY, 4)
    x, y = rng.choice((26, 180)), horizon - 74
    pen.oval(x + 40, y, (46, 11), _WHITE)
    pen.shape(((x - 6, y - 4), (x - 12, y - 30), (x + 2, y - 30), (x + 14, y - 6)), (40, 90, 180))
    pen.shape(((x + 30, y), (x + 54, y), (x + 34, y + 26), (x + 22, y + 26)), (200, 206, 214))
    pen.box((40, 2, 248, 28), (28, 30, 38))
    for row in (9, 19):
        for step in range(5):
            width = rng.uniform(10, 28)
            pen.box((50 + step * 40, row - 2, 50 + step * 40 + width, row + 2), (255, 214, 60), edge=False)
    pen.box((0, horizon - 30, 288, horizon + 8), (70, 96, 140))
    pen.box((0, horizon - 36, 288, horizon - 28), (226, 230, 236))
    for x in (20, 104, 184, 268):
        pen.stroke(((x, horizon + 14), (x, horizon + 54)), OUTLINE, 5)
    pen.stroke(((20, horizon + 20), (268, horizon + 20)), (40, 60, 190), 5)


def _draw_office(pen: Pen, horizon: float, rng: random.Random) -> None:
    colors: tuple[Color, ...] = (
        (200, 66, 60),
        (60, 110, 190),
        (240, 190, 70),
        (90, 160, 100),
        (240, 240, 240),
    )
    for y in (38, 76):
        for step in range(22):
            x = 4 + step * 13
            pen.box((x, y - 26 + rng.randint(0, 5), x + 10, y), rng.choice(colors))
        pen.box((0, y, 288, y + 6), (110, 84, 60))
    pen.box((0, horizon - 20, 288, horizon - 8), (214, 190, 150))
    for x in (14, 150, 230):
        screen = Pen(pen.canvas, pen.at(x + rng.uniform(-6, 6), horizon), pen.scale)
        screen.box((0, -62, 50, -30), (50, 54, 62))
        screen.box((5, -57, 45, -35), (120, 200, 236), edge=False)
        screen.stroke(((25, -30), (25, -20)), OUTLINE, 6)
    for x in (4, 140, 276):
        pen.box((x, horizon - 8, x + 8, horizon + 50), (150, 130, 104))


def _draw_church(pen: Pen, horizon: float, rng: random.Random) -> None:
    glass: tuple[Color, ...] = ((206, 50, 60), (50, 96, 200), (246, 190, 50), (60, 160, 90), (150, 70, 180))
    for x in (6, 84, 162, 240):
        pen.chord(x + 21, 34, 25, (180, 360), (90, 84, 82))
        pen.box((x - 4, 34, x + 46, 112), (90, 84, 82))
        pen.chord(x + 21, 34, 20, (180, 360), rng.choice(glass))
        for row in range(4):
            for column in (0, 1):
                left, top = x + 1 + column * 20, 34 + row * 19
                pen.box((left, top, left + 20, top + 19), rng.choice(glass))
    for y in (horizon - 20, horizon + 16):
        pen.box((0, y, 288, y + 10), (110, 70, 42))
        pen.box((0, y + 10, 288, y + 24), (136, 90, 56))


# -- outdoors


def _draw_graveyard(pen: Pen, horizon: float, rng: random.Random) -> None:
    trunk = rng.choice((16, 272))
    pen.stroke(((trunk, horizon), (trunk, 60), (144 + (trunk - 144) * 0.7, 20)), (70, 58, 54), 8)
    pen.stroke(((trunk, 90), (144 + (trunk - 144) * 0.72, 66)), (70, 58, 54), 5)
    for step in range(25):
        pen.stroke(((step * 12, horizon - 42), (step * 12, horizon)), (60, 60, 66), 2)
    pen.stroke(((0, horizon - 34), (288, horizon - 34)), (60, 60, 66), 3)
    for step in range(5):
        x, y = step * 64 + rng.uniform(-4, 22), horizon + rng.uniform(4, 16)
        if step % 2:
            pen.box((x, y - 48, x + 9, y), (112, 112, 118))
            pen.box((x - 12, y - 38, x + 21, y - 29), (112, 112, 118))
        else:
            pen.chord(x + 14, y - 24, 16, (180, 360), (168, 168, 172))
            pen.box((x - 2, y - 24, x + 30, y), (168, 168, 172))


def _draw_stadium(pen: Pen, horizon: float, rng: random.Random) -> None:
    pen.box((0, 34, 288, horizon - 10), (96, 92, 110), edge=False)
    for row in range(6):
        for step in range(22):
            color = shade((170, 120, 120), rng, 80)
            pen.disc(step * 13.5 + (row % 2) * 6, 42 + row * 19, 5, color, edge=False)
    for x in (30, 258):
        pen.box((x - 3, 16, x + 3, horizon), _GRAY)
        pen.box((x - 24, 3, x + 24, 24), (255, 252, 214))
    pen.box((0, horizon - 12, 288, horizon), _WHITE)
    for y in (26, 62, 96):
        pen.stroke(((0, horizon + y), (288, horizon + y)), (240, 250, 240), 3)


def _draw_beach(pen: Pen, horizon: float, rng: random.Random) -> None:
    pen.box((0, horizon - 52, 288, horizon), shade((40, 120, 204), rng), edge=False)
    for _ in range(8):
        pen.arc((rng.uniform(0, 288), horizon - rng.uniform(0, 36)), 12, (200, 340), (236, 248, 255), 3)
    x = rng.choice((22, 266))
    lean = 12 if x < 144 else -12
    pen.stroke(((x, horizon + 10), (x + lean, 54)), (140, 100, 60), 9)
    for dx, dy in ((-34, 10), (-26, -16), (0, -26), (26, -16), (34, 10)):
        pen.stroke(((x + lean, 52), (x + lean + dx, 50 + dy)), (40, 140, 70), 8)
    x = 288 - x
    pen.stroke(((x, horizon - 60), (x, horizon + 40)), OUTLINE, 4)
    pen.chord(x, horizon - 56, 40, (180, 360), (236, 92, 72))
    pen.chord(x, horizon - 56, 14, (180, 360), _WHITE, edge=False)


def _draw_forest(pen: Pen, horizon: float, rng: random.Random) -> None:
    for step in range(7):
        x = step * 48 + rng.uniform(-8, 8)
        pen.box((x - 6, 60, x + 6, horizon + 10), (78, 54, 38), edge=False)
        green = shade((26, 96, 54), rng, 16)
        for top in (0, 34, 68):
            pen.shape(((x - 20 - top / 6, top + 54), (x + 20 + top / 6, top + 54), (x, top)), green)
    for _ in range(5):
        x, y = rng.uniform(0, 288), horizon + rng.uniform(16, 100)
        pen.chord(x, y, 12, (180, 360), (190, 60, 44))
        pen.box((x - 3, y, x + 3, y + 8), (236, 226, 206), edge=False)


def _draw_platform(pen: Pen, horizon: float, rng: random.Random) -> None:
    pen.box((0, 40, 288, horizon - 6), shade((196, 60, 50), rng))
    shift = rng.uniform(-20, 20)
    for step in range(6):
        x = step * 58 - 20 + shift
        pen.box((x, 58, x + 42, 98), (216, 234, 240))
    pen.box((0, 108, 288, 116), _WHITE, edge=False)
    pen.box((0, 0, 288, 10), (90, 96, 104))
    for x in (rng.uniform(14, 40), rng.uniform(190, 226)):
        pen.box((x, 14, x + 54, 34), _WHITE)
        pen.disc(x + 12, 24, 7, (200, 40, 50), edge=False)
        pen.box((x + 24, 21, x + 48, 27), OUTLINE, edge=False)
    pen.box((0, horizon - 6, 288, horizon + 10), (70, 72, 78), edge=False)
    for step in range(15):
        x = step * 20
        pen.box((x, horizon + 16, x + 11, horizon + 26), (248, 220, 80), edge=False)


def _draw_street(pen: Pen, horizon: float, rng: random.Random) -> None:
    walls: tuple[Color, ...] = ((196, 130, 110), (150, 156, 176), (214, 190, 140), (140, 110, 100))
    for step in range(5):
        x, top = step * 60, rng.uniform(16, 56)
        pen.box((x, top, x + 58, horizon), shade(walls[step % 4], rng))
        pen.shape(((x - 2, top), (x + 29, top - 20), (x + 60, top)), (120, 60, 54))
        for row in range(3):
            for column in (8, 34):
                y = top + 10 + row * 32
                pen.box((x + column, y, x + column + 14, y + 18), (226, 236, 190))
    pen.box((0, horizon, 288, horizon + 18), (176, 176, 178))
    for step in range(8):
        pen.box((step * 40 + 6, horizon + 62, step * 40 + 28, horizon + 70), (240, 240, 236), edge=False)


def _draw_park(pen: Pen, horizon: float, rng: random.Random) -> None:
    for trunk in (14, 92, 196, 274):
        tree = Pen(pen.canvas, pen.at(trunk + rng.uniform(-10, 10), 0), pen.scale)
        tree.box((-6, 80, 6, horizon + 6), (112, 76, 48))
        green = shade((96, 176, 70), rng, 18)
        for spot in ((-20, 74), (20, 74), (0, 44)):
            tree.disc(*spot, 28, green)
    pen.shape(((120, horizon), (168, horizon), (260, 288), (40, 288)), (224, 204, 160), edge=False)
    bench = rng.choice((4, 204))
    for y in (horizon - 26, horizon - 12):
        pen.box((bench, y, bench + 80, y + 9), (168, 100, 50))
    for leg in (bench + 6, bench + 68):
        pen.box((leg, horizon - 4, leg + 6, horizon + 22), OUTLINE, edge=False)
    for _ in range(8):
        x, y = rng.uniform(0, 288), horizon + rng.uniform(14, 104)
        pen.disc(x, y, 4, rng.choice((_WHITE, (250, 220, 70), (240, 110, 150))), edge=False)


_SETTINGS: dict[str, tuple[Color, Color, Callable[[Pen, float, random.Random], None]]] = {
    "hall": ((246, 226, 190), (170, 110, 62), _draw_hall),
    "graveyard": ((150, 156, 170), (104, 122, 92), _draw_graveyard),
    "stadium": ((120, 160, 214), (70, 164, 78), _draw_stadium),
    "classroom": ((236, 222, 186), (176, 146, 112), _draw_classroom),
    "ward": ((204, 232, 230), (176, 196, 198), _draw_ward),
    "beach": ((150, 212, 250), (240, 214, 150), _draw_beach),
    "forest": ((120, 156, 150), (82, 98, 58), _draw_forest),
    "stage": ((184, 40, 58), (116, 76, 50), _draw_stage),
    "kitchen": ((236, 248, 244), (206, 186, 160), _draw_kitchen),
    "living_room": ((240, 206, 176), (160, 120, 92), _draw_living_room),
    "platform": ((190, 206, 220), (140, 140, 146), _draw_platform),
    "street": ((150, 196, 236), (92, 94, 102), _draw_street),
    "airport": ((224, 228, 232), (186, 190, 196), _draw_airport),
    "office": ((222, 220, 210), (136, 142, 156), _draw_office),
    "church": ((176, 168, 158), (140, 128, 118), _draw_church),
    "park": ((170, 220, 250), (118, 186, 90), _draw_park),
}
