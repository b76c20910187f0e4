"""Draws what people hold, in a square from (-0.5, -0.5) to (0.5, 0.5)."""

from collections.abc import Callable

from mien.playhouse.parts.pen import OUTLINE, Color, Pen

__all__ = ["draw_item"]

_WHITE: Color = (255, 255, 255)
_RED: Color = (220, 38, 48)
_GOLD: Color = (248, 198, 36)
_CREAM: Color = (250, 236, 196)
_BROWN: Color = (140, 84, 44)
_FLAME: Color = (255, 150, 30)
_SKY: Color = (96, 196, 240)


def draw_item(pen: Pen, item: str) -> None:
    """Draws an item of `situations.ITEMS`, other than `NOTHING`; a long one reaches below the square."""
    _DRAW[item](pen)


def _draw_gift(pen: Pen) -> None:
    pen.box((-0.42, -0.20, 0.42, 0.5), _RED)
    pen.box((-0.09, -0.20, 0.09, 0.5), _GOLD, edge=False)
    pen.box((-0.42, 0.08, 0.42, 0.24), _GOLD, edge=False)
    for side in (-1, 1):
        pen.shape(((0, -0.20), (0.34 * side, -0.48), (0.38 * side, -0.18)), _GOLD)


def _draw_cake(pen: Pen) -> None:
    pen.oval(0, 0.40, (0.55, 0.12), (214, 220, 230))
    pen.box((-0.42, 0.0, 0.42, 0.40), _CREAM)
    pen.box((-0.42, -0.06, 0.42, 0.16), (246, 120, 170))
    for x in (-0.26, 0.0, 0.26):
        pen.box((x - 0.05, -0.32, x + 0.05, -0.06), _SKY, edge=False)
        pen.disc(x, -0.41, 0.09, _FLAME, edge=False)


def _draw_flowers(pen: Pen) -> None:
    pen.shape(((-0.34, 0.0), (0.34, 0.0), (0.08, 0.55), (-0.08, 0.55)), (60, 160, 70))
    petals: tuple[Color, ...] = (_RED, (250, 120, 190), (255, 224, 70), _WHITE, (190, 90, 220))
    spots = ((-0.34, -0.10), (0.34, -0.10), (0.0, -0.02), (-0.18, -0.36), (0.20, -0.36))
    for (x, y), color in zip(spots, petals, strict=True):
        pen.disc(x, y, 0.19, color)
        pen.disc(x, y, 0.06, OUTLINE, edge=False)


def _draw_ring(pen: Pen) -> None:
    pen.box((-0.46, 0.16, 0.46, 0.52), (40, 46, 120))
    pen.ring(0, 0.02, 0.36, OUTLINE, 0.19)
    pen.ring(0, 0.02, 0.335, _GOLD, 0.13)
    pen.shape(((-0.24, -0.42), (0.24, -0.42), (0.34, -0.28), (0, -0.02), (-0.34, -0.28)), (150, 240, 255))


def _draw_letter(pen: Pen) -> None:
    pen.box((-0.5, -0.32, 0.5, 0.36), _WHITE)
    pen.stroke(((-0.5, -0.32), (0, 0.08), (0.5, -0.32)), OUTLINE, 0.06)
    pen.disc(0, 0.08, 0.12, _RED)


def _draw_diploma(pen: Pen) -> None:
    pen.shape(((-0.5, 0.16), (0.30, -0.48), (0.5, -0.18), (-0.30, 0.46)), _CREAM)
    pen.disc(-0.40, 0.31, 0.18, (226, 200, 140))
    pen.shape(((-0.16, -0.12), (0.04, -0.27), (0.22, 0.04), (0.03, 0.19)), _RED, edge=False)
    pen.shape(((0.02, 0.06), (0.30, 0.44), (0.06, 0.52), (-0.06, 0.10)), _RED)


def _draw_trophy(pen: Pen) -> None:
    for side in (-1, 1):
        pen.ring(0.32 * side, -0.22, 0.20, OUTLINE, 0.12)
        pen.ring(0.32 * side, -0.22, 0.18, _GOLD, 0.07)
    pen.shape(((-0.34, -0.5), (0.34, -0.5), (0.24, 0.0), (0.08, 0.14), (-0.08, 0.14), (-0.24, 0.0)), _GOLD)
    pen.box((-0.07, 0.12, 0.07, 0.32), _GOLD, edge=False)
    pen.box((-0.28, 0.30, 0.28, 0.5), (96, 60, 36))


