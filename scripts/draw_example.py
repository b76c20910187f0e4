"""Draws the image in the README: a scene with its box, the description, and the scores.

    python scripts/draw_example.py --run runs/demo/fused/seed-0 --out docs/images/example.png

The run is one of `make demo`. The scene is drawn by Playhouse, so the image holds no real person.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import mien
from mien.media.images import Marking, mark_subject, open_image
from mien.predict.results import Person

WIDTH, HEIGHT, PAD = 1760, 560, 32
INK, GRAY, TRACK, BLUE = "#1a1a1a", "#5a5a5a", "#eef1f4", "#0072B2"


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def draw_bars(draw: ImageDraw.ImageDraw, person: Person, left: int, width: int) -> None:
    """The highest labels as bars from 0 to 1, and the dimensions below them."""
    label_width, value_width, row = 200, 70, 58
    room = width - label_width - value_width
    top = PAD + 64
    for label, score in person.top(6):
        draw.text((left + label_width - 16, top + 16), label, fill=INK, font=font(26), anchor="rm")
        draw.rectangle((left + label_width, top, left + label_width + room, top + 32), fill=TRACK)
        draw.rectangle((left + label_width, top, left + label_width + room * score, top + 32), fill=BLUE)
        end = left + label_width + room + 14
        draw.text((end, top + 16), f"{score:.2f}", fill=INK, font=font(26), anchor="lm")
        top += row
    if person.dimensions is not None:
        text = "   ".join(f"{name} {10 * value:.1f}/10" for name, value in person.dimensions.items())
        draw.text((left, top + 14), text, fill=GRAY, font=font(24))


def draw_example(run: Path, index: int) -> Image.Image:
    """The image for one scene of the run's test split."""
    recipe = mien.Recipe.parse(mien.Predictor.from_pretrained(run).trained.recipe.to_json(), where=str(run))
    dataset = mien.load_dataset("playhouse", options=recipe.data.options)
    subject = list(dataset.samples("test"))[index].subject
    box = subject.boxes[0]
    assert box is not None, "every subject of Playhouse has a box"
    person = mien.Predictor.from_pretrained(run)(subject.images[0].path, boxes=[box])[0]
    assert person.description is not None, "the fused model reads descriptions"

    canvas = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(canvas)
    scene = mark_subject(open_image(subject.images[0].path), box, Marking())
    side = HEIGHT - 2 * PAD
    canvas.paste(scene.resize((side, side), Image.Resampling.LANCZOS), (PAD, PAD))

    left, column = PAD + side + 44, 520
    draw.text((left, PAD), "1. A vision-language model describes", fill=GRAY, font=font(26))
    lines = textwrap.wrap(person.description.text, 40)
    draw.multiline_text((left, PAD + 60), "\n".join(lines), fill=INK, font=font(25), spacing=12)
    right = left + column + 44
    draw.text((right, PAD), "2. A Q-Former reads image and text", fill=GRAY, font=font(26))
    draw_bars(draw, person, right, WIDTH - right - PAD)
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/demo/fused/seed-0"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/example.png"))
    parser.add_argument("--scene", type=int, default=3, help="The number of the test scene.")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    draw_example(arguments.run, arguments.scene).quantize(128).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
