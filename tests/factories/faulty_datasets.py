"""Copies of the three datasets with planted faults, each of which is known.

Images are soft noise: fast to draw, and none looks like another. Apart from types and labels, this module
shares no code with the checks that look for the faults.
"""

from __future__ import annotations

import csv
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from mien.labels import CAERS
from mien.playhouse.layouts.annotated_images import AnnotatedImage, AnnotatedPerson
from mien.playhouse.layouts.bold import Clip, TrackedPerson, write_bold
from mien.playhouse.layouts.caers import Frame, write_caers
from mien.playhouse.layouts.emotic import folder_of, write_emotic
from mien.playhouse.rules import SimulatedAnnotation
from mien.types import Box

SIZE = (96, 72)
NUM_SOUND = 30  # images or clips without a fault, none of which may be reported


@dataclass
class Planted:
    """(kind, file) of every planted fault, with its count."""

    faults: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, kind: str, file: Path | str) -> None:
        self.faults[kind, str(file)] += 1


def noise(seed: str, size: tuple[int, int] = SIZE) -> Image.Image:
    """Soft shapes that differ for every seed."""
    rng = np.random.default_rng(list(seed.encode()))
    return Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )


def _encode(image: Image.Image, kind: str, **how: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


# --- EMOTIC ------------------------------------------------------------------------------------------


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: 2 * len(data) // 3])


def _unreadable(path: Path) -> None:
    path.write_bytes(b"<html>404 Not Found</html>" * 20)


def _other_mode(path: Path) -> None:
    """As CMYK, with 16 bits, with a palette, or with alpha, by the number in the name."""
    gray = Image.open(path).convert("L")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    variants = (
        _encode(gray.convert("CMYK"), "JPEG"),
        _encode(deep, "PNG"),
        _encode(gray.convert("P"), "PNG"),
        _encode(gray.convert("RGBA"), "PNG"),
    )
    path.write_bytes(variants[int(path.stem[-3:]) % len(variants)])


def _too_large(path: Path) -> None:
    """A PNG whose header states more pixels than any camera has. The pixels themselves are never read."""
    header = struct.pack(">IIBBBBB", 20_000, 8_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    data = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def _no_end_marker(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def _smaller(path: Path) -> None:
    """A smaller image that still contains all boxes."""
    noise(f"smaller {path.name}", (80, 70)).save(path)


SPOIL_FILE: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "empty": _empty,
    "truncated": _truncated,
    "unreadable": _unreadable,
    "color_mode": _other_mode,
    "too_large": _too_large,
    "image_note": _no_end_marker,
    "image_size": _smaller,
}


def _with_box(actor: AnnotatedPerson, *edges: float) -> AnnotatedPerson:
    return replace(actor, box=Box.from_tuple((edges[0], edges[1], edges[2], edges[3])))


def _no_dimension(actor: AnnotatedPerson) -> AnnotatedPerson:
    return replace(actor, annotations=(SimulatedAnnotation(("Peace",), (5, 11, 5)), *actor.annotations[1:]))


SPOIL_PERSON: dict[str, Callable[[AnnotatedPerson], AnnotatedPerson]] = {
    "box_outside": lambda actor: _with_box(actor, 96, 10, 150, 60),
    "box_clipped": lambda actor: _with_box(actor, -3, 10, 40, 60),
    "unknown_label": lambda actor: replace(actor, annotations=(SimulatedAnnotation(("Bliss",), (5, 5, 5)),)),
    "dimension_range": _no_dimension,
}
EMOTIC_KINDS = (*SPOIL_FILE, *SPOIL_PERSON)


def write_faulty_emotic(root: Path, *, each: int) -> Planted:
    """Two people per image; faults of people are planted into the second."""
    planted = Planted()
    kinds = [*(kind for kind in EMOTIC_KINDS for _ in range(each)), *["sound"] * NUM_SOUND]
    photographs = [_photograph(index, kind) for index, kind in enumerate(kinds)]
    splits = {split: photographs[start::3] for start, split in enumerate(("train", "val", "test"))}
    write_emotic(root, splits)
    for split, shown in splits.items():
        for index, photograph in enumerate(shown):
            kind = kinds[int(photograph.name[-7:-4])]
            path = root / "emotic" / folder_of(index) / photograph.name
            if kind in SPOIL_FILE:
                SPOIL_FILE[kind](path)
            place = f"Annotations/Annotations.mat, {split}({index + 1}).person(2)"
            if kind != "sound":
                planted.note(kind, place if kind in ("unknown_label", "dimension_range") else path)
    return planted


def _photograph(index: int, kind: str) -> AnnotatedImage:
    """Two people; the second may have a fault."""
    annotation = SimulatedAnnotation(("Peace", "Happiness"), (5, 6, 7))
    first, second = (
        AnnotatedPerson(
            box=Box(left=left, top=5, right=left + 30, bottom=65),
            annotations=(annotation,),
            gender="Female",
            age="Adult",
        )
        for left in (4, 40)
    )
    if kind in SPOIL_PERSON:
        second = SPOIL_PERSON[kind](second)
    name = f"photo {index:03d}.jpg"
    return AnnotatedImage(name=name, image=noise(f"emotic {index}"), people=(first, second), scene=None)


# --- CAER-S ------------------------------------------------------------------------------------------

CAERS_KINDS = ("duplicate", "near_duplicate", "name_collision", "unknown_folder")


def write_faulty_caers(root: Path, *, each: int) -> Planted:
    """Copies of train images in test; `Angry` next to `Anger`; folders that are not a class."""
    planted = Planted()
    write_caers(root, {"train": _frames("train", 2 * each + NUM_SOUND), "test": _frames("test", NUM_SOUND)})
    train = sorted((root / "train").rglob("*.png"))
    for index in range(each):
        label = CAERS.labels[index % len(CAERS)]
        same, like = root / "test" / label / f"same{index}.png", root / "test" / label / f"like{index}.jpg"
        same.write_bytes(train[index].read_bytes())
        planted.note("duplicate", same)
        Image.open(train[each + index]).save(like, quality=60)
        planted.note("near_duplicate", like)
        for folder in ("Anger", "Angry"):
            path = root / "train" / folder / f"both{index}.png"
            path.parent.mkdir(exist_ok=True)
            noise(f"{folder} {index}").save(path)
        planted.note("name_collision", root / "train" / "Angry" / f"both{index}.png")
        folder_of_none = root / "test" / f"Boredom {index}"
        folder_of_none.mkdir()
        planted.note("unknown_folder", folder_of_none)
    return planted


def _frames(split: str, count: int) -> Iterator[Frame]:
    for index in range(count):
        yield Frame(label=CAERS.labels[index % len(CAERS)], image=noise(f"caers {split} {index}"))


# --- BoLD --------------------------------------------------------------------------------------------

BOLD_KINDS = ("clip_unreadable", "clip_truncated", "joints_missing", "frame_range", "repeated_id")
NUM_FRAMES = 6


def write_faulty_bold(root: Path, *, each: int) -> Planted:
    """One person per clip; faults of rows are planted into the annotation lists."""
    planted = Planted()
    kinds = [*(kind for kind in BOLD_KINDS for _ in range(each)), *["sound"] * NUM_SOUND]
    clips = [clip_of(index) for index in range(len(kinds))]
    splits = {"train": clips[::2], "val": clips[1::2]}
    write_bold(root, splits)
    for split, shown in splits.items():
        path = root / "annotations" / f"{split}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        for clip, row in zip(shown, list(rows), strict=True):
            kind = kinds[int(clip.video[-7:-4])]
            if kind == "repeated_id":
                rows.append(row)
                planted.note(kind, f"{path}, row {len(rows)}")
            elif kind != "sound":
                planted.note(kind, _spoil_clip(kind, root, clip.video, row))
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return planted


def _spoil_clip(kind: str, root: Path, video: str, row: list[str]) -> Path:
    """Plants a fault; the file that must be reported."""
    clip, joints = root / "videos" / video, (root / "joints" / video).with_suffix(".npy")
    match kind:
        case "clip_unreadable":
            _unreadable(clip)
        case "clip_truncated":
            _truncated(clip)
        case "frame_range":
            row[3] = str(3 * NUM_FRAMES)
        case "joints_missing":
            joints.unlink()
            return joints
    return clip


def clip_of(index: int, num_frames: int = NUM_FRAMES) -> Clip:
    """One person who is visible in every frame."""
    image = noise(f"bold {index}")
    joints = np.zeros((num_frames, 18, 3))
    joints[..., 0], joints[..., 1] = np.linspace(20, 60, 18), np.linspace(10, 65, 18)
    joints[..., 2] = 0.9
    player = TrackedPerson(
        person_id=index % 3,
        joints=joints,
        max_frame=num_frames - 1,
        scores={"Peace": 1.0},
        dimensions=(5.0, 5.0, 5.0),
        gender="Male",
        age="Adult",
        ethnicity="Other",
    )
    return Clip(
        video=f"003/film.mp4/{index:04d}.mp4",
        frames=[image] * num_frames,
        first_frame=500 + index,
        people=(player,),
    )