def _draw_suitcase(pen: Pen) -> None:
    pen.box((-0.20, -0.40, 0.20, -0.14), OUTLINE)
    pen.box((-0.11, -0.32, 0.11, -0.14), _CREAM, edge=False)
    pen.box((-0.54, -0.18, 0.54, 0.54), _BROWN)
    for x in (-0.34, 0.34):
        pen.box((x - 0.06, -0.18, x + 0.06, 0.54), (226, 178, 110), edge=False)
    pen.box((-0.08, 0.0, 0.08, 0.12), _GOLD)


def _draw_ticket(pen: Pen) -> None:
    pen.shape(((-0.60, -0.14), (0.50, -0.46), (0.62, 0.10), (-0.48, 0.42)), (255, 140, 80))
    pen.stroke(((0.16, -0.35), (0.29, 0.18)), _WHITE, 0.09)
    for y in (0.0, 0.18):
        pen.stroke(((-0.40, y), (0.04, y - 0.13)), OUTLINE, 0.07)


def _draw_phone(pen: Pen) -> None:
    pen.box((-0.29, -0.54, 0.29, 0.54), (24, 24, 30))
    pen.box((-0.21, -0.42, 0.21, 0.36), (70, 220, 250), edge=False)
    for x, y in ((-0.10, -0.26), (0.10, -0.26), (-0.10, 0.0), (0.10, 0.0)):
        pen.box((x - 0.06, y - 0.07, x + 0.06, y + 0.07), _WHITE, edge=False)
    pen.disc(0, 0.45, 0.05, _WHITE, edge=False)


def _draw_broken_vase(pen: Pen) -> None:
    blue: Color = (70, 130, 235)
    jagged = ((-0.50, 0.04), (-0.30, -0.10), (-0.16, 0.14), (0.04, -0.16), (0.22, 0.12), (0.50, -0.06))
    pen.shape((*jagged, (0.44, 0.34), (0.22, 0.56), (-0.22, 0.56), (-0.44, 0.34)), blue)
    pen.stroke(((-0.40, 0.30), (0.40, 0.30)), _WHITE, 0.10)
    for shard in (
        ((-0.60, -0.50), (-0.22, -0.46), (-0.40, -0.20)),
        ((0.0, -0.62), (0.34, -0.50), (0.10, -0.30)),
        ((0.42, -0.42), (0.66, -0.24), (0.40, -0.16)),
    ):
        pen.shape(shard, blue)


def _draw_wallet(pen: Pen) -> None:
    leather: Color = (130, 28, 62)
    pen.shape(((-0.56, -0.34), (0, -0.20), (0.56, -0.34), (0.56, 0.34), (0, 0.48), (-0.56, 0.34)), leather)
    for side in (-1, 1):
        inside = ((0.08, -0.06), (0.46, -0.16), (0.46, 0.22), (0.08, 0.32))
        pen.shape([(x * side, y) for x, y in inside], (222, 196, 160))
    pen.stroke(((0, -0.20), (0, 0.48)), OUTLINE, 0.06)


def _draw_umbrella(pen: Pen) -> None:
    pen.stroke(((0, -0.5), (0, 0.56), (0.14, 0.66), (0.24, 0.54)), OUTLINE, 0.08)
    pen.chord(0, 0.10, 0.72, (180, 360), (226, 44, 120))
    pen.shape(((-0.26, 0.10), (0, -0.62), (0.26, 0.10)), (255, 214, 226))
    pen.stroke(((0, -0.62), (0, -0.78)), OUTLINE, 0.07)


def _draw_ball(pen: Pen) -> None:
    pen.disc(0, 0, 0.46, _WHITE)
    pen.shape(((0, -0.20), (0.19, -0.06), (0.12, 0.16), (-0.12, 0.16), (-0.19, -0.06)), OUTLINE)
    for x, y in ((0, -0.40), (0.38, -0.12), (0.24, 0.34), (-0.24, 0.34), (-0.38, -0.12)):
        pen.disc(x, y, 0.10, OUTLINE, edge=False)


