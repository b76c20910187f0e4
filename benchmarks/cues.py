"""CPU time of the engine `cues` on photographs, on one thread, with each of its parts.

    python benchmarks/cues.py --manifest people.jsonl --weights DIR [--rounds 2] [--out results.json]

The manifest has one row per person (JSON Lines with "id", "image", and "box" or null). DIR has the four
models of `MODELS`. Every round describes everyone once with each set of parts, in turn, as `mien describe`
does: photos are decoded, people of one photo share it. Times are CPU seconds of the process, decoding
included, models loaded before. Prints JSON: milliseconds per photo and per person, and how often the texts
say what.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

from mien.describe.cues.engine import CuesEngine, CuesOptions
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.errors import MienError
from mien.files import atomic_write_json
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.media.views import OpenedPhoto
from mien.types import Box, Subject

MODELS: Final = {
    "objects": "yolox_nano_416_coco80.onnx",
    "faces": "face_detection_yunet.onnx",
    "expression": "face_expression7.onnx",
    "pose": "movenet-lightning.onnx",
}
PARTS: Final = (("objects",), ("objects", "faces", "expression"), ("objects", "faces", "expression", "pose"))
_SAID: Final = {
    "no one found at the box": ("No person was found in the red box", "Only a face was found"),
    "no one found in the image": ("No person was found in the image",),
    "face not found": ("Their face was not found",),
    "face too small": ("Their face is too small",),
    "expression, plain": ("Their face looks",),
    "expression, hedged": ("Their face probably looks", "Their face may look"),
    "posture": ("They stand", "They sit", "They lie", "They lean", "They bend", "They have", "They seem to"),
    "no posture": ("Their posture cannot",),
    "no one else": ("No one else was found",),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    options = _parser().parse_args(arguments)
    subjects = [subject for subject, _ in read_people(options.manifest)]
    num_photos = len({subject.images[0].path for subject in subjects})
    engines = {" + ".join(parts): open_cues(options.weights, parts) for parts in PARTS}
    rounds: list[dict[str, float]] = []
    texts: dict[str, list[str]] = {}
    for number in range(options.rounds):
        order = list(engines.items())[:: 1 if number % 2 == 0 else -1]
        seconds = {}
        for name, engine in order:
            seconds[name], texts[name] = describe_all(engine, subjects)
        rounds.append(seconds)
        print(rounds[-1], file=sys.stderr, flush=True)
    whole = texts[" + ".join(PARTS[-1])]
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "photos": num_photos,
        "people": len(subjects),
        "described": sum(bool(text) for text in whole),
        "seconds": {name: [round(one[name], 2) for one in rounds] for name in engines},
        "ms_per_photo": {
            name: round(1000 * sum(one[name] for one in rounds) / len(rounds) / num_photos, 1)
            for name in engines
        },
        "words_per_text": round(sum(len(text.split()) for text in whole) / len(whole), 1),
        "people_of_whom_is_said": {
            what: sum(any(phrase in text for phrase in phrases) for text in whole)
            for what, phrases in _SAID.items()
        },
    }
    if options.out is not None:
        atomic_write_json(options.out, found)
    print(json.dumps(found, indent=2))


def open_cues(weights: Path, parts: Sequence[str] = PARTS[-1]) -> CuesEngine:
    """The engine with these of the models in a folder."""
    files = {part: str(weights / MODELS[part]) for part in parts}
    return CuesEngine(files.pop("objects"), CuesOptions.parse(files, where="benchmark"))


def describe_all(engine: CuesEngine, subjects: Sequence[Subject]) -> tuple[float, list[str]]:
    """CPU seconds, and the texts; a failure ends the benchmark."""
    builder = RequestBuilder(
        engine=engine, prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking(style="red_box")
    )
    first = subjects[0]
    engine.describe([builder.prepare(builder.build(first))])  # loads the models
    texts: list[str] = []
    began = time.process_time()
    for _, people in groupby(subjects, key=lambda subject: subject.images[0].path):
        photo = OpenedPhoto()
        for reply in engine.describe([builder.prepare(builder.build(one), photo) for one in people]):
            if isinstance(reply, MienError):
                raise reply
            texts.append(reply.text)
    return time.process_time() - began, texts


def read_people(manifest: Path) -> list[tuple[Subject, tuple[str, ...]]]:
    """Everyone in a manifest, with labels, in the order of the photos."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    people = [
        (
            Subject.still(
                row["id"],
                manifest.parent / row["image"],
                None if row["box"] is None else Box.from_tuple((*row["box"],)),
            ),
            tuple(row["labels"]),
        )
        for row in rows
    ]
    return sorted(people, key=lambda one: str(one[0].images[0].path))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, required=True, help="JSON Lines")
    parser.add_argument("--weights", type=Path, required=True, help="folder of ONNX files")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    return parser


if __name__ == "__main__":
    main()
