"""Large photos and photos of several people, compared with another version of mien.

    git worktree add ../before v0.1.0
    python benchmarks/photo_speed.py --before ../before [--rounds 3]

Both versions take turns in processes of their own, on one thread, with the same photos and the same trained
run: the embedded model, and a classifier that is trained here for a moment. The photos are real ones from
`--photos` that are enlarged to the size of a camera, with noise, or drawn ones if there are none. Prints
JSON: the CPU seconds of all rounds, and the ratios of their sums.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

_SIZES: Final = {"640 px": (640, 480), "2.5 megapixels": (1826, 1370), "12 megapixels": (4000, 3000)}
_REPEATS: Final = {"640 px": 4, "2.5 megapixels": 2, "12 megapixels": 1}  # what is short is noisy
_NOISE: Final = 4.0  # gray levels, as of a camera
_PEOPLE: Final = 3
_CASES: Final = (
    *(f"predict, {size}" for size in _SIZES),
    *(f"describe {_PEOPLE} people a photo, {size}" for size in _SIZES),
    f"encode {_PEOPLE} people a photo, 12 megapixels",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the other version")
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--count", type=int, default=6, help="photos of each size")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    sources = {"before": arguments.before.resolve() / "src", "now": Path(__file__).parents[1] / "src"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_photos(folder, arguments.photos, arguments.count)
        run_child(sources["before"], "train", folder)
        rounds = []
        for number in range(arguments.rounds):
            order = list(sources.items())[:: 1 if number % 2 == 0 else -1]
            rounds.append({version: run_child(source, "measure", folder) for version, source in order})
    print(json.dumps(report(rounds, arguments), indent=2))


def report(rounds: list[dict[str, dict[str, float]]], arguments: argparse.Namespace) -> dict[str, Any]:
    """The seconds of each round, and how many times as fast it is now."""
    cases = {
        case: {version: [round_[version][case] for round_ in rounds] for version in ("before", "now")}
        for case in _CASES
    }
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "photos": arguments.count,
        "seconds": cases,
        "speedup": {
            case: round(sum(seconds["before"]) / sum(seconds["now"]), 2) for case, seconds in cases.items()
        },
    }


def run_child(source: Path, what: str, folder: Path) -> Any:
    done = subprocess.run(
        [sys.executable, __file__, what, str(folder)],
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def save_photos(folder: Path, source: Path | None, count: int) -> None:
    found = sorted(source.glob("**/*.jpg"))[:count] if source is not None else []
    for number in range(count):
        rng = np.random.default_rng(number)
        if found:
            image = Image.open(found[number % len(found)]).convert("RGB")
        else:
            image = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        for name, size in _SIZES.items():
            pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
            noise = rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32) * _NOISE
            noisy = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
            noisy.save(folder / f"{name} {number}.jpg", quality=90)


# --- In a process of one version ---------------------------------------------------------------------


def train(folder: Path) -> dict[str, float]:
    """Trains a small classifier on drawn scenes, with the embedded models."""
    import mien

    recipe = mien.load_recipe(
        Path(__file__).parents[1] / "recipes" / "playhouse.toml",
        overrides=[
            "data.options={ train = 24, val = 8, test = 8, seed = 1 }",
            "train.epochs=1",
            "describe.max_new_tokens=60",
            f"run.out={json.dumps(str(folder / 'run'))}",
        ],
    )
    mien.describe(recipe)
    mien.train(recipe)
    return {}


def measure(folder: Path) -> dict[str, float]:
    """The CPU seconds of each case; everything is loaded and warm before."""
    import mien
    from mien.describe.generate import describe
    from mien.describe.local.engine import LocalEngine
    from mien.describe.prompts import get_prompt
    from mien.describe.requests import RequestBuilder
    from mien.describe.store.store import Store
    from mien.features.encode import FeatureCache
    from mien.features.vision_encoder import find_vision_encoder
    from mien.labels import EMOTIC
    from mien.media.images import Marking
    from mien.types import Box, Subject

    predictor = mien.Predictor.from_pretrained(folder / "run", device="cpu")
    encoder = find_vision_encoder("playhouse")
    engine = LocalEngine("playhouse", max_new_tokens=60)
    paths = {name: sorted(folder.glob(f"{name} *.jpg")) for name in _SIZES}

    def people(name: str) -> list[Any]:
        width, height = _SIZES[name]
        boxes = [
            Box(left=width * n / 5, top=height / 5, right=width * (n + 1) / 5, bottom=height * 0.9)
            for n in range(1, _PEOPLE + 1)
        ]
        return [
            Subject.still(f"{path.name}#{n}", path, box)
            for path in paths[name]
            for n, box in enumerate(boxes)
        ]

    def predict(name: str) -> None:
        sources = [(subject.images[0].path, [subject.boxes[0]]) for subject in people(name)[::_PEOPLE]]
        assert all(not results.errors for results in predictor.stream(sources))

    def describe_all(name: str) -> None:
        with tempfile.TemporaryDirectory() as place, Store(Path(place) / "store.sqlite") as store:
            requests = RequestBuilder(
                engine=engine, prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking()
            )
            assert describe(people(name), requests, store).failed == 0

    def encode(name: str) -> None:
        with tempfile.TemporaryDirectory() as place:
            FeatureCache(folder=Path(place), spec=encoder).features("train", people(name), Marking())

    work = {
        **{f"predict, {name}": (predict, name) for name in _SIZES},
        **{f"describe {_PEOPLE} people a photo, {name}": (describe_all, name) for name in _SIZES},
        f"encode {_PEOPLE} people a photo, 12 megapixels": (encode, "12 megapixels"),
    }
    for function in (predict, describe_all, encode):
        function("640 px")
    seconds = {}
    for case, (function, name) in work.items():
        start = time.process_time()
        for _ in range(_REPEATS[name]):
            function(name)
        seconds[case] = round((time.process_time() - start) / _REPEATS[name], 3)
    return seconds


if __name__ == "__main__":
    if sys.argv[1:2] in (["train"], ["measure"]):
        work = {"train": train, "measure": measure}[sys.argv[1]]
        print(json.dumps(work(Path(sys.argv[2]))))
    else:
        main()