def _draw_book(pen: Pen) -> None:
    cover: Color = (30, 130, 90)
    pen.shape(((-0.62, -0.30), (0, -0.16), (0.62, -0.30), (0.62, 0.36), (0, 0.5), (-0.62, 0.36)), cover)
    for side in (-1, 1):
        page = ((0.0, -0.20), (0.54, -0.36), (0.54, 0.22), (0.0, 0.38))
        pen.shape([(x * side, y) for x, y in page], _WHITE)
        for y in (-0.10, 0.04, 0.18):
            pen.stroke(((0.10 * side, y), (0.44 * side, y - 0.10)), (120, 120, 130), 0.04)


def _draw_crutch(pen: Pen) -> None:
    silver: Color = (190, 200, 214)
    for color, width in ((OUTLINE, 0.20), (silver, 0.11)):
        pen.stroke(((0, -0.6), (0, 1.5)), color, width)
        pen.stroke(((-0.20, -0.05), (0.34, -0.05)), color, width)
    pen.box((-0.34, -0.78, 0.34, -0.56), (40, 44, 56))
    pen.box((-0.14, 1.42, 0.14, 1.56), OUTLINE)


def _draw_teddy(pen: Pen) -> None:
    fur: Color = (186, 120, 60)
    for side in (-1, 1):
        pen.disc(0.30 * side, -0.42, 0.17, fur)
        pen.disc(0.34 * side, 0.28, 0.16, fur)
    pen.disc(0, 0.30, 0.32, fur)
    pen.disc(0, -0.16, 0.36, fur)
    pen.oval(0, -0.02, (0.19, 0.14), (244, 216, 170), edge=False)
    pen.disc(0, -0.06, 0.07, OUTLINE, edge=False)
    for side in (-1, 1):
        pen.disc(0.15 * side, -0.26, 0.06, OUTLINE, edge=False)


def _draw_photograph(pen: Pen) -> None:
    pen.box((-0.44, -0.54, 0.44, 0.54), _GOLD)
    pen.box((-0.31, -0.41, 0.31, 0.41), (206, 206, 206))
    pen.disc(0, -0.10, 0.16, (90, 90, 94), edge=False)
    pen.chord(0, 0.40, 0.28, (180, 360), (90, 90, 94), edge=False)


def _draw_candle(pen: Pen) -> None:
    pen.disc(0, -0.36, 0.34, (255, 240, 150), edge=False)
    pen.shape(((0, -0.70), (0.16, -0.34), (0, -0.16), (-0.16, -0.34)), _FLAME)
    pen.box((-0.18, -0.14, 0.18, 0.42), _WHITE)
    pen.oval(0, 0.46, (0.42, 0.13), (170, 120, 40))


def _draw_key(pen: Pen) -> None:
    for color, extra in ((OUTLINE, 0.05), (_GOLD, 0.0)):
        pen.box((-0.10 - extra, -0.10, 0.10 + extra, 0.66 + extra), color, edge=False)
        pen.box((0.0, 0.26 - extra, 0.36 + extra, 0.38 + extra), color, edge=False)
        pen.box((0.0, 0.52 - extra, 0.36 + extra, 0.66 + extra), color, edge=False)
    pen.ring(0, -0.28, 0.38, OUTLINE, 0.28)
    pen.ring(0, -0.28, 0.33, _GOLD, 0.18)


def _draw_medicine(pen: Pen) -> None:
    pen.box((-0.30, -0.24, 0.30, 0.54), (240, 130, 30))
    pen.box((-0.22, -0.50, 0.22, -0.24), _WHITE)
    pen.box((-0.30, -0.08, 0.30, 0.40), _WHITE)
    pen.box((-0.07, -0.04, 0.07, 0.36), _RED, edge=False)
    pen.box((-0.20, 0.09, 0.20, 0.23), _RED, edge=False)


_DRAW: dict[str, Callable[[Pen], None]] = {
    "gift": _draw_gift,
    "cake": _draw_cake,
    "flowers": _draw_flowers,
    "ring": _draw_ring,
    "letter": _draw_letter,
    "diploma": _draw_diploma,
    "trophy": _draw_trophy,
    "suitcase": _draw_suitcase,
    "ticket": _draw_ticket,
    "phone": _draw_phone,
    "broken_vase": _draw_broken_vase,
    "wallet": _draw_wallet,
    "umbrella": _draw_umbrella,
    "ball": _draw_ball,
    "book": _draw_book,
    "crutch": _draw_crutch,
    "teddy": _draw_teddy,
    "photograph": _draw_photograph,
    "candle": _draw_candle,
    "key": _draw_key,
    "medicine": _draw_medicine,
}
